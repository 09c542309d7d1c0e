// How much of the raw client's rate does a pipeline of 100 GETs through the REST server reach, both on the same Redis,
// and how much of the bare HTTP server's rate does one GET a request reach?
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import process from "node:process";
import { createClient } from "redis";
import { nodeRedis } from "../drivers/node_redis.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { startRedis } from "../test/helpers/redis_server.ts";
import { serve } from "../test/helpers/serve.ts";
import { compare, ratioHeading, version } from "./helpers/compare.ts";
import { type HttpClient, httpClient } from "./helpers/http.ts";

const TOKEN = "bench-token";
const GETS = 100;
/** Pipelines in flight at a time, on either side. */
const CALLERS = 8;
/** As the published SDK asks. */
const HEADERS = {
  authorization: `Bearer ${TOKEN}`,
  "content-type": "application/json",
  "upstash-encoding": "base64",
};
/** Requests of one GET in flight at a time, on either side. */
const SINGLE_CALLERS = 64;

if (process.argv[2] === "serve") {
  const server = await serve(bridge({ driver: nodeRedis({ url: process.argv[3] as string }), token: TOKEN }));
  console.log(server.url);
} else if (process.argv[2] === "bare") {
  console.log(`http://127.0.0.1:${await serveBare()}`);
} else {
  await measure();
}

async function measure(): Promise<void> {
  ratioHeading(
    `A pipeline of ${GETS} GETs through the REST server, in a process of its own, against ${version("redis")}, ` +
      `${CALLERS} callers on either side`,
  );
  const redis = await startRedis();
  const { url, stop } = await start("serve", redis.url);
  const peer = createClient({ url: redis.url });
  await peer.connect();
  await measureSize(100, url, peer, 0.8);
  // What is carried twice, and a third longer as base64, is for the most part the system's work.
  await measureSize(1000, url, peer, 0.6);
  await peer.set("single", "value");
  await measureSingle(url);
  await peer.disconnect();
  stop();
  await redis.stop();
}

/** Starts this file in a process of its own, as a server. */
async function start(...args: string[]): Promise<{ url: string; stop: () => void }> {
  const how = process.versions.deno ? ["run", "-A", "--no-check"] : [];
  const child = spawn(process.execPath, [...how, process.argv[1] as string, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const stop = (): void => void child.kill("SIGKILL");
  process.on("exit", stop);
  const [printed] = await once(child.stdout, "data");
  return { url: String(printed).trim(), stop };
}

/** Serves one answer to all requests with the runtime's own HTTP server. Returns its port. */
async function serveBare(): Promise<number> {
  const text = '{"result":"dmFsdWU="}';
  const { Bun, Deno } = globalThis as unknown as Record<string, { serve(...args: unknown[]): never } | undefined>;
  const respond = async (request: Request): Promise<Response> => {
    await request.text();
    return new Response(text);
  };
  if (Bun) return (Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: respond }) as { port: number }).port;
  if (Deno) {
    const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
    return (Deno.serve(options, respond) as { addr: { port: number } }).addr.port;
  }
  const server = createServer((incoming, outgoing) => {
    incoming.resume().on("end", () => outgoing.writeHead(200, { "content-length": text.length }).end(text));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as { port: number }).port;
}

async function measureSingle(url: string): Promise<void> {
  const bare = await start("bare");
  const open = (to: string): Promise<HttpClient[]> =>
    Promise.all(Array.from({ length: SINGLE_CALLERS }, () => httpClient(to, HEADERS)));
  const [ours, theirs] = [await open(url), await open(bare.url)];
  const ask = (clients: readonly HttpClient[], times: number): Promise<unknown> =>
    Promise.all(
      clients.map(async (client, caller) => {
        for (let turn = caller; turn < times; turn += SINGLE_CALLERS) await client.post("/", '["GET","single"]');
      }),
    );
  for (const clients of [ours, theirs]) {
    assert.equal(String(await clients[0]?.post("/", '["GET","single"]')), '{"result":"dmFsdWU="}');
  }
  await compare({
    title: `one GET a request, ${SINGLE_CALLERS} callers, against the runtime's HTTP server with a fixed answer`,
    unit: "request",
    peer: "bare server",
    bar: 0.4,
    ours: (times) => ask(ours, times),
    theirs: (times) => ask(theirs, times),
  });
  for (const client of [...ours, ...theirs]) client.close();
  bare.stop();
}

async function measureSize(
  size: number,
  url: string,
  peer: ReturnType<typeof createClient>,
  bar?: number,
): Promise<void> {
  const keys = Array.from({ length: GETS }, (_, index) => `key:${size}:${index}`);
  const values = keys.map((key) => key.padEnd(size, "."));
  await Promise.all(keys.map((key, index) => peer.set(key, values[index] as string)));
  const body = JSON.stringify(keys.map((key) => ["GET", key]));
  const clients = await Promise.all(Array.from({ length: CALLERS }, () => httpClient(url, HEADERS)));
  const read = async (client: (typeof clients)[0]): Promise<unknown[]> =>
    JSON.parse((await client.post("/pipeline", body)).toString());
  const raw = (): Promise<(string | null)[]> => Promise.all(keys.map((key) => peer.get(key)));
  const decoded = (await read(clients[0] as (typeof clients)[0])) as { result: string }[];
  assert.deepEqual(
    decoded.map(({ result }) => Buffer.from(result, "base64").toString()),
    values,
  );
  assert.deepEqual(await raw(), values);
  const share = (times: number, work: (caller: number) => Promise<unknown[]>): Promise<unknown> =>
    Promise.all(
      clients.map(async (_, caller) => {
        for (let turn = caller; turn < times; turn += CALLERS) assert.equal((await work(caller)).length, GETS);
      }),
    );
  await compare({
    title: `values of ${size} bytes`,
    unit: "pipeline",
    ...(bar === undefined ? {} : { bar }),
    peer: version("redis"),
    ours: (times) => share(times, (caller) => read(clients[caller] as (typeof clients)[0])),
    theirs: (times) => share(times, raw),
  });
  for (const client of clients) client.close();
}
