import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { memory } from "../drivers/memory.ts";
import { type Cache, collection, createCacheClient, type Driver, defineService, StoreError } from "../mod.ts";
import { type RateLimit, type RateLimits, rateLimits } from "../src/cache/rate_limits.ts";
import { createCacheClient as createCoreClient } from "../src/core.ts";
import { auth } from "../src/services/auth.ts";
import { AND_SHARDS, onWires } from "./helpers/engine.ts";

const ALGORITHMS = ["fixed", "sliding", "token-bucket"] as const;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const MOST = Number.MAX_SAFE_INTEGER;

const menu = defineService({
  name: "menu",
  database: 9,
  collections: { dishes: collection<string>({ key: "dish:{id}" }) },
});

/** Runs with a key of its own, and again if a window of the clock began in between. */
async function withinWindow(ms: number, run: (key: string) => Promise<void>): Promise<void> {
  for (let i = 0; ; i++) {
    const window = Math.floor(Date.now() / ms);
    let thrown: unknown;
    try {
      await run(`key-${i}`);
    } catch (error) {
      thrown = error;
    }
    if (Math.floor(Date.now() / ms) !== window && i < 3) continue;
    if (thrown) throw thrown;
    return;
  }
}

/** Returns how many of some requests pass. */
async function passed(limits: Limits, key: string, limit: RateLimit, times: number): Promise<number> {
  let count = 0;
  for (let i = 0; i < times; i++) if ((await limits.checkRateLimit(key, limit)).allowed) count++;
  return count;
}

type Limits = RateLimits<string>;

onWires(
  "rate limits",
  (onWire) => {
    for (const algorithm of ALGORITHMS) {
      it(
        `checkRateLimit keeps two limits of one key apart when it counts by ${algorithm}`,
        onWire((t) =>
          withinWindow(HOUR, (key) =>
            withinWindow(MINUTE, async (nested) => {
              const { checkRateLimit } = t.make().service("auth");
              const passes = { minute: 0, hour: 0, wider: 0 };
              for (let i = 0; i < 60; i++) {
                const minute = await checkRateLimit(key + nested, { limit: 5, window: "1m", algorithm });
                const hour = await checkRateLimit(key + nested, { limit: 20, window: "1h", algorithm });
                const wider = await checkRateLimit(key + nested, { limit: 30, window: "1h", algorithm });
                if (minute.allowed) passes.minute++;
                if (hour.allowed) passes.hour++;
                if (wider.allowed) passes.wider++;
              }
              // A bucket fills in between.
              const more = algorithm === "token-bucket" ? 1 : 0;
              assert.ok(passes.minute >= 5 && passes.minute <= 5 + more, JSON.stringify(passes));
              assert.deepEqual([passes.hour, passes.wider], [20, 30]);
            }),
          ),
        ),
      );

      it(
        `checkRateLimit blocks for at most the new window when a window was changed, by ${algorithm}`,
        onWire(async (t) => {
          const { checkRateLimit } = t.make().service("auth");
          for (let i = 0; i < 6; i++) await checkRateLimit("signup:u1", { limit: 5, window: "1d", algorithm });
          const first = await checkRateLimit("signup:u1", { limit: 5, window: "1m", algorithm });
          assert.deepEqual([first.allowed, first.remaining, first.retryAfter], [true, 4, 0]);
          const whole = first.resetAt.getTime() - Date.now();
          assert.ok(whole <= (algorithm === "sliding" ? 2 : 1) * MINUTE, `whole in ${whole} ms`);
          assert.equal((await checkRateLimit("signup:u1", { limit: 5, window: "1d", algorithm })).allowed, false);
        }),
      );

      it(
        `checkRateLimit goes on from what was counted when a limit was changed, by ${algorithm}`,
        onWire((t) =>
          withinWindow(HOUR, async (key) => {
            const limits = t.make().service("auth");
            const window = "1h";
            assert.equal(await passed(limits, key, { limit: 7, window, algorithm }, 7), 7);
            // Raised: new requests may pass. Lowered: none may until the window is over.
            assert.equal(await passed(limits, key, { limit: 9, window, algorithm }, 5), 2);
            const lowered = await limits.checkRateLimit(key, { limit: 5, window, algorithm });
            assert.deepEqual([lowered.allowed, lowered.remaining], [false, 0]);
            assert.ok(lowered.retryAfter > 0 && lowered.retryAfter <= (algorithm === "sliding" ? 2 : 1) * 3600);
            assert.equal(await passed(limits, key, { limit: 10, window, algorithm }, 5), 1);
          }),
        ),
      );

      it(
        `checkRateLimit counts each on its own when it is seen that both are in use, by ${algorithm}`,
        onWire((t) =>
          withinWindow(HOUR, async (key) => {
            const limits = t.make().service("auth");
            const [reads, logins] = [
              { limit: 20, window: "1h", algorithm },
              { limit: 3, window: "1h", algorithm },
            ] as const;
            assert.equal(await passed(limits, key, reads, 10), 10);
            // It may be the other one, lowered: no request beyond it passes.
            assert.equal(await passed(limits, key, logins, 1), 0);
            assert.equal(await passed(limits, key, reads, 1), 1);
            assert.equal(await passed(limits, key, logins, 5), 3);
            assert.equal(await passed(limits, key, reads, 20), 9);
          }),
        ),
      );

      it(
        `checkRateLimit looks without counting when a request costs 0, by ${algorithm}`,
        onWire(async (t) => {
          const { checkRateLimit, resetRateLimit } = t.make().service("auth");
          const limit = { limit: 2, window: "1d", algorithm } as const;
          const look = async () => {
            const { allowed, remaining, retryAfter } = await checkRateLimit("k", { ...limit, cost: 0 });
            return [allowed, remaining, retryAfter > 0];
          };
          for (let i = 0; i < 3; i++) assert.deepEqual(await look(), [true, 2, false]);
          assert.equal(await resetRateLimit("k"), false);
          await checkRateLimit("k", limit);
          assert.deepEqual(await look(), [true, 1, false]);
          await checkRateLimit("k", limit);
          assert.deepEqual(await look(), [false, 0, true]);
          assert.equal((await checkRateLimit("k", limit)).allowed, false);
        }),
      );

      it(
        `decrementRateLimit gives back what was counted, and never more, by ${algorithm}`,
        onWire((t) =>
          withinWindow(24 * HOUR, async (key) => {
            const { checkRateLimit, decrementRateLimit } = t.make().service("auth");
            const limit = { limit: 3, window: "1d", algorithm } as const;
            for (let i = 0; i < 4; i++) await checkRateLimit(key, limit);
            const back = await decrementRateLimit(key, limit);
            assert.deepEqual([back.allowed, back.remaining, back.limit, back.retryAfter], [true, 1, 3, 0]);
            assert.equal((await decrementRateLimit(key, { ...limit, cost: 50 })).remaining, 3);
            assert.equal((await decrementRateLimit(key, limit)).remaining, 3);
            assert.equal(await passed({ checkRateLimit } as Limits, key, limit, 5), 3);
          }),
        ),
      );

      it(
        `checkRateLimit takes states of other builds without an error or a block, by ${algorithm}`,
        onWire(async (t) => {
          const { checkRateLimit } = t.make({ onError: "throw" }).service("auth");
          const limit = { limit: 5, window: "1m", algorithm } as const;
          const old = { fixed: "fixed", sliding: "sliding", "token-bucket": "token-bucket" }[algorithm];
          // What builds had that kept a key for each algorithm; none of them lives on.
          await t.raw(2, "SET", "rate_limit:fixed%3Ak", 5);
          await t.raw(2, "HSET", "rate_limit:sliding%3Ak", "i", 28_000_000, "c", 5, "p", 5);
          await t.raw(2, "HSET", "rate_limit:token-bucket%3Ak", "l", 0, "t", 1_600_000_000_000);
          for (const key of ["k", `${old}:k`]) {
            const result = await checkRateLimit(key, { ...limit, onUnavailable: "throw" });
            assert.deepEqual([result.allowed, result.remaining], [true, 4], key);
          }
          // A clock that was set back by years, and a key that has lost its TTL.
          const [far, index] = [Date.now() + 1e11, Math.floor((Date.now() + 1e11) / MINUTE)];
          await t.raw(2, "HSET", "rate_limit:f", "f60000:5", `${far} 5 0`);
          await t.raw(2, "HSET", "rate_limit:s", "s60000:5", `${index} 5 5`);
          await t.raw(2, "HSET", "rate_limit:t", "t60000:5", `${far} 300000 0`);
          await t.raw(2, "HSET", "rate_limit:x", "f60000:5", "no state", "s60000:5", "1 2", "t60000:5", "");
          const name = algorithm[0] as string;
          const blocked = await checkRateLimit(name, limit);
          assert.equal(blocked.allowed, false);
          assert.ok(blocked.retryAfter <= (algorithm === "sliding" ? 120 : 60), `${blocked.retryAfter} s`);
          assert.match(String(await t.raw(2, "HGET", `rate_limit:${name}`, `${name}60000:5`)), /^\d{8,13} \d+ \d+$/);
          const left = Number(await t.raw(2, "PTTL", `rate_limit:${name}`));
          assert.ok(left > 0 && left <= 2 * MINUTE, `${left} ms to live`);
          assert.ok(
            Number.parseInt(String(await t.raw(2, "HGET", `rate_limit:${name}`, `${name}60000:5`)), 10) < far - 1e10,
          );
          assert.equal((await checkRateLimit("x", limit)).remaining, 4);
        }),
      );
    }

    it(
      "checkRateLimit passes only if all limits let it, counts in none if one refuses, and says which",
      onWire(async (t) => {
        const client = t.make();
        const { checkRateLimit } = client.service("auth");
        const limits = [
          { limit: 2, window: "12h" },
          { limit: 3, window: "1d", algorithm: "token-bucket" },
          { limit: 100, window: "30d", algorithm: "sliding" },
        ] as const;
        const remaining = async () =>
          (await checkRateLimit("k", limits, { cost: 0 })).limits.map((one) => one.remaining);
        assert.deepEqual(await remaining(), [2, 3, 100]);
        const first = await checkRateLimit("k", limits);
        assert.deepEqual(
          [first.allowed, first.decidedBy, first.limit, first.remaining, first.retryAfter, first.available],
          [true, 0, 2, 1, 0, true],
        );
        assert.deepEqual(
          first.limits.map(({ allowed, limit, remaining, retryAfter }) => [allowed, limit, remaining, retryAfter]),
          [
            [true, 2, 1, 0],
            [true, 3, 2, 0],
            [true, 100, 99, 0],
          ],
        );
        const { roundTrips } = client.stats().wire;
        const costly = await checkRateLimit("k", limits, { cost: 2 });
        assert.equal(client.stats().wire.roundTrips, roundTrips + 1);
        assert.deepEqual([costly.allowed, costly.decidedBy, costly.limit, costly.remaining], [false, 0, 2, 1]);
        assert.deepEqual(
          costly.limits.map(({ allowed }) => allowed),
          [false, true, true],
        );
        assert.ok(costly.retryAfter > 11 * 3600 && costly.retryAfter <= 12 * 3600);
        assert.equal(costly.resetAt.getTime(), costly.limits[0]?.resetAt.getTime());
        assert.deepEqual(await remaining(), [1, 2, 99]);
        // What never passes decides before what passes later.
        const never = await checkRateLimit("k", limits, { cost: 3 });
        assert.deepEqual([never.decidedBy, never.retryAfter], [0, Number.POSITIVE_INFINITY]);
        const fourth = await checkRateLimit("k", limits, { cost: 4 });
        assert.deepEqual([fourth.decidedBy, fourth.limits.map(({ allowed }) => allowed)], [0, [false, false, true]]);
        await checkRateLimit("k", limits);
        // A limit among others is the same as alone.
        assert.equal((await checkRateLimit("k", limits[0])).allowed, false);
        assert.deepEqual((await checkRateLimit("k", [limits[1], limits[2]])).remaining, 0);
        assert.deepEqual(await remaining(), [0, 0, 97]);
      }),
    );

    it(
      "decrementRateLimit gives back in all limits of a list",
      onWire(async (t) => {
        const { checkRateLimit, decrementRateLimit } = t.make().service("auth");
        const limits = [
          { limit: 5, window: "1h" },
          { limit: 100, window: "1d", algorithm: "token-bucket" },
        ] as const;
        await checkRateLimit("k", limits, { cost: 4 });
        const back = await decrementRateLimit("k", limits, { cost: 3 });
        assert.deepEqual([back.decidedBy, back.limits.map(({ remaining }) => remaining)], [0, [4, 99]]);
      }),
    );

    it(
      "incrementRateLimit counts each window of a key on its own, and gives back",
      onWire(async (t) => {
        const { incrementRateLimit, decrementRateLimit } = t.make().service("auth");
        await incrementRateLimit("k", { window: "1d", by: 5 });
        const minute = await incrementRateLimit("k", { window: "1m" });
        assert.equal(minute.count, 1);
        assert.ok(minute.resetAt.getTime() - Date.now() <= MINUTE + 1000);
        const day = await incrementRateLimit("k", { window: "1d" });
        assert.equal(day.count, 6);
        assert.ok(day.resetAt.getTime() - Date.now() > 23 * HOUR);
        const back = await decrementRateLimit("k", { window: "1d", by: 2 });
        assert.deepEqual([back.count, back.resetAt], [4, day.resetAt]);
        assert.deepEqual(await decrementRateLimit("k", { window: "1d", by: 0 }), back);
        assert.equal((await decrementRateLimit("k", { window: "1d", by: 50 })).count, 0);
        assert.equal((await decrementRateLimit("k", { window: "1d" })).count, 0);
        assert.equal((await decrementRateLimit("other")).count, 0);
        assert.equal((await incrementRateLimit("k", { window: "1d" })).count, 1);
      }),
    );

    it(
      "incrementRateLimit is exact up to 2^53 - 1, and refuses to count beyond",
      onWire(async (t) => {
        const { incrementRateLimit, decrementRateLimit } = t.make().service("auth");
        for (const by of [MOST, MOST - 1, MOST - 2, 2 ** 52 + 1]) {
          assert.equal((await incrementRateLimit(`k${by}`, { by })).count, by);
        }
        for (const by of [1, 2, MOST]) {
          await assert.rejects(
            incrementRateLimit(`k${MOST}`, { by }),
            /: Cannot count more: received \d+, expected a count up to 9007199254740991$/,
          );
          assert.equal((await decrementRateLimit(`k${MOST}`, { by: 0 })).count, MOST);
        }
        assert.equal((await decrementRateLimit(`k${MOST}`, { by: MOST - 3 })).count, 3);
      }),
    );

    it(
      "resetRateLimit forgets every limit and count of a key",
      onWire(async (t) => {
        const { checkRateLimit, incrementRateLimit, resetRateLimit } = t.make().service("auth");
        const use = async () => {
          const allowed = [];
          for (const window of ["1h", "12h", "1d"] as const) {
            allowed.push((await incrementRateLimit("k", { window })).count === 1);
            for (const algorithm of ALGORITHMS) {
              allowed.push((await checkRateLimit("k", { limit: 1, window, algorithm })).allowed);
            }
          }
          return [...new Set(allowed)];
        };
        assert.deepEqual(await use(), [true]);
        assert.deepEqual(await use(), [false]);
        assert.equal(await resetRateLimit("k"), true);
        assert.equal(await resetRateLimit("k"), false);
        assert.deepEqual(await use(), [true]);
      }),
    );

    it(
      "checkRateLimit counts apart for every cache, collection and service, and not in their entries",
      onWire(async (t) => {
        const client = t.make();
        const [cache, nine, shop] = [client.cache(), client.cache({ database: 10 }), client.service(menu)];
        const limit = { limit: 1, window: "1d" } as const;
        const places: Limits[] = [
          cache,
          nine,
          shop,
          shop.dishes,
          client.service("product"),
          client.service("auth"),
        ] as never;
        for (const allowed of [true, false]) {
          for (const place of places) {
            assert.equal((await place.checkRateLimit("k", limit)).allowed, allowed);
            assert.equal((await place.incrementRateLimit("k", { window: "1d" })).count, allowed ? 1 : 2);
          }
        }
        // The key's value has nothing to do with it, and what finds entries does not find it.
        await cache.set("k", "value");
        await shop.dishes.set("k", "value");
        assert.deepEqual([await cache.get("k"), await shop.dishes.get("k")], ["value", "value"]);
        assert.deepEqual([await cache.clear(), await shop.clear()], [1, 1]);
        assert.deepEqual([await cache.deletePattern("*"), await shop.invalidateAll()], [0, true]);
        for (const place of places) assert.equal((await place.checkRateLimit("k", limit)).allowed, false);
        const { checkRateLimit, decrementRateLimit, resetRateLimit } = shop;
        assert.equal((await decrementRateLimit("k", limit)).remaining, 1);
        assert.equal((await checkRateLimit("k", limit)).allowed, true);
        assert.equal(await resetRateLimit("k"), true);
        assert.deepEqual(
          (await Promise.all(places.map((place) => place.checkRateLimit("k", { ...limit, cost: 0 })))).map(
            (r) => r.allowed,
          ),
          [false, false, true, false, false, false],
        );
        assert.equal((await shop.checkRateLimit(5n, limit)).allowed, true);
        assert.equal((await shop.checkRateLimit("5", limit)).allowed, false);
        await assert.rejects(cache.checkRateLimit("", limit), /expected/);
        await assert.rejects(cache.checkRateLimit("#larder:clock", limit), /expected/);
      }),
    );
  },
  AND_SHARDS,
);

describe("rate limits whose store is away", () => {
  it("answer what onUnavailable says on any cache, and deny by default", async () => {
    const send = () => Promise.reject(new StoreError("connection", "away"));
    const capabilities = { numbered: true, scripts: true, ordered: true };
    const driver: Driver = { name: "away", capabilities, send, close: async () => {} };
    const client = createCacheClient({ env: {}, driver, retries: 0, breaker: false });
    const limit = { limit: 5, window: "1m" } as const;
    const limits = [limit, { limit: 9, window: "1h" }] as const;
    for (const place of [client.cache<unknown>(), client.service(menu), client.service("auth")] as Cache[]) {
      const denied = await place.checkRateLimit("k", limit);
      assert.deepEqual([denied.allowed, denied.remaining, denied.retryAfter, denied.available], [false, 0, 1, false]);
      const allowed = await place.checkRateLimit("k", limits, { onUnavailable: "allow" });
      assert.deepEqual([allowed.allowed, allowed.limit, allowed.retryAfter, allowed.available], [true, 5, 0, false]);
      assert.deepEqual(
        [allowed.decidedBy, allowed.limits.map((one) => [one.allowed, one.limit])],
        [
          0,
          [
            [true, 5],
            [true, 9],
          ],
        ],
      );
      await assert.rejects(place.checkRateLimit("k", limits, { onUnavailable: "throw" }), { name: "StoreError" });
      assert.equal((await place.decrementRateLimit("k", limit)).available, false);
      assert.equal((await place.decrementRateLimit("k")).count, Number.POSITIVE_INFINITY);
      assert.equal((await place.incrementRateLimit("k", { onUnavailable: "allow" })).count, 0);
      assert.equal(await place.resetRateLimit("k"), false);
      await assert.rejects(place.resetRateLimit("k", { onError: "throw" }), { name: "StoreError" });
    }
    await client.close();
  });
});

describe("rate limits of the smallest build", () => {
  it("are what the client is given, and auth's own", async () => {
    const limit = { limit: 1, window: "1m" } as const;
    const bare = createCoreClient({ driver: memory() });
    const given = createCoreClient({ driver: memory(), rateLimits });
    assert.equal((await bare.service(auth).checkRateLimit("k", limit)).allowed, true);
    for (const place of [bare.cache(), bare.service(menu)] as Cache[]) {
      for (const refused of [
        place.checkRateLimit("k", limit),
        place.incrementRateLimit("k"),
        place.decrementRateLimit("k"),
        place.resetRateLimit("k"),
      ]) {
        await assert.rejects(refused, { name: "TypeError", message: /the option rateLimits/ });
      }
    }
    for (const place of [given.cache(), given.service(menu), given.service(auth)] as Cache[]) {
      assert.equal((await place.checkRateLimit("k", limit)).allowed, true);
      assert.equal((await place.checkRateLimit("k", limit)).allowed, false);
    }
    assert.throws(() => createCoreClient({ driver: memory(), rateLimits: true as never }), /rateLimits is true/);
  });
});

describe("options of rate limits", () => {
  it("name what is accepted when they are bad", async () => {
    await using client = createCacheClient({ env: {}, driver: "memory" });
    const cache = client.cache();
    const good = { limit: 5, window: "1m" } as const;
    const bad: [unknown, unknown?][] = [
      [undefined],
      [null],
      [5],
      [{ window: "1m" }],
      ...[0, -1, 1.5, "5", Number.NaN, 1_000_001].map((limit): [unknown] => [{ ...good, limit }]),
      ...[undefined, 0, -1, "0s", "31d", "forever", "1 minute", "short", "default", null, {}].map(
        (window): [unknown] => [{ ...good, window }],
      ),
      ...[-1, 0.5, "1", null, 1_000_001].map((cost): [unknown] => [{ ...good, cost }]),
      ...["leaky", "toString", null, 5].map((algorithm): [unknown] => [{ ...good, algorithm }]),
      [{ ...good, onUnavailable: "shrug" }],
      [{ ...good, timeout: 0 }],
      [{ ...good, windw: "1m" }],
      [[]],
      [[good, good]],
      [[good, { limit: 5, window: "60s", algorithm: "fixed" }]],
      [[good, { ...good, limit: 6, cost: 2 }]],
      [[good, undefined]],
      [[good, 5]],
      [Array.from({ length: 17 }, (_, i) => ({ ...good, limit: i + 1 }))],
      [[good], { cost: -1 }],
      [[good], { limit: 5 }],
      [[good], { onUnavailable: "shrug" }],
      [[good], "deny"],
    ];
    for (const [given, options] of bad) {
      const said = JSON.stringify([given, options]);
      for (const verb of ["checkRateLimit", "decrementRateLimit"] as const) {
        // Without a limit it is a count that is given back.
        if (verb === "decrementRateLimit" && (given == null || Object.keys(given).join() === "window")) continue;
        await assert.rejects(
          async () => cache[verb]("k", given as never, options as never),
          (error: Error) =>
            /, expected (\{|a whole number|one of|1 to 16|limits that|milliseconds as a|seconds .* 30 days$)/.test(
              error.message,
            ) && /^(Type|Range)Error$/.test(error.name),
          `${verb} ${said}`,
        );
      }
    }
    await assert.rejects(cache.decrementRateLimit("k", { ...good, cost: 0 }), /a whole number from 1 to/);
    for (const options of [
      { by: -1 },
      { by: 1.5 },
      { by: 2 ** 53 },
      { window: "31d" },
      { cost: 1 },
      { onError: "throw" },
    ]) {
      await assert.rejects(
        cache.incrementRateLimit("k", options as never),
        /: Cannot .*: received .*, expected /,
        JSON.stringify(options),
      );
      await assert.rejects(
        cache.decrementRateLimit("k", options as never),
        /: Cannot .*: received .*, expected /,
        JSON.stringify(options),
      );
    }
    await assert.rejects(cache.incrementRateLimit("k", { by: 0 }), /expected a whole number of 1 or more/);
    assert.equal(client.stats().wire.commands, 0);
  });
});

/** A request at a time: what it cost, and whether it passed. */
interface Passage {
  readonly at: number;
  readonly cost: number;
}

const sum = (all: readonly Passage[]): number => all.reduce((total, { cost }) => total + cost, 0);

/** When the last of the windows began that begin with their first request. */
const begins = (passes: readonly Passage[], ms: number): number =>
  passes.reduce((start, { at }) => (at >= start + ms ? at : start), Number.NEGATIVE_INFINITY);

/** Checks the promise of each algorithm about the requests that passed. */
const PROMISES: Readonly<Record<(typeof ALGORITHMS)[number], (passes: Passage[], limit: number, ms: number) => void>> =
  {
    fixed(passes, limit, ms) {
      let start = Number.NEGATIVE_INFINITY;
      let count = 0;
      for (const { at, cost } of passes) {
        if (at >= start + ms) [start, count] = [at, 0];
        count += cost;
        assert.ok(count <= limit, `${count} of ${limit} in the window of ${start}`);
      }
    },
    sliding(passes, limit, ms) {
      passes.forEach(({ at }, i) => {
        const window = passes.slice(i).filter((one) => Math.floor(one.at / ms) === Math.floor(at / ms));
        const span = passes.slice(i).filter((one) => one.at < at + ms);
        assert.ok(sum(window) <= limit, `${sum(window)} of ${limit} in a window`);
        assert.ok(sum(span) < 2 * limit, `${sum(span)} of ${limit} in a span`);
      });
    },
    "token-bucket"(passes, limit, ms) {
      passes.forEach(({ at }, i) => {
        passes.slice(i).forEach((last, j) => {
          const most = limit + ((last.at - at) * limit) / ms;
          assert.ok(sum(passes.slice(i, i + j + 1)) <= most, `more than ${most} of ${limit} in a span`);
        });
      });
    },
  };

const limitOf = fc.record({
  limit: fc.constantFrom(1, 2, 3, 5, 10),
  window: fc.constantFrom("1s", "7s", "10s", "1m").map((text) => text as RateLimit["window"]),
  algorithm: fc.constantFrom(...ALGORITHMS),
});
const millis = (window: unknown): number =>
  Number.parseInt(String(window), 10) * (String(window).endsWith("m") ? MINUTE : 1000);
const named = ({ limit, window, algorithm }: RateLimit): string => `${algorithm} ${window} ${limit}`;
/** The milliseconds before a request. */
const wait = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 900 }), fc.integer({ min: 0, max: 15_000 }));

describe("the promise of rate limits", () => {
  it("holds for each of several limits, and a request that is refused counts in none", {
    timeout: 60_000,
  }, async () => {
    const requests = fc.array(fc.record({ wait, cost: fc.constantFrom(1, 1, 1, 2, 3), which: fc.nat(3) }), {
      minLength: 1,
      maxLength: 60,
      size: "max",
    });
    const lists = fc.array(fc.uniqueArray(limitOf, { minLength: 1, maxLength: 3, selector: named }), {
      minLength: 1,
      maxLength: 2,
    });
    await fc.assert(
      fc.asyncProperty(lists, requests, async (calls, steps) => {
        let now = 1_700_000_000_000;
        await using client = createCacheClient({ env: {}, driver: memory({ clock: () => now }), clock: () => now });
        const cache = client.cache();
        const passes = new Map<string, Passage[]>();
        for (const { wait, cost, which } of steps) {
          now += wait;
          const limits = calls[which % calls.length] as RateLimit[];
          const look = async () =>
            (await cache.checkRateLimit("k", limits, { cost: 0 })).limits.map((one) => one.remaining);
          const before = await look();
          const { allowed, decidedBy, limits: states, retryAfter } = await cache.checkRateLimit("k", limits, { cost });
          assert.equal(
            allowed,
            states.every((one) => one.allowed),
          );
          assert.equal(states[decidedBy]?.allowed, allowed);
          assert.equal(retryAfter === 0, allowed);
          assert.deepEqual(await look(), allowed ? before.map((one) => one - cost) : before);
          if (!allowed) continue;
          for (const limit of limits) {
            const own = passes.get(named(limit)) ?? [];
            passes.set(named(limit), own);
            own.push({ at: now, cost });
          }
        }
        for (const limit of calls.flat()) {
          PROMISES[limit.algorithm as "fixed"](passes.get(named(limit)) ?? [], limit.limit, millis(limit.window));
        }
      }),
      { numRuns: 200 },
    );
  });

  it("holds for both limits and, over a change, for the larger one; and retryAfter is when a request passes", {
    timeout: 60_000,
  }, async () => {
    const steps = fc.array(fc.record({ wait, cost: fc.constantFrom(1, 1, 2) }), {
      minLength: 1,
      maxLength: 30,
      size: "max",
    });
    await fc.assert(
      fc.asyncProperty(limitOf, fc.constantFrom(4, 6, 7, 20), steps, steps, async (first, changed, old, young) => {
        let now = 1_700_000_000_000;
        await using client = createCacheClient({ env: {}, driver: memory({ clock: () => now }), clock: () => now });
        const cache = client.cache();
        const [ms, later] = [millis(first.window), { ...first, limit: changed }];
        const [before, after]: [Passage[], Passage[]] = [[], []];
        for (const [limit, requests, passes] of [
          [first, old, before],
          [later, young, after],
        ] as const) {
          for (const { wait, cost } of requests) {
            now += wait;
            const { allowed, retryAfter } = await cache.checkRateLimit("k", { ...limit, cost });
            if (allowed) passes.push({ at: now, cost });
            else if (cost <= limit.limit) {
              assert.ok(retryAfter * 1000 <= (limit.algorithm === "sliding" ? 2 : 1) * ms + 1000, `${retryAfter} s`);
              now += retryAfter * 1000;
              assert.equal((await cache.checkRateLimit("k", { ...limit, cost })).allowed, true);
              passes.push({ at: now, cost });
            }
          }
        }
        const promise = PROMISES[first.algorithm];
        promise(before, first.limit, ms);
        promise(after, changed, ms);
        // Windows that begin with their first request begin again with another limit: the last one of before is still
        // judged as one.
        const start = first.algorithm === "fixed" ? begins(before, ms) : 0;
        const end = first.algorithm === "fixed" ? start + ms : Number.POSITIVE_INFINITY;
        const both = [...before, ...after].filter(({ at }) => at >= start && at < end);
        promise(both, Math.max(first.limit, changed), ms);
      }),
      { numRuns: 200 },
    );
  });
});
