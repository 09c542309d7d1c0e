import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Command, Driver, Reply, Tracker } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { type CacheClient, CacheLockError, createCacheClient } from "../mod.ts";

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const START = Date.parse("2026-11-28T12:00:00Z");

/** Sends one command to database 0. */
async function one(driver: Driver, ...command: Command): Promise<Reply> {
  return (await driver.send(0, [command]))[0] ?? null;
}

/** Runs with a system clock and a monotonic one that the test turns. */
async function withClocks<T>(run: (clocks: { wall: number; monotonic: number }) => Promise<T>): Promise<T> {
  const { now: dateNow } = Date;
  const { now: performanceNow } = performance;
  const clocks = { wall: START, monotonic: 5000.25 };
  Date.now = () => clocks.wall;
  performance.now = () => clocks.monotonic;
  try {
    return await run(clocks);
  } finally {
    Date.now = dateNow;
    performance.now = performanceNow;
  }
}

/** Changes of the clocks after a key was written. */
interface Life {
  readonly ttl: number;
  /** Time that went by. */
  passed: number;
  /** By how much the clock was set forward. */
  forward: number;
  lost: boolean;
}

const step = fc.oneof(
  fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 0, max: 30 * SECOND }) }),
  fc.record({ kind: fc.constant("set" as const), ms: fc.integer({ min: -2 * HOUR, max: 2 * HOUR }) }),
  fc.record({ kind: fc.constant("set" as const), ms: fc.integer({ min: -1500, max: 1500 }) }),
  fc.record({ kind: fc.constant("sleep" as const), ms: fc.integer({ min: 0, max: 30 * SECOND }) }),
  fc.record({
    kind: fc.constant("write" as const),
    key: fc.constantFrom("a", "b", "c"),
    ms: fc.integer({ min: 1, max: 60 * SECOND }),
  }),
);

describe("expiry in the memory store", () => {
  it("an entry expires at the moment of PEXPIRETIME while a time server slows the clock down", async () => {
    await withClocks(async (clocks) => {
      const driver = memory();
      for (let i = 0; i < 400; i++) {
        clocks.wall += 20;
        clocks.monotonic += 20.02;
        await one(driver, "SET", `key:${i}`, "v", "PXAT", START + HOUR + i);
        assert.equal(await one(driver, "PEXPIRETIME", "key:0"), START + HOUR);
      }
      await driver.close();
    });
  });

  it("an entry expires on time by Date.now, whatever happens to the system clock", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        await withClocks(async (clocks) => {
          const driver = memory();
          const lives = new Map<string, Life>();
          for (const step of steps) {
            if (step.kind === "write") {
              await one(driver, "SET", step.key, "v", "PX", step.ms);
              lives.set(step.key, { ttl: step.ms, passed: 0, forward: 0, lost: false });
              continue;
            }
            clocks.wall += step.ms;
            if (step.kind === "pass") clocks.monotonic += step.ms;
            for (const life of lives.values()) {
              if (step.kind === "pass") life.passed += step.ms;
              else life.forward += Math.max(0, step.ms);
            }
            // Not looked at after each step: what happens in between is the same to it.
            if (step.ms % 2) continue;
            for (const [key, { ttl, passed, forward }] of lives) {
              const left = (await one(driver, "PTTL", key)) as number;
              assert.ok(left <= Math.max(-2, ttl - passed), `${left} of ${ttl} after ${passed}`);
              if (passed + forward < ttl) assert.ok(left >= ttl - passed - forward - 1, `${left} of ${ttl}`);
            }
          }
        });
      }),
      { numRuns: 300 },
    );
  });

  it("an entry expires on time by an injected clock, and when that clock is set back", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        let now = START;
        const driver = memory({ clock: () => now });
        const lives = new Map<string, Life>();
        for (const step of steps) {
          if (step.kind === "write") {
            await driver.send(0, [
              ["SET", step.key, "v", "PX", step.ms],
              ["DEL", `hash ${step.key}`],
              ["HSET", `hash ${step.key}`, "f", "v"],
              ["PEXPIRE", `hash ${step.key}`, step.ms],
            ]);
            lives.set(step.key, { ttl: step.ms, passed: 0, forward: 0, lost: false });
          } else {
            now += step.ms;
            for (const life of lives.values()) {
              life.passed += Math.max(0, step.ms);
              life.lost ||= step.ms < -SECOND;
            }
          }
          for (const [key, { ttl, passed, lost }] of lives) {
            const left = passed > ttl ? -2 : ttl - passed;
            assert.equal(await one(driver, "PTTL", key), lost ? -2 : left);
            assert.equal(await one(driver, "PTTL", `hash ${key}`), left);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it("an entry expires at a given moment, which PEXPIRETIME returns, after the clock was set back", async () => {
    await withClocks(async (clocks) => {
      const driver = memory();
      await one(driver, "SET", "before", "v", "PX", 10 * SECOND);
      clocks.wall -= HOUR;
      await one(driver, "SET", "after", "v", "PXAT", clocks.wall + 10 * SECOND);
      for (const key of ["before", "after"]) {
        assert.equal(await one(driver, "PTTL", key), 10 * SECOND);
        assert.equal(await one(driver, "PEXPIRETIME", key), clocks.wall + 10 * SECOND);
      }
      assert.deepEqual(await one(driver, "TIME"), [`${clocks.wall / 1000}`, "0"]);
      clocks.monotonic += 10 * SECOND + 1;
      for (const key of ["before", "after"]) assert.equal(await one(driver, "GET", key), null);
    });
  });

  it("a TTL includes the time for which the machine slept and the monotonic clock stood still", async () => {
    await withClocks(async (clocks) => {
      const driver = memory();
      await one(driver, "SET", "k", "v", "PX", 10 * SECOND);
      for (const left of [6, 2]) {
        clocks.wall += 4 * SECOND;
        assert.equal(await one(driver, "PTTL", "k"), left * SECOND);
      }
      clocks.wall += 4 * SECOND;
      assert.equal(await one(driver, "PTTL", "k"), -2);
      await one(driver, "SET", "k", "v", "PX", 10 * SECOND);
      clocks.wall -= HOUR;
      assert.equal(await one(driver, "PTTL", "k"), 10 * SECOND);
      clocks.wall += 4 * SECOND;
      assert.equal(await one(driver, "PTTL", "k"), 6 * SECOND);
    });
  });

  it("a TTL loses no time by rounding, however often the clocks are read", async () => {
    await withClocks(async (clocks) => {
      const driver = memory();
      await one(driver, "SET", "k", "v", "PX", 10 * SECOND);
      const start = clocks.monotonic;
      while (clocks.monotonic < start + SECOND) {
        clocks.monotonic += 0.3;
        clocks.wall = START + Math.floor(clocks.monotonic - start);
        await one(driver, "GET", "k");
      }
      const left = (await one(driver, "PTTL", "k")) as number;
      assert.ok(Math.abs(left - 9 * SECOND) <= 2, `${left}`);
    });
  });

  it("marks of tags survive when an injected clock is set back, and trackers receive the expired keys", async () => {
    let now = START;
    const driver = memory({ clock: () => now });
    const told: unknown[] = [];
    const tracker: Tracker = { invalidate: (keys) => told.push(keys), up() {}, down() {} };
    driver.track?.(0, "", tracker);
    await one(driver, "SET", "shop:#larder:tag:soups", "1", "PX", HOUR);
    await one(driver, "SET", "k", "v", "PX", HOUR);
    await one(driver, "SET", "for ever", "v");
    told.length = 0;
    now -= HOUR;
    assert.deepEqual(await one(driver, "MGET", "shop:#larder:tag:soups", "k", "for ever"), ["1", null, "v"]);
    assert.deepEqual(told, [["k"]]);
  });

  it("a TTL is measured by elapsed time when the injected clock is Date.now", async () => {
    await withClocks(async (clocks) => {
      const driver = memory({ clock: Date.now });
      await one(driver, "SET", "k", "v", "PX", 10 * SECOND);
      clocks.wall -= HOUR;
      assert.equal(await one(driver, "PTTL", "k"), 10 * SECOND);
    });
  });
});

/** Ways to turn a clock back by an hour while 20 seconds elapse. */
const CLOCKS: Readonly<
  Record<string, (run: (client: CacheClient, back: () => void) => Promise<void>) => Promise<void>>
> = {
  "an injected clock": async (run) => {
    let now = START;
    await using client = createCacheClient({ env: {}, driver: "memory", clock: () => now, onError: "throw" });
    await run(client, () => {
      now -= HOUR;
      now += 20 * SECOND;
    });
  },
  "the system clock": (run) =>
    withClocks(async (clocks) => {
      await using client = createCacheClient({ env: {}, driver: "memory", onError: "throw" });
      await run(client, () => {
        clocks.wall -= HOUR - 20 * SECOND;
        clocks.monotonic += 20 * SECOND;
      });
    }),
};

for (const [name, withClient] of Object.entries(CLOCKS)) {
  describe(`a memory client whose clock is set back: ${name}`, () => {
    it("get and ttl miss entries whose TTL is over", () =>
      withClient(async (client, back) => {
        const cache = client.cache();
        for (const [key, more] of Object.entries({
          plain: {},
          stale: { staleFor: "5s" },
          tagged: { tags: ["t"] },
        } as const)) {
          await cache.set(key, 1, { ttl: "10s", ...more });
        }
        back();
        for (const key of ["plain", "stale", "tagged"]) {
          assert.deepEqual([await cache.get(key), await cache.ttl(key)], [undefined, undefined], key);
        }
        await cache.set("k", 2, { ttl: "10s" });
        assert.deepEqual([await cache.get("k"), await cache.ttl("k")], [2, 10]);
      }));

    it("increment starts again when the TTL of the counter is over", () =>
      withClient(async (client, back) => {
        const cache = client.cache();
        assert.equal(await cache.increment("n", { by: 5, ttl: "10s" }), 5);
        back();
        assert.equal(await cache.increment("n", { by: 5, ttl: "10s" }), 5);
      }));

    it("withLock gets the lock of a process that has ended when its TTL is over", () =>
      withClient(async (client, back) => {
        const cache = client.cache();
        const driver = (await client.locate({})).driver;
        await one(driver, "SET", "#larder:held:k", "of one who is gone", "PX", 10 * SECOND);
        await assert.rejects(
          cache.withLock("k", () => 1, { wait: false }),
          CacheLockError,
        );
        back();
        assert.equal(await cache.withLock("k", () => 1, { wait: false }), 1);
      }));

    it("checkRateLimit blocks for exactly its window, and returns moments of the clock", () =>
      withClient(async (client, back) => {
        const { checkRateLimit, incrementRateLimit } = client.service("auth");
        const limits = {
          short: { limit: 1, window: "10s" },
          sliding: { limit: 1, window: "1h", algorithm: "sliding" },
          bucket: { limit: 1, window: "1h", algorithm: "token-bucket" },
        } as const;
        for (const [key, limit] of Object.entries(limits)) {
          assert.equal((await checkRateLimit(key, limit)).allowed, true, key);
          assert.equal((await checkRateLimit(key, limit)).allowed, false, key);
        }
        assert.equal((await incrementRateLimit("count", { window: "10s" })).count, 1);
        const before = (await checkRateLimit("sliding", limits.sliding)).resetAt.getTime();
        back();
        assert.equal((await checkRateLimit("short", limits.short)).allowed, true);
        const sliding = await checkRateLimit("sliding", limits.sliding);
        assert.equal(sliding.allowed, false);
        const told = before - sliding.resetAt.getTime();
        assert.ok(told >= HOUR - 20 * SECOND - 1 && told <= HOUR + 1, `${told}`);
        assert.equal((await checkRateLimit("bucket", limits.bucket)).allowed, false);
        assert.equal((await incrementRateLimit("count", { window: "10s" })).count, 1);
      }));
  });
}
