import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { type CacheDefaults, collection, createCacheClient, defineService } from "../mod.ts";
import { Background, onWires } from "./helpers/engine.ts";
import { eventually } from "./helpers/eventually.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** By how much the clock jumps, there and back again. */
const JUMPS = [5 * HOUR, -5 * HOUR, -30 * HOUR, 48 * HOUR, -48 * HOUR, 1, -1, 1e12, -1e12];

interface Value {
  readonly at: number;
}

function shop(more: CacheDefaults) {
  const dishes = collection<Value>({ key: "dish:{id}", ttl: "10m", ...more });
  return defineService({ name: "shop", database: 9, collections: { dishes } });
}

const STALE = { staleFor: "20m", failSafeFor: "40m" } as const;
const KINDS: Readonly<Record<string, ReturnType<typeof shop>>> = {
  plain: shop({}),
  "stale and fail-safe": shop(STALE),
  early: shop({ earlyRefresh: 1000 }),
  near: shop({ near: { ttl: "5m" } }),
  "near and stale": shop({ ...STALE, near: { ttl: "5m" } }),
  everything: shop({ ...STALE, earlyRefresh: true, jitter: 0.5, negativeTtl: "1m", lock: true, near: true }),
};

onWires("a clock that jumps by hours", (onWire) => {
  for (const [kind, service] of Object.entries(KINDS)) {
    it(
      `makes no verb throw and shows nothing from before what it may: ${kind}`,
      onWire(async (t) => {
        const background = new Background();
        const [client, other] = [
          t.make({ waitUntil: background.waitUntil }),
          t.make({ waitUntil: background.waitUntil }),
        ];
        const { dishes } = client.service(service);
        const others = other.service(service).dishes;
        const strict = { onError: "throw" } as const;
        const timed = kind !== "plain" && kind !== "near";
        /** The times at which values were written: no other value is ever read. */
        const written = new Set<number>();
        const now = (): Value => {
          written.add(t.now);
          return { at: t.now };
        };
        const check = (value: Value | undefined, most: number): void => {
          if (!value) return;
          assert.ok(written.has(value.at));
          const age = t.now - value.at;
          if (timed) assert.ok(age < most && (most > 10 * MINUTE || age > -1000), `${age} ms old`);
        };
        for (const jump of JUMPS) {
          assert.equal(await dishes.set("a", now(), strict), true);
          check(await dishes.get("a", strict), 10 * MINUTE);
          check(await dishes.get("a", strict), 10 * MINUTE);
          await others.getOrSet("b", now, strict);
          t.now += jump;
          for (const id of ["a", "b"]) {
            for (const cache of [dishes, others]) {
              const value = await cache.get(id, strict);
              check(value, 10 * MINUTE);
              assert.equal(await cache.has(id, strict), value !== undefined);
              const left = await cache.ttl(id, strict);
              assert.equal(left !== undefined, value !== undefined);
              if (left !== undefined) assert.ok(left !== "forever" && left > 0 && left <= 601, `${left}`);
              check((await cache.getMany([id], strict)).get(id), 10 * MINUTE);
            }
            check(await dishes.getOrSet(id, now, strict), 40 * MINUTE);
            const [kept] = await Promise.allSettled([
              others.getOrSet(id, () => Promise.reject(new Error("down")), { ...strict, lock: false }),
            ]);
            if (kept?.status === "fulfilled") check(kept.value, 50 * MINUTE);
            await background.done();
          }
          await dishes.update("a", now, strict);
          assert.equal(await dishes.expire("a", "5m", strict), true);
          assert.equal(await dishes.getOrSet("none", () => undefined as never, strict), undefined);
          assert.equal(await dishes.get("none", strict), undefined);
          await dishes.delete("none", strict);
          // It settles at once: what is written now is read now.
          const last = now();
          await others.set("a", last, strict);
          await eventually(async () => (await dishes.get("a", { ...strict, near: false }))?.at === last.at);
          for await (const id of dishes.keys("*", strict)) assert.ok(["a", "b"].includes(id));
          // An invalidation does not go by any process's clock.
          assert.equal(await dishes.invalidateAll(strict), true);
          assert.equal(await others.get("a", { ...strict, near: false }), undefined);
        }
        assert.equal(client.stats().errors + other.stats().errors, 0);
      }),
    );
  }

  it(
    "renews a value early no more than its life asks for when it jumps back",
    onWire(async (t) => {
      const background = new Background();
      const { dishes } = t.make({ waitUntil: background.waitUntil }).service(shop({ earlyRefresh: true }));
      await dishes.set("a", { at: 0 });
      for (const jump of [-900, 300, 300]) {
        t.now += jump;
        assert.deepEqual(await dishes.getOrSet("a", () => assert.fail("it is young")), { at: 0 });
      }
      t.now -= HOUR;
      assert.deepEqual(await dishes.getOrSet("a", () => ({ at: 1 })), { at: 1 });
      await background.done();
      assert.deepEqual(await dishes.getOrSet("a", () => assert.fail("it is young")), { at: 1 });
    }),
  );

  it(
    "keeps entries that only the store times",
    onWire(async (t) => {
      const { dishes } = t.make().service(KINDS.plain as never as ReturnType<typeof shop>);
      await dishes.set("a", { at: 1 });
      for (const jump of JUMPS) {
        t.now += jump;
        assert.deepEqual(await dishes.get("a"), { at: 1 });
      }
    }),
  );
});

describe("a clock that jumps by hours under the embedded store", () => {
  it("lets go of what is over then, and keeps what is not", async () => {
    let now = 1_700_000_000_000;
    const clock = () => now;
    const client = createCacheClient({ env: {}, driver: memory({ clock }), clock, onError: "throw" });
    for (const service of Object.values(KINDS)) {
      const { dishes } = createCacheClient({ env: {}, driver: memory({ clock }), clock }).service(service);
      await dishes.set("a", { at: 1 });
      assert.deepEqual(await dishes.get("a"), { at: 1 });
      now -= 2 * HOUR;
      await dishes.get("a");
      await dishes.set("b", { at: 2 });
      assert.deepEqual(await dishes.get("b"), { at: 2 });
      now += 5 * HOUR;
      assert.equal(await dishes.get("a"), undefined);
      assert.equal(await dishes.get("b"), undefined);
      assert.deepEqual(await dishes.getOrSet("b", () => ({ at: 3 })), { at: 3 });
      assert.deepEqual(await dishes.get("b"), { at: 3 });
    }
    const { checkRateLimit } = client.service("auth");
    const limit = { limit: 2, window: "1m" } as const;
    for (const jump of [0, -5 * HOUR, 5 * HOUR, HOUR]) {
      now += jump;
      const { allowed, remaining } = await checkRateLimit("u", limit);
      assert.equal(typeof allowed, "boolean");
      assert.ok(remaining >= 0 && remaining <= 2);
    }
    await client.close();
  });
});
