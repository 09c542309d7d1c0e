import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { memory } from "../drivers/memory.ts";
import { type CacheClient, createCacheClient, StoreError } from "../mod.ts";
import type { RateLimit, RateRequestOptions } from "../src/cache/rate_limits.ts";
import { RefusalMemory, type StoreAnswer } from "../src/cache/refusals.ts";
import { onWires } from "./helpers/engine.ts";

const ALGORITHMS = ["fixed", "sliding", "token-bucket"] as const;

/** Returns what a call did, and how many commands it sent. */
async function counted<T>(client: CacheClient, call: () => Promise<T>): Promise<[result: T, commands: number]> {
  const { commands } = client.stats().wire;
  const result = await call();
  return [result, client.stats().wire.commands - commands];
}

onWires("the memory of refusals", (onWire) => {
  for (const algorithm of ALGORITHMS) {
    it(
      `refuses without a command what the store refused, by ${algorithm}`,
      onWire(async (t) => {
        const client = t.make();
        const limit = { limit: 2, window: "1d", algorithm } as const;
        for (const place of [client.cache(), client.service("auth")]) {
          const check = (options?: RateRequestOptions) =>
            counted(client, () => place.checkRateLimit("k", { ...limit, ...options }));
          // One that passes asks, also for a cost that was refused.
          assert.deepEqual((await check({ cost: 3 }))[0].retryAfter, Number.POSITIVE_INFINITY);
          assert.equal((await check())[1], 1);
          const [costly, asked] = await check({ cost: 2 });
          assert.deepEqual([costly.allowed, asked], [false, 1]);
          assert.deepEqual((await check())[0].allowed, true);
          const told = await place.checkRateLimit("k", { ...limit, rememberFor: false });
          const [recalled, commands] = await check();
          assert.equal(commands, 0);
          assert.equal(recalled.resetAt.getTime(), told.resetAt.getTime());
          assert.deepEqual(recalled, told);
          assert.deepEqual((await check({ cost: 2 }))[1], 0);
          // To look is to ask the store.
          assert.deepEqual((await check({ cost: 0 }))[1], 1);
          assert.deepEqual((await check({ rememberFor: false }))[1], 1);
          // Others are not affected.
          const others: (() => Promise<unknown>)[] = [
            () => place.checkRateLimit("other", limit),
            () => place.checkRateLimit("k", { ...limit, window: "12h" }),
            () => place.checkRateLimit("k", [limit, { limit: 9, window: "2d" }]),
            () => place.incrementRateLimit("k", { window: "1d" }),
          ];
          for (const other of others) assert.equal((await counted(client, other))[1], 1);
        }
      }),
    );

    it(
      `asks the store again after rememberFor, by ${algorithm}`,
      onWire(async (t) => {
        const [client, other] = [t.make(), t.make()];
        const limit = { limit: 1, window: "1d", algorithm } as const;
        const check = (options?: RateRequestOptions) =>
          counted(client, () => client.cache().checkRateLimit("k", { ...limit, ...options }));
        await check();
        await check();
        assert.equal(await other.cache().resetRateLimit("k"), true);
        // Another process has reset it: that is seen when the store is asked.
        t.now += 999;
        assert.deepEqual([(await check())[0].allowed, (await check())[1]], [false, 0]);
        t.now += 1;
        assert.deepEqual(
          [(await check({ rememberFor: "1m" }))[1], (await check({ rememberFor: "forever" }))[1]],
          [0, 0],
        );
        const [result, commands] = await check();
        assert.deepEqual([result.allowed, commands], [true, 1]);
        // A clock that was set back has nothing to say.
        t.now -= 5000;
        assert.equal((await check())[1], 1);
      }),
    );
  }

  it(
    "forgets a key that this client resets, gives back to, deletes or clears",
    onWire(async (t) => {
      const client = t.make();
      const { cache, service } = { cache: client.cache(), service: client.service("auth") };
      const limit = { limit: 1, window: "1d" } as const;
      const opens: [string, boolean, () => Promise<unknown>][] = [
        ["resetRateLimit", true, () => service.resetRateLimit("k")],
        ["decrementRateLimit", true, () => service.decrementRateLimit("k", limit)],
        ["delete", true, () => service.rateLimits.delete("k")],
        ["clear", true, () => service.clear()],
        ["clear of the collection", true, () => service.rateLimits.clear()],
        ["deletePattern", true, () => service.deletePattern("rate_limit:*")],
        [
          "another cache",
          true,
          () =>
            client
              .forRequest({ waitUntil: () => {} })
              .service("auth")
              .resetRateLimit("k"),
        ],
        ["set", true, () => service.cache.set("rate_limit:k", 1)],
        // These open no limit.
        ["invalidateAll", false, () => service.invalidateAll()],
        ["checkRateLimit of cost 0", false, () => service.checkRateLimit("k", { ...limit, cost: 0 })],
      ];
      for (const [name, opened, open] of opens) {
        await service.clear();
        await service.checkRateLimit("k", limit);
        assert.equal((await counted(client, () => service.checkRateLimit("k", limit)))[1], 0, name);
        await open();
        assert.equal((await service.checkRateLimit("k", limit)).allowed, opened, name);
      }
      await cache.checkRateLimit("k", limit);
      await cache.set("k", 1);
      await cache.clear();
      assert.equal((await cache.checkRateLimit("k", limit)).allowed, false);
      await cache.resetRateLimit("k");
      assert.equal((await cache.checkRateLimit("k", limit)).allowed, true);
    }),
  );

  it(
    "forgets a key at once, whatever is still on its way",
    onWire(async (t) => {
      const { checkRateLimit, resetRateLimit, decrementRateLimit } = t.make().service("auth");
      const limit = { limit: 1, window: "1d" } as const;
      await checkRateLimit("k", limit);
      for (const open of [() => resetRateLimit("k"), () => decrementRateLimit("k", limit)]) {
        const asked = checkRateLimit("k", { ...limit, rememberFor: false });
        const opened = open();
        assert.deepEqual(
          (await Promise.all([asked, opened, checkRateLimit("k", limit), checkRateLimit("k", limit)])).map(
            (result) => result === true || (result as { allowed: boolean }).allowed,
          ),
          [false, true, true, false],
        );
      }
    }),
  );

  it(
    "counts each check of one tick once when the store has forgotten the script",
    onWire(async (t) => {
      const { checkRateLimit } = t.make().service("auth");
      const limit = { limit: 5, window: "1d" } as const;
      await checkRateLimit("first", limit);
      await t.raw(2, "SCRIPT", "FLUSH");
      const results = await Promise.all(["a", "b", "a", "first"].map((key) => checkRateLimit(key, limit)));
      assert.deepEqual(
        results.map(({ remaining }) => remaining),
        [4, 4, 3, 3],
      );
    }),
  );

  it(
    "gives each caller of one tick its own answer, also for one key",
    onWire(async (t) => {
      const client = t.make();
      const { checkRateLimit } = client.service("auth");
      const limit = { limit: 3, window: "1d" } as const;
      await checkRateLimit("first", limit);
      const { commands } = client.stats().wire;
      const keys = Array.from({ length: 250 }, (_, i) => `k${i % 50}`);
      const results = await Promise.all(keys.map((key) => checkRateLimit(key, limit)));
      assert.deepEqual(
        results.map(({ allowed, remaining }) => [allowed, remaining]),
        keys.map((_, i) => [i < 150, Math.max(0, 2 - Math.floor(i / 50))]),
      );
      assert.equal(client.stats().wire.commands - commands, 3);
      const mixed = await Promise.all([
        checkRateLimit("m", limit),
        checkRateLimit("m", { ...limit, cost: 2 }),
        checkRateLimit("m", limit),
        checkRateLimit("m", { limit: 9, window: "1h" }),
        checkRateLimit("n", limit),
      ]);
      assert.deepEqual(
        mixed.map(({ allowed, remaining }) => [allowed, remaining]),
        [
          [true, 2],
          [true, 0],
          [false, 0],
          [true, 8],
          [true, 2],
        ],
      );
    }),
  );

  it(
    "decides whatever is asked in one tick as it does one after the other",
    { timeout: 60_000 },
    onWire(async (t) => {
      const [alone, together] = [t.make(), t.make()];
      const limit = fc.record({
        limit: fc.constantFrom(1, 2, 3, 5),
        window: fc.constantFrom("10d", "20d").map((text) => text as RateLimit["window"]),
        algorithm: fc.constantFrom(...ALGORITHMS),
      });
      const call = fc.record({
        verb: fc.constantFrom("check", "check", "check", "check", "look", "decrement", "increment", "reset"),
        key: fc.constantFrom("a", "b", "c"),
        cost: fc.constantFrom(1, 1, 1, 2, 3),
        which: fc.nat(2),
        ends: fc.boolean(),
      });
      const limits = fc.uniqueArray(limit, { minLength: 3, maxLength: 3, selector: (one) => JSON.stringify(one) });
      let run = 0;
      await fc.assert(
        fc.asyncProperty(limits, fc.array(call, { minLength: 1, maxLength: 30, size: "max" }), async (all, calls) => {
          run++;
          const ask = async (client: CacheClient, index: number, options: RateRequestOptions) => {
            const { verb, key: name, cost, which } = calls[index] as (typeof calls)[number];
            const cache = client.cache();
            const key = `${client === alone ? "alone" : "together"}${run}:${name}`;
            const asked = which === 0 ? all : [all[which] as RateLimit];
            if (verb === "reset") return cache.resetRateLimit(key);
            if (verb === "increment") return (await cache.incrementRateLimit(key, { window: "20d", by: cost })).count;
            const { allowed, limits } = await (verb === "decrement"
              ? cache.decrementRateLimit(key, asked, { cost })
              : cache.checkRateLimit(key, asked, { ...options, cost: verb === "look" ? 0 : cost }));
            return [allowed, ...limits.map((one) => [one.allowed, one.remaining])];
          };
          const expected: unknown[] = [];
          const found: unknown[] = [];
          let tick: number[] = [];
          for (const [index, { ends }] of calls.entries()) {
            expected.push(await ask(alone, index, { rememberFor: false }));
            tick.push(index);
            if (!ends && index + 1 < calls.length) continue;
            found.push(...(await Promise.all(tick.map((each) => ask(together, each, { rememberFor: "forever" })))));
            tick = [];
          }
          assert.deepEqual(found, expected);
        }),
        { numRuns: 50 },
      );
    }),
  );
});

describe("a memory of refusals", () => {
  const limits = (limit: number) => [{ kind: "f", window: 1, limit }];
  const answer = (limit: number, pass = false): StoreAnswer => ({
    limits: limits(limit),
    pass,
    asked: 0,
    now: 0,
    shown: 0,
    states: [{ own: { at: 1, n: 1, p: 0 } }],
  });

  it("keeps a bounded number of keys and answers, the newest", () => {
    const refusals = new RefusalMemory();
    for (let i = 0; i < 50_000; i++) refusals.keep(`k${i}`, refusals.begin(`k${i}`), answer(1));
    const kept = Array.from({ length: 50_000 }, (_, i) => refusals.find(`k${i}`, limits(1))).filter(Boolean).length;
    assert.ok(kept >= 10_000 && kept <= 20_000, `${kept} keys`);
    assert.ok(refusals.find("k49999", limits(1)));
    const answers = refusals.begin("k");
    for (let i = 0; i < 100; i++) refusals.keep("k", answers, answer(i));
    assert.ok(answers.length <= 16, `${answers.length} answers`);
    assert.ok(refusals.find("k", limits(99)));
    refusals.keep("k", answers, answer(100, true));
    assert.deepEqual([refusals.find("k", limits(99)), refusals.find("k", limits(100))?.pass], [undefined, true]);
  });

  it("keeps no answer of a key that was forgotten in between", () => {
    const refusals = new RefusalMemory();
    const late = refusals.begin("k");
    refusals.forget("k");
    refusals.keep("k", late, answer(1));
    assert.equal(refusals.find("k", limits(1)), undefined);
    const again = refusals.begin("k");
    refusals.keep("k", late, answer(1));
    refusals.keep("k", again, answer(2));
    assert.deepEqual([refusals.find("k", limits(1)), refusals.find("k", limits(2))?.limits], [undefined, limits(2)]);
    refusals.invalidate(undefined, ["tag"]);
    assert.ok(refusals.find("k", limits(2)));
    refusals.invalidate(undefined);
    assert.equal(refusals.find("k", limits(2)), undefined);
  });

  it("answers while the store is away, and what onUnavailable says afterwards", async () => {
    let [now, away] = [1_700_000_000_000, false];
    const store = memory({ clock: () => now });
    const driver: typeof store = {
      ...store,
      send: (...args) => (away ? Promise.reject(new StoreError("connection", "away")) : store.send(...args)),
    };
    await using client = createCacheClient({ env: {}, driver, clock: () => now, retries: 0, breaker: false });
    const limit = { limit: 1, window: "1m", onUnavailable: "allow" } as const;
    const check = () => client.cache().checkRateLimit("k", limit);
    await check();
    away = true;
    const recalled = await check();
    assert.deepEqual([recalled.allowed, recalled.available, recalled.retryAfter], [false, true, 60]);
    now += 1000;
    const unknown = await check();
    assert.deepEqual([unknown.allowed, unknown.available], [true, false]);
  });

  it("says nothing after its client was closed", async () => {
    const client = createCacheClient({ env: {}, driver: memory() });
    const check = () => client.cache().checkRateLimit("k", { limit: 1, window: "1d", onUnavailable: "throw" });
    await check();
    assert.equal((await check()).allowed, false);
    await client.close();
    await assert.rejects(check, { name: "StoreError", kind: "closed" });
  });

  const limitOf = fc.record({
    limit: fc.constantFrom(1, 2, 3, 5, 10),
    window: fc.constantFrom("1s", "7s", "10s", "1m").map((text) => text as RateLimit["window"]),
    algorithm: fc.constantFrom(...ALGORITHMS),
  });
  const lists = fc.array(
    fc.uniqueArray(limitOf, { minLength: 1, maxLength: 3, selector: (one) => JSON.stringify(one) }),
    { minLength: 1, maxLength: 3 },
  );
  const steps = fc.array(
    fc.record({
      wait: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 900 }), fc.integer({ min: 0, max: 15_000 })),
      verb: fc.constantFrom("check", "check", "check", "check", "check", "decrement", "increment", "reset"),
      key: fc.constantFrom("a", "a", "b"),
      cost: fc.constantFrom(1, 1, 1, 2, 3, 0),
      which: fc.nat(2),
    }),
    { minLength: 1, maxLength: 60, size: "max" },
  );

  for (const rememberFor of ["1s", "forever"] as const) {
    it(`decides as the store does, to the millisecond, when it remembers for ${rememberFor}`, {
      timeout: 60_000,
    }, async () => {
      let recalled = 0;
      await fc.assert(
        fc.asyncProperty(lists, steps, async (calls, all) => {
          let now = 1_700_000_000_000;
          const clock = () => now;
          const make = () => createCacheClient({ env: {}, driver: memory({ clock }), clock });
          await using asking = make();
          await using remembering = make();
          for (const { wait, verb, key, cost, which } of all) {
            now += wait;
            const limits = calls[which % calls.length] as RateLimit[];
            const run = (client: CacheClient, options: RateRequestOptions) => {
              const { checkRateLimit, decrementRateLimit, incrementRateLimit, resetRateLimit } = client.service("auth");
              if (verb === "check") return checkRateLimit(key, limits, { cost, ...options });
              if (verb === "decrement") return decrementRateLimit(key, limits, { cost: cost || 1 });
              if (verb === "increment") return incrementRateLimit(key, { window: "7s" });
              return resetRateLimit(key);
            };
            const expected = await run(asking, { rememberFor: false });
            const [result, commands] = await counted(
              remembering,
              () => run(remembering, { rememberFor }) as Promise<unknown>,
            );
            assert.deepEqual(result, expected, `${verb} ${key} ${cost} ${JSON.stringify(limits)}`);
            if (commands === 0) recalled++;
          }
        }),
        { numRuns: 300 },
      );
      assert.ok(recalled > 100, `only ${recalled} were recalled`);
    });
  }
});
