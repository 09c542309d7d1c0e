/** The quickstart runs in the runtime that runs these tests, over every store, and leaves no entry behind. */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { nodeRedis } from "../drivers/node_redis.ts";
import type { Driver } from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { freePort, type RedisServer, startRedis } from "./helpers/redis_server.ts";
import { type Ended, installed, start } from "./helpers/run.ts";
import { serve } from "./helpers/serve.ts";

function run(env: Readonly<Record<string, string>>): Promise<Ended> {
  const [command, ...args] = process.versions.bun
    ? [installed("bun"), "examples/quickstart.ts"]
    : "Deno" in globalThis
      ? [installed("deno"), "run", "-A", "--no-check", "examples/quickstart.ts"]
      : ["node", "dist/examples/quickstart.js"];
  return start(command as string, args, { CACHE_TIMEOUT_MS: "5000", ...env }).ended;
}

/** Reads what the quickstart prints, and fails unless it is what a person wants to see. */
function check({ code, stdout, stderr }: Ended, store: string): void {
  assert.equal(code, 0, stderr);
  assert.equal(stderr, "");
  const found = (pattern: RegExp): string[] => {
    const [, ...groups] = pattern.exec(stdout) ?? [];
    assert.ok(groups.length > 0, `${pattern} in:\n${stdout}`);
    return groups;
  };
  assert.equal(found(/store +(.*)/)[0], store);
  assert.equal(found(/loaded +(\d+) products/)[0], "542");
  const served = Number(found(/served +(\d+) visits/)[0]);
  assert.ok(served > 100 && served <= 4000, `${served}`);
  const [rate, reads, more] = found(/hit rate +([\d.]+) % of (\d+) reads(.*)/);
  assert.ok(Number(rate) > 50 && Number(rate) < 100, rate);
  assert.equal(more, "", "errors");
  // The draw is seeded: the same visits on every store and runtime, if there is time for all of them.
  if (served === 4000) assert.equal(reads, "3570");

  const [, hitRate, p50, , without] = found(/product +(\d+) +([\d.]+) % +([\d.]+) +([\d.]+) +([\d.]+)/);
  assert.ok(Number(hitRate) > 90, hitRate);
  if (store.startsWith("memory"))
    assert.ok(Number(p50) < Number(without), `${p50} ms, without the cache ${without} ms`);
  assert.ok(Number(without) >= 1.9, without);

  const keys = found(/keys +1 product (\d+), 2 auth (\d+), 4 order (\d+)/).map(Number);
  for (const [i, least] of [542, 5, 5].entries()) assert.ok((keys[i] as number) > least, stdout);
  const sum = keys.reduce((a, b) => a + b);
  // Invalidated entries are not listed as keys, but are cleared too.
  const cleared = Number(found(/Cleared (\d+) keys/)[0]);
  assert.ok(cleared >= sum && cleared < sum + 853, `${cleared} of ${sum}`);
  const [commands, roundTrips] = found(/wire +(\d+) commands in (\d+) round trips/).map(Number) as [number, number];
  assert.ok(roundTrips > 50 && roundTrips < commands, `${commands} ${roundTrips}`);
  assert.match(stdout, /Gai ka doodh/);
  assert.ok(!stdout.includes("\x1b"), "colours in spite of NO_COLOR");
}

describe("quickstart", () => {
  let redis: RedisServer;
  let driver: Driver;
  before(async () => {
    redis = await startRedis();
    driver = nodeRedis({ url: redis.url });
  });
  after(async () => {
    await driver?.close();
    await redis?.stop();
  });

  /** The keys by database, but the clocks of the quickstart's keyspaces, and the tags that will expire. */
  async function left(): Promise<Record<number, string[]>> {
    const found: Record<number, string[]> = {};
    for (let database = 0; database < 16; database++) {
      const [keys] = (await driver.send(database, [["KEYS", "*"]])) as [string[]];
      for (const key of keys) {
        if (/quickstart:(db\d+:)?#larder:clock$/.test(key)) continue;
        const [left] = await driver.send(database, [["PTTL", key]]);
        if (/quickstart:(db\d+:)?#larder:tag:/.test(key) && Number(left) > 0) continue;
        found[database] = [...(found[database] ?? []), key];
      }
    }
    return found;
  }

  it("prints the shop's numbers when nothing is configured", async () => {
    check(await run({}), 'memory, numbered databases, prefix "quickstart"');
  });

  it("prints the same over Redis and clears its own keys only when REDIS_URL names one", async () => {
    await driver.send(0, [["FLUSHALL"]]);
    await driver.send(1, [["SET", "product:A001", "mine"]]);
    check(await run({ REDIS_URL: redis.url }), 'node-redis, numbered databases, prefix "quickstart"');
    assert.deepEqual(await left(), { 1: ["product:A001"] });
  });

  it("prints the same over REST and clears its own keys only when the environment names Upstash", async () => {
    await driver.send(0, [["FLUSHALL"], ["SET", "db1:product:A001", "mine"]]);
    const token = "token-of-the-test";
    const rest = await serve(bridge({ driver, token }));
    try {
      const ended = await run({ UPSTASH_REDIS_REST_URL: rest.url, UPSTASH_REDIS_REST_TOKEN: token });
      check(ended, 'upstash, prefixed databases, prefix "quickstart"');
    } finally {
      await rest.close();
    }
    assert.deepEqual(await left(), { 0: ["db1:product:A001"] });
  });

  it("says what is wrong and ends with 1 when the store is away or misnamed", async () => {
    const port = await freePort();
    const away = await run({ REDIS_URL: `redis://:the-password@127.0.0.1:${port}` });
    assert.equal(away.code, 1);
    assert.equal(away.stdout, "");
    assert.match(away.stderr, new RegExp(`cannot use its store:\\n.*127\\.0\\.0\\.1:${port}`));
    assert.ok(!away.stderr.includes("the-password"), away.stderr);
    const misnamed = await run({ CACHE_DRIVER: "memcached", CACHE_TTL_DEFAULT: "soon" });
    assert.equal(misnamed.code, 1);
    assert.match(misnamed.stderr, /CACHE_DRIVER.*\n.*CACHE_TTL_DEFAULT/);
  });
});
