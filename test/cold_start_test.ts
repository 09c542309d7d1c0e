/**
 * The first calls of a process: the time to load code counts against no deadline, nor does the time in which the
 * process does not get to run.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Driver, StoreError } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { createCacheClient } from "../mod.ts";
import { describeError, loadDriver, toStoreError } from "../src/base/foreign_error.ts";
import { CacheClient } from "../src/client/client.ts";
import type { Setup } from "../src/client/types.ts";
import { parseConfig } from "../src/config/parse_config.ts";
import { Batch } from "../src/wire/batch.ts";
import { LoadClock } from "../src/wire/load_clock.ts";
import { startProxy } from "./helpers/proxy.ts";
import { type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";

const LIMIT = { timeout: 60_000 };
const WIRE = { commands: 0, roundTrips: 0, retries: 0 };

/** A client whose driver's code takes its time to load. */
function slowToLoad(load: () => Promise<Driver>): CacheClient<object> {
  const config = parseConfig({}, { options: { timeout: 50, breaker: false } });
  const configured = { config, opening: { key: "", name: "slow", numbered: true, ready: false, open: load } };
  const configurations = { own: configured, ofService: () => configured };
  const ofBatch = () => ({ clock: new LoadClock() });
  const setup: Setup<object> = { hooks: {}, services: {}, reserved: [], configurations, ofBatch };
  return new CacheClient(setup);
}

/** Keeps this process from doing anything else. */
function stall(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

/** A store that answers after so many milliseconds, one pause after the other; nothing after none. */
function answering(...pauses: number[]): Driver {
  const store = memory();
  return {
    ...store,
    send: async (database, commands) => {
      if (pauses.length === 0) await new Promise(() => {});
      for (const pause of pauses) await sleep(pause);
      return store.send(database, commands);
    },
  };
}

function batchOver(driver: Driver): Batch {
  return new Batch({ database: 0, driver: () => driver, retries: 0, wire: WIRE, onRetry() {} });
}

describe("a cold start", () => {
  it("loses nothing when code loads for longer than any deadline", LIMIT, async () => {
    const client = slowToLoad(() => sleep(300, memory()));
    const cache = client.cache<number>();
    const first = Promise.all([cache.set("a", 1), cache.increment("n"), cache.get("b")]);
    await sleep(20);
    // Keys of commands that wait for the code are held: later commands wait for the same.
    const later = Promise.all([cache.get("a"), cache.increment("n"), client.cache({ database: 3 }).set("c", 1)]);
    assert.deepEqual(
      [await first, await later],
      [
        [true, 1, undefined],
        [1, 2, true],
      ],
    );
    await client.close();
  });

  it("loses nothing when loading code blocks the process", LIMIT, async () => {
    const client = slowToLoad(async () => {
      await sleep(1);
      stall(200);
      await sleep(1);
      return memory();
    });
    assert.equal(await client.cache().set("a", 1), true);
    await client.close();
  });

  it("loses no write when the client is closed during the load", LIMIT, async () => {
    const client = slowToLoad(() => sleep(200, memory()));
    const written = client.cache().set("a", 1);
    await client.close();
    assert.equal(await written, true);
  });

  it("fails at once when code cannot be loaded, and loads it again with the next call", LIMIT, async () => {
    let loads = 0;
    const client = slowToLoad(() =>
      loads++ === 0
        ? loadDriver("node-redis", () => Promise.reject(new Error("Cannot find package 'redis'")))
        : sleep(1, memory()),
    );
    const failed = client.cache().set("a", 1, { onError: "throw" });
    await assert.rejects(failed, {
      kind: "connection",
      message: /^Cannot load the code of the driver node-redis: Cannot find package 'redis'$/,
    });
    assert.equal(await client.cache().set("a", 1), true);
    await client.close();
  });

  it("keeps deadlines when the store is away once the code is loaded", LIMIT, async () => {
    const client = slowToLoad(() => sleep(100, answering()));
    const start = performance.now();
    const outcome = await client
      .cache()
      .set("a", 1, { onError: "throw", timeout: 60 })
      .catch((error: StoreError) => error);
    const took = performance.now() - start;
    assert.ok(outcome instanceof StoreError && outcome.kind === "timeout");
    assert.ok(took >= 155, `${took}`);
    await client.close();
  });

  it("excuses a stall of the process when the store has not answered yet, and only then", LIMIT, async () => {
    const batch = batchOver(answering(30, 60));
    const standingStill = async () => {
      const answer = batch.send(["SET", "a", "1"], ["a"], 150, true).catch((error: StoreError) => error.kind);
      await sleep(1);
      stall(300);
      return answer;
    };
    assert.equal(await standingStill(), "OK");
    assert.equal(await standingStill(), "timeout");
  });

  it("ends calls when the process stalls again and again", LIMIT, async () => {
    const batch = batchOver(answering());
    const { now } = performance;
    let ahead = 0;
    performance.now = () => {
      // Time leaps with each look at it.
      ahead += 1000;
      return now.call(performance) + ahead;
    };
    try {
      const outcome = batch.send(["SET", "a", "1"], ["a"], 60, true).catch((error: StoreError) => error.kind);
      assert.equal(await outcome, "timeout");
    } finally {
      performance.now = now;
    }
  });
});

describe("the first connection", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis?.stop());

  it("goes on opening when all callers have given up, for later calls", LIMIT, async () => {
    const proxy = await startProxy(redis.port);
    await proxy.set({ delay: 150 });
    const client = createCacheClient({ env: {}, url: `redis://127.0.0.1:${proxy.port}`, timeout: 60, logger: false });
    await client.cache().set("a", 1);
    await proxy.set("pass");
    const end = performance.now() + 10_000;
    while (!(await client.cache().set("b", 1))) assert.ok(performance.now() < end, "it did not open");
    assert.equal(proxy.accepted, 1);
    // Its caller was answered that it failed.
    assert.equal(await rawCommand(redis.port, ["EXISTS", "a"]), 0);
    await client.close();
    await proxy.stop();
  });

  it("loses no write when several processes start at once on a busy machine", LIMIT, async () => {
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const mod = new URL(`../mod.${extension}`, import.meta.url).href;
    const script = `
      import { createCacheClient } from ${JSON.stringify(mod)};
      const client = createCacheClient({ env: {}, url: ${JSON.stringify(redis.url)}, logger: false });
      const cache = client.cache();
      const id = Math.random();
      const first = [cache.set("k" + id, 1), cache.increment("n"), cache.set("k" + id, 2), cache.invalidateTags("t")];
      console.log(JSON.stringify(await Promise.all(first)), await cache.get("k" + id));
      await client.close();`;
    const flags = process.versions.bun ? ["-e"] : "Deno" in globalThis ? ["eval"] : ["--input-type=module", "-e"];
    const options = { cwd: fileURLToPath(new URL("..", import.meta.url)), timeout: 50_000 };
    const starts = Array.from({ length: 4 }, () => promisify(execFile)(process.execPath, [...flags, script], options));
    for (const { stdout } of await Promise.all(starts)) assert.match(stdout, /^\[true,[1-4],true,true\] 2\n$/);
    assert.equal(await rawCommand(redis.port, ["GET", "n"]), "4");
  });
});

describe("an error of foreign code", () => {
  it("shows its name and code, and those of its cause, when its message may hold values", () => {
    const cause = Object.assign(new Error("S3CRET"), { code: "ECONNREFUSED" });
    const failed = Object.assign(new TypeError("fetch failed S3CRET", { cause }), { code: "ERR_X" });
    const { kind, message, cause: kept } = toStoreError(failed);
    assert.deepEqual([kind, kept], ["connection", failed]);
    assert.equal(message, "The driver failed without a store error: TypeError ERR_X, caused by Error ECONNREFUSED");
    for (const thrown of [
      "S3CRET",
      { message: "S3CRET" },
      undefined,
      Object.assign(new Error("S3CRET"), { name: "S3 CRET", code: "a S3CRET b" }),
    ]) {
      assert.doesNotMatch(toStoreError(thrown).message, /S3 ?CRET/);
    }
  });

  it("shows its message when that says what cannot be loaded", () => {
    for (const message of [
      'Dynamic require of "events" is not supported',
      "Cannot find package 'redis' imported from /app/index.js",
      "Cannot find module 'redis'",
      'Could not resolve: "redis". Maybe you need to install the package',
      'No such module "node:net"',
    ]) {
      assert.equal(describeError(new Error(`${message}\nS3CRET`)), `Error: ${message}`);
    }
    assert.equal(describeError(new Error("WRONG value: Cannot find module S3CRET")), "Error");
  });

  it("appears in the event, the log line and health when a driver throws it", async () => {
    const failing: Driver = {
      ...memory(),
      send: () => Promise.reject(Object.assign(new RangeError("S3CRET"), { code: "ERR_OUT_OF_RANGE" })),
    };
    const lines: object[] = [];
    const logger = { warn: (details: object) => void lines.push(details) };
    const client = createCacheClient({ env: {}, driver: failing, logger });
    const messages: string[] = [];
    client.subscribe((event) => void (event.type === "error" && messages.push(event.error.message)));
    await client.cache().set("k", 1);
    const told = "The driver failed without a store error: RangeError ERR_OUT_OF_RANGE";
    assert.deepEqual([messages, (await client.health()).error], [[told], told]);
    assert.match(JSON.stringify(lines), /RangeError ERR_OUT_OF_RANGE/);
    assert.doesNotMatch(JSON.stringify(lines), /S3CRET/);
    await client.close();
  });

  it("says how to mend a bundle when that cannot load the driver", async () => {
    const load = () => Promise.reject(new Error('Dynamic require of "events" is not supported'));
    await assert.rejects(
      loadDriver("node-redis", load),
      /^StoreError: Cannot load the code of the driver node-redis: Dynamic require of "events" is not .*createRequire/,
    );
  });
});
