import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { memory } from "../drivers/memory.ts";
import { bridge } from "../src/bridge/bridge.ts";
import type { Listener } from "../src/runtime/listen.ts";
import { type RedisServer, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

/** The sources, also when this file runs compiled. */
const root = fileURLToPath(import.meta.url).replace(/(dist\/)?test\/[^/]*$/, "");

/** Runs the fixture in Deno with flags, and returns its output. Its other output goes into `said`. */
async function run(flags: readonly string[], options: object, said: string[] = []): Promise<unknown> {
  const args = ["run", "--quiet", "--no-prompt", "--no-check", ...flags, "test/fixtures/permissions.ts"];
  const deno = `${root}node_modules/.bin/deno`;
  const { stdout, stderr } = await promisify(execFile)(deno, [...args, JSON.stringify(options)], {
    cwd: root,
    timeout: 30_000,
  });
  said.push(stderr);
  return JSON.parse(stdout);
}

describe("Deno's permissions", () => {
  let redis: RedisServer;
  let rest: Listener;
  before(async () => {
    redis = await startRedis();
    rest = await serve(bridge({ driver: memory(), token: "t" }));
  });
  after(async () => {
    await rest?.close();
    await redis?.stop();
  });

  it("may all be missing when the store is embedded", async () => {
    assert.deepEqual(await run([], {}), ["memory", true, 1, null]);
  });

  it("are --allow-net for a store over TCP and over REST", async () => {
    assert.deepEqual(await run(["--allow-net=127.0.0.1"], { url: redis.url }), ["node-redis", true, 1, null]);
    const upstash = { driver: "upstash", url: rest.url, token: "t" };
    assert.deepEqual(await run(["--allow-net=127.0.0.1"], upstash), ["upstash", true, 1, null]);
  });

  it("are --allow-env for variables", async () => {
    process.env.CACHE_URL = redis.url;
    try {
      const flags = ["--allow-net=127.0.0.1", "--allow-env=CACHE_URL"];
      assert.deepEqual(await run(flags, {}), ["node-redis", true, 1, null]);
      assert.deepEqual(await run([], {}), ["memory", true, 1, null]);
    } finally {
      delete process.env.CACHE_URL;
    }
  });

  it("make a client warn that no store is named when variables may not be read, and only then", async () => {
    const line = /^larder: no store is named, and the environment cannot be read: .*on Deno allow --allow-env/;
    for (const [flags, options, expected] of [
      [[], {}, line],
      [["--allow-env=HOME"], {}, line],
      [["--allow-env"], {}, /^$/],
      [["--allow-env=CACHE_URL"], {}, /^$/],
      [[], { driver: "memory" }, /^$/],
      [[], { url: "memory:" }, /^$/],
      [[], { env: {} }, /^$/],
      [[], { logger: false }, /^$/],
    ] as const) {
      const said: string[] = [];
      assert.deepEqual(await run(flags, options, said), ["memory", true, 1, null]);
      assert.match(said.join(), expected, JSON.stringify([flags, options]));
    }
  });

  it("make a store count as away when it may not be reached", async () => {
    const [driver, written, value, error] = (await run([], { url: redis.url })) as unknown[];
    assert.deepEqual([driver, written, value], ["node-redis", false, null]);
    assert.match(String(error), /^Cannot connect to Redis at 127\.0\.0\.1:\d+/);
  });
});
