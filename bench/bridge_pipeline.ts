// How much of the raw client's rate does a pipeline of 100 GETs through the REST server reach, both on the same Redis?
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createClient } from "redis";
import { nodeRedis } from "../drivers/node_redis.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { startRedis } from "../test/helpers/redis_server.ts";
import { serve } from "../test/helpers/serve.ts";
import { compare, ratioHeading, version } from "./helpers/compare.ts";
import { httpClient } from "./helpers/http.ts";

const TOKEN = "bench-token";
const GETS = 100;
/** Pipelines in flight at a time, on either side. */
const CALLERS = 8;

if (process.argv[2] === "serve") {
  const server = await serve(bridge({ driver: nodeRedis({ url: process.argv[3] as string }), token: TOKEN }));
  console.log(server.url);
} else {
  await measure();
}

async function measure(): Promise<void> {
  ratioHeading(
    `A pipeline of ${GETS} GETs through the REST server, in a process of its own, against ${version("redis")}, ` +
      `${CALLERS} callers on either side`,
  );
  const redis = await startRedis();
  const how = process.versions.deno ? ["run", "-A", "--no-check"] : [];
  const child = spawn(process.execPath, [...how, process.argv[1] as string, "serve", redis.url], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  process.on("exit", () => child.kill("SIGKILL"));
  const [printed] = await once(child.stdout, "data");
  const url = String(printed).trim();
  const peer = createClient({ url: redis.url });
  await peer.connect();
  await measureSize(100, url, peer, 0.5);
  // What is carried twice, and a third longer as base64, is for the most part the system's work.
  await measureSize(1000, url, peer);
  await peer.disconnect();
  child.kill("SIGKILL");
  await redis.stop();
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
  // As the published SDK asks.
  const headers = {
    authorization: `Bearer ${TOKEN}`,
    "content-type": "application/json",
    "upstash-encoding": "base64",
  };
  const clients = await Promise.all(Array.from({ length: CALLERS }, () => httpClient(url, headers)));
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
