/** The two ways by which Node serves a bridge: as it is, without a `Request`, and within a function, with one. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect } from "node:net";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { type Listener, listen } from "../src/runtime/listen.ts";

const HEAD = "Host: a\r\nAuthorization: Bearer full-token\r\n";

/** Returns a request of HTTP/1.1 that posts a body. */
function post(path: string, body: string | Uint8Array, more = "", head = HEAD): Buffer {
  const bytes = Buffer.from(body as string);
  return Buffer.concat([
    Buffer.from(`POST ${path} HTTP/1.1\r\n${head}${more}Content-Length: ${bytes.length}\r\n\r\n`),
    bytes,
  ]);
}

/** Returns a request of HTTP/1.1 without a body. */
function get(path: string, more = "", head = HEAD): string {
  return `GET ${path} HTTP/1.1\r\n${head}${more}\r\n`;
}

const LAST = get("/ping/last", "Connection: close\r\n");
const COMMAND = '["GET","a"]';
const LONG = JSON.stringify(["SET", "long", "x".repeat(100_000)]);

/** The bytes that a client sends on one connection. The last request closes it, or an error of the server does. */
const CASES: Readonly<Record<string, readonly (string | Uint8Array)[]>> = {
  "commands as paths": [
    get("/set/a/1?EX=100"),
    get("/get/a?_token=x"),
    get("/get/%E4%B8%AD%2F+"),
    get("//get/a"),
    LAST,
  ],
  "malformed paths": [get("/get/%zz"), get("/get/%ff"), get("/%"), get("/get/a#b"), LAST],
  "pipelined requests": [post("/", '["INCR","n"]'), post("/", '["INCR","n"]'), get("/get/n"), LAST],
  "several pieces": [post("/", LONG).subarray(0, 50_000), post("/", LONG).subarray(50_000), get("/strlen/long"), LAST],
  "a body in chunks": [
    `POST / HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\n["GET\r\n`,
    `6\r\n","a"]\r\n0\r\n\r\n${LAST}`,
  ],
  "bodies without sense": [post("/", "{"), post("/", ""), post("/", "[]"), post("/", Buffer.from([0xff, 0xfe])), LAST],
  "a body of a GET and of a HEAD": [
    post("/get/a", "body").toString().replace("POST", "GET"),
    post("/get/a", "body").toString().replace("POST", "HEAD"),
    LAST,
  ],
  "a body that is an argument": [post("/set/b", "phở"), post("/append/b", ""), get("/get/b"), LAST],
  "wrong tokens": [
    get("/get/a", "", "Host: a\r\n"),
    post("/", COMMAND, "", "Host: a\r\nAuthorization: Bearer x\r\n"),
    LAST,
  ],
  "headers twice": [
    get("/get/a", "Authorization: Bearer other\r\n"),
    get("/get/a", "Upstash-Encoding: base64\r\nUpstash-Encoding: base64\r\n"),
    get("/get/a", "Cookie: a=1\r\nCookie: b=2\r\nSet-Cookie: c\r\nSet-Cookie: d\r\n"),
    LAST,
  ],
  "headers in any case": [
    get("/get/a", "UPSTASH-ENCODING: base64\r\n", "hOST: a\r\nAUTHORIZATION: bearer full-token\r\n"),
    LAST,
  ],
  "other methods": [get("/get/a").replace("GET", "DELETE"), get("/get/a").replace("GET", "PATCH"), LAST],
  preflights: [get("/", "Access-Control-Request-Method: POST\r\n").replace("GET", "OPTIONS"), LAST],
  formats: [
    post("/pipeline", `[${COMMAND},["NOPE"]]`, "Upstash-Response-Format: resp2\r\n"),
    post("/multi-exec", `[${COMMAND},["INCR","n"]]`),
    post("/pipeline", "[]"),
    get("/subscribe/channel"),
    LAST,
  ],
  "a wish to go on": [`POST / HTTP/1.1\r\n${HEAD}Expect: 100-continue\r\nContent-Length: 11\r\n\r\n`, COMMAND, LAST],
  "no host": [`GET /get/a HTTP/1.0\r\nAuthorization: Bearer full-token\r\n\r\n`],
  "a body that is longer than declared": [`POST / HTTP/1.1\r\n${HEAD}Content-Length: 11\r\n\r\n${COMMAND}more\r\n\r\n`],
};

describe("a bridge that is served as it is and within a function", () => {
  const servers: Listener[] = [];
  before(async () => {
    for (const within of [false, true]) {
      const served = bridge({ driver: memory(), token: "full-token" });
      servers.push(await listen(within ? (request) => served(request) : served));
    }
  });
  after(() => Promise.all(servers.map((server) => server.close())));

  for (const [name, parts] of Object.entries(CASES)) {
    it(`answers ${name} in the same way`, async (context) => {
      if (process.versions.bun || process.versions.deno) return context.skip("there it has one way");
      const [plain, within] = await Promise.all(servers.map(({ port }) => talk(port, parts)));
      assert.deepEqual(plain, within);
      assert.match(String(plain), /^HTTP\/1\.1 \d+ /);
    });
  }
});

/** Sends the parts one after the other. Returns the responses, without what differs each time. */
async function talk(port: number, parts: readonly (string | Uint8Array)[]): Promise<string[]> {
  const socket = connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  const sent = (async () => {
    for (const part of parts) {
      socket.write(part);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  await sent;
  const text = Buffer.concat(chunks).toString();
  return text.split(/(?=HTTP\/1\.1 \d)/).map((response) => {
    const end = response.indexOf("\r\n\r\n");
    const lines = response.slice(0, end).split("\r\n");
    const kept = lines.filter((line) => !/^(date|upstash-sync-token):/i.test(line));
    return [...kept.slice(0, 1), ...kept.slice(1).sort(), response.slice(end + 4)].join("\n");
  });
}
