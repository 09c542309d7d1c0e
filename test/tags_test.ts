import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { memory } from "../drivers/memory.ts";
import { type CacheEvent, collection, createCacheClient, defineService, type LoadContext } from "../mod.ts";
import { AND_SHARDS, gate, onWires } from "./helpers/engine.ts";

const dishes = defineService({
  name: "dishes",
  database: 9,
  collections: {
    dishes: collection<{ id: number; kind: string }>({
      key: "dish:{id}",
      ttl: "1h",
      tags: (dish, id) => [`dish ${id}`, dish.kind],
    }),
    menus: collection<string>({ key: "menu:{id}", tags: ["menus", "everything"] }),
    plain: collection<string>({ key: "plain:{id}" }),
  },
});

const sessions = defineService({
  name: "sliding",
  database: 10,
  collections: {
    sessions: collection<string>({ key: "session:{id}", ttl: "1h", sliding: true, tags: (user) => [user] }),
    found: collection<string>({ key: "found:{id}", ttl: "1h", sliding: true, negativeTtl: "1m" }),
  },
});

async function list(keys: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const key of keys) all.push(key);
  return all.sort();
}

onWires(
  "invalidateTags",
  (onWire, wire) => {
    it(
      "makes entries with the tag misses, for every verb and in every client",
      onWire(async ({ make }) => {
        const [one, two] = [make().service(dishes), make().service(dishes)];
        const kinds = ["soup", "roll", "soup", "tea"];
        const all = kinds.map((kind, id) => [id, { id, kind }] as const);
        for (const writer of [one, two]) {
          await writer.dishes.setMany(all);
          await writer.plain.set("1", "p");
          await writer.menus.getOrSet("lunch", () => "pho");
          assert.equal(await one.invalidateTags("soup"), true);
          for (const reader of [one, two]) {
            assert.deepEqual([...(await reader.dishes.getMany([0, 1, 2, 3])).keys()], [1, 3]);
            for (const [id, { kind }] of all) {
              const there = kind !== "soup";
              assert.equal((await reader.dishes.get(id)) !== undefined, there);
              assert.equal(await reader.dishes.has(id), there);
              assert.equal((await reader.dishes.ttl(id)) !== undefined, there);
              if (!there) assert.equal(await reader.dishes.expire(id, "2h"), false);
              if (!there) assert.equal(await reader.dishes.persist(id), false);
            }
            assert.deepEqual(await list(reader.dishes.keys()), ["1", "3"]);
            assert.deepEqual(await list(reader.keys()), ["dish:1", "dish:3", "menu:lunch", "plain:1"]);
            assert.deepEqual([await reader.plain.get("1"), await reader.menus.get("lunch")], ["p", "pho"]);
          }
          let asked: unknown;
          const again = await two.dishes.getOrSetMany([0, 1, 2], (ids) => {
            asked = ids;
            return new Map(ids.map((id) => [id, { id: Number(id), kind: "new" }]));
          });
          assert.deepEqual(asked, [0, 2]);
          assert.deepEqual(
            [...again.values()].map(({ kind }) => kind),
            ["new", "roll", "new"],
          );
          assert.equal((await one.dishes.get(0))?.kind, "new");
          assert.equal(await two.invalidateTags(["dish 1", "everything"]), true);
          assert.deepEqual([await one.dishes.has(1), await one.dishes.has(3)], [false, true]);
          assert.equal(await one.menus.get("lunch"), undefined);
          // One that is a miss is updated as if nothing were there.
          assert.equal(await two.menus.update("lunch", (old) => (old === undefined ? "fresh" : "old")), "fresh");
          assert.equal(await one.menus.get("lunch"), "fresh");
          await one.invalidateAll();
          assert.deepEqual(await list(two.keys()), []);
        }
      }),
    );

    it(
      "takes one round trip for any number of tags, as a tagged read does for any number of keys",
      onWire(async ({ make }) => {
        const client = make();
        const { dishes: own, invalidateTags } = client.service(dishes);
        const trips = async (run: () => Promise<unknown>): Promise<number> => {
          const before = client.stats().wire.roundTrips;
          await run();
          return client.stats().wire.roundTrips - before;
        };
        const ids = Array.from({ length: 300 }, (_, id) => id);
        assert.equal(await trips(() => own.setMany(ids.map((id) => [id, { id, kind: `kind ${id % 7}` }]))), 1);
        assert.equal(await trips(() => own.get(1)), 1);
        assert.equal(await trips(() => own.getMany(ids)), 1);
        assert.equal(await trips(() => Promise.all([own.has(1), own.ttl(2), own.has(3)])), 1);
        assert.equal(await trips(() => invalidateTags(ids.slice(0, 100).map((id) => `dish ${id}`))), 1);
        assert.equal(await trips(() => own.getMany(ids)), 1);
        assert.equal((await own.getMany(ids)).size, 200);
        assert.equal(await trips(() => own.getOrSet(1, () => ({ id: 1, kind: "kind 1" }))), 2);
        // Where tags come with calls only, the first look at one finds out.
        const cache = client.cache<number>({ database: 11 });
        await cache.set("k", 1, { tags: ["t"] });
        await cache.invalidateTags("other");
        assert.ok((await trips(() => cache.get("k"))) <= 2);
        assert.equal(await trips(() => cache.get("k")), 1);
        assert.equal(await cache.get("k"), 1);
      }),
    );

    it(
      "holds against a load that began before it, in any client, and whatever else happens",
      onWire(async ({ make }) => {
        const [one, two] = [make().cache<string>(), make().cache<string>()];
        const invalidations: [string, () => Promise<unknown>, boolean][] = [
          ["own tag", () => one.invalidateTags("t"), true],
          ["another's tag", () => two.invalidateTags("t"), true],
          ["one of several", () => two.invalidateTags(["x", "t"]), true],
          ["another's tag, twice", () => Promise.all([two.invalidateTags("t"), two.invalidateTags("t")]), true],
          ["own everything", () => one.invalidateAll(), true],
          ["another's everything", () => two.invalidateAll(), true],
          ["own clear", () => one.clear(), true],
          ["another's clear", () => two.clear(), true],
          ["a tag of others", () => two.invalidateTags("u"), false],
        ];
        for (const [name, invalidate, concerned] of invalidations) {
          for (const warm of [false, true]) {
            const key = `${name} ${warm}`;
            if (warm) await Promise.all([one.get(key), two.get(key)]);
            const source = gate<string>();
            const started = gate();
            const answer = one.getOrSet(
              key,
              () => {
                started.open();
                return source.promise;
              },
              { tags: ["t"] },
            );
            await started.promise;
            await invalidate();
            source.open("old");
            assert.equal(await answer, "old");
            const expected = concerned ? undefined : "old";
            assert.deepEqual([await one.get(key), await two.get(key)], [expected, expected], key);
            assert.deepEqual([await one.has(key), await two.has(key)], [!concerned, !concerned], key);
            assert.equal(await two.getOrSet(key, () => "new", { tags: ["t"] }), expected ?? "new", key);
            assert.equal(await one.get(key), expected ?? "new");
          }
        }
      }),
    );

    it(
      "invalidateAll spares counters, locks and rate limits, and what is written after it is valid",
      onWire(async ({ make }) => {
        const [one, two] = [make(), make()];
        const auth = one.service("auth");
        await auth.incrementRateLimit("login:u");
        await auth.checkRateLimit("api:u", { limit: 3, window: "1h" });
        await auth.permissions.set("u", ["eat"]);
        const cache = one.cache<unknown>({ database: 2 });
        await cache.increment("counter", { by: 5 });
        await cache.set("untagged", 1);
        await cache.set("tagged", 1, { tags: ["t"] });
        await cache.set("ever", { a: 1 }, { ttl: "forever" });
        const done = gate();
        const held = gate<number>();
        const holding = cache.withLock("lock", async ({ token, signal }) => {
          held.open(token);
          await done.promise;
          return signal.aborted;
        });
        await held.promise;
        assert.equal(await auth.invalidateAll(), true);
        for (const client of [one, two]) {
          const own = client.cache<unknown>({ database: 2 });
          assert.deepEqual([...(await own.getMany(["untagged", "tagged", "ever"]))], []);
          assert.equal(await own.has("untagged"), false);
          assert.equal(await client.service("auth").permissions.get("u"), undefined);
          assert.equal(await own.get("counter"), 5);
          await assert.rejects(
            own.withLock("lock", () => 1, { wait: false }),
            { name: "CacheLockError" },
          );
        }
        assert.equal((await auth.incrementRateLimit("login:u")).count, 2);
        assert.equal((await auth.checkRateLimit("api:u", { limit: 3, window: "1h" })).remaining, 1);
        assert.equal(await cache.increment("counter"), 6);
        done.open();
        assert.equal(await holding, false);
        await two.cache({ database: 2 }).set("untagged", 2);
        await two.cache({ database: 2 }).set("tagged", 2, { tags: ["t"] });
        assert.deepEqual([await cache.get("untagged"), await cache.get("tagged")], [2, 2]);
        // Other databases are others'.
        await one.cache({ database: 12 }).set("k", 1);
        await auth.invalidateAll();
        assert.equal(await two.cache({ database: 12 }).get("k"), 1);
      }),
    );

    it(
      "keeps the marks of a sliding entry's tags alive as long as the entry",
      { skip: wire === "shards" && "its raw keys are not those of a shard" },
      onWire(async (t) => {
        const { sessions: own, invalidateTags } = t.make().service(sessions);
        await own.set("s", "user", { ttl: "2s" });
        const left = async (key: string): Promise<number> => (await t.raw(10, "PTTL", key)) as number;
        assert.ok((await left("#larder:tag:user")) < 60_000);
        assert.equal(await own.get("s"), "user");
        assert.ok((await left("session:s")) > 3_500_000, `entry ${await left("session:s")}`);
        assert.ok(
          (await left("#larder:tag:user")) >= (await left("session:s")) - 1000,
          `mark ${await left("#larder:tag:user")}`,
        );
        await own.set("t", "guest", { ttl: "2s" });
        assert.equal(await own.expire("t", "2h"), true);
        assert.ok((await left("#larder:tag:guest")) > 7_000_000);
        assert.equal(await own.persist("t"), true);
        assert.equal(await left("#larder:tag:guest"), -1);
        assert.equal(await own.get("t"), "guest");
        await invalidateTags(["user", "guest"]);
        assert.deepEqual([await own.get("s"), await own.get("t")], [undefined, undefined]);
        assert.equal(await left("#larder:tag:guest"), -1);
        // An evicted mark invalidates.
        await own.set("s", "user");
        await t.raw(10, "DEL", "#larder:tag:user");
        assert.equal(await own.get("s"), undefined);
        await own.set("s", "user");
        assert.equal(await own.get("s"), "user");
      }),
    );

    it(
      "does not slide an entry of a value that is known not to exist",
      onWire(async (t) => {
        const { found } = t.make().service(sessions);
        let loads = 0;
        const load = () => {
          loads++;
          return undefined;
        };
        for (let time = 0; time < 3; time++) assert.equal(await found.getOrSet("f", load), undefined);
        assert.equal(loads, 1);
        assert.ok(((await t.raw(10, "PTTL", "found:f")) as number) <= 60_000);
      }),
    );

    it(
      "reports itself, does nothing without tags, and refuses bad ones",
      onWire(async ({ make }) => {
        const client = make();
        const events: CacheEvent[] = [];
        client.subscribe((event) => events.push(event));
        const cache = client.cache();
        const before = client.stats().wire.commands;
        assert.equal(await cache.invalidateTags([]), true);
        assert.equal(client.stats().wire.commands, before);
        await cache.invalidateTags(["a", "b"]);
        await client.service(dishes).invalidateAll();
        assert.deepEqual(events, [
          { type: "invalidate", service: "cache", tags: ["a", "b"] },
          { type: "invalidate", service: "dishes" },
        ]);
        for (const bad of ["", "x".repeat(257), 5, null] as string[]) {
          await assert.rejects(cache.invalidateTags(["good", bad]), /Cannot use a tag: received .*, expected/);
          await assert.rejects(cache.set("k", 1, { tags: [bad] }), /Cannot use a tag/);
          const loaded = cache.getOrSet("k", ({ tags }: LoadContext) => {
            tags.push(bad);
            return 1;
          });
          await assert.rejects(loaded, /Cannot use a tag/);
        }
        assert.equal(await cache.has("k"), false);
      }),
    );

    it(
      "finds tags of any Unicode, each only its own",
      onWire(async ({ make }) => {
        const [one, two] = [make().cache<number>(), make().cache<number>()];
        const tag = fc.oneof(
          fc.constantFrom(
            "*",
            "a:b",
            "a%3Ab",
            '"',
            "]",
            "],",
            '","',
            "\\",
            "\u0000",
            "\u2028",
            "日本",
            "🍜",
            "\ud800",
            "%uD800",
          ),
          fc.string({ unit: "binary", minLength: 1, maxLength: 12 }),
        );
        let round = 0;
        await fc.assert(
          fc.asyncProperty(fc.uniqueArray(tag, { minLength: 2, maxLength: 4 }), async (tags) => {
            const keys = tags.map((_, i) => `${round}-${i}`);
            const both = `${round++}-both`;
            await Promise.all(tags.map((own, i) => one.set(keys[i] as string, i, { tags: [own, own] })));
            await one.set(both, 9, { tags });
            assert.deepEqual([...(await two.getMany([...keys, both])).values()], [...tags.keys(), 9]);
            await one.invalidateTags(tags[0] as string);
            const found = await two.getMany([...keys, both]);
            assert.deepEqual([...found.values()], [...tags.keys()].slice(1));
            assert.deepEqual([...(await one.getMany([...keys, both])).values()], [...tags.keys()].slice(1));
          }),
          { numRuns: wire === "memory" ? 100 : 25 },
        );
      }),
    );
  },
  AND_SHARDS,
);

describe("invalidateTags", () => {
  it("leaves equal tags of other keyspaces alone", async () => {
    const driver = memory();
    const options = { env: {}, driver, databases: "prefixed" } as const;
    await using one = createCacheClient({ ...options, prefix: "t" });
    await using two = createCacheClient({ ...options, prefix: "t*" });
    const caches = [one.cache(), two.cache(), one.cache({ database: 1 }), one.service(dishes).cache];
    for (const cache of caches) await cache.set("k", 1, { tags: ["t"] });
    await caches[1]?.invalidateTags("t");
    assert.deepEqual(await Promise.all(caches.map((cache) => cache.get("k"))), [1, undefined, 1, 1]);
    await caches[0]?.invalidateAll();
    assert.deepEqual(await Promise.all(caches.map((cache) => cache.get("k"))), [undefined, undefined, 1, 1]);
  });

  it("returns false, or throws, when the store is away", async () => {
    const driver = memory();
    await driver.close();
    await using client = createCacheClient({ env: {}, driver });
    const cache = client.cache();
    assert.equal(await cache.invalidateTags("t"), false);
    assert.equal(await cache.invalidateAll(), false);
    await assert.rejects(cache.invalidateAll({ onError: "throw" }), { name: "StoreError" });
    await using strict = createCacheClient({ env: {}, driver, onError: "throw" });
    await assert.rejects(strict.cache().invalidateTags("t"), { name: "StoreError" });
  });
});
