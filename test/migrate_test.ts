import assert from "node:assert/strict";
import { it } from "node:test";
import * as v from "valibot";
import { type CacheEvent, type ClientOptions, collection, defineService } from "../mod.ts";
import { type Case, onWires } from "./helpers/engine.ts";
import { eventually } from "./helpers/eventually.ts";

interface Dish {
  readonly name: string;
  readonly cents: number;
  readonly tags: readonly string[];
}

const KEY = { key: "dish:{id}" };
const place = { name: "shop", database: 9 } as const;

/** The versions over time: a name; a name and a price; then cents and tags. */
const FIRST = defineService({ ...place, collections: { dishes: collection<string>(KEY) } });
const SECOND = defineService({
  ...place,
  collections: {
    dishes: collection<{ name: string; price: number }>({
      ...KEY,
      version: 2,
      migrate: { 1: (name: string) => ({ name, price: 0 }) },
    }),
  },
});
const migrate = {
  1(name: string) {
    if (name === "bad") throw new Error("s3cret: cannot read this");
    return { name, price: 0 };
  },
  2: ({ name, price }: { name: string; price: number }) => ({ name, cents: price * 100, tags: [] }),
};
const schema = v.object({ name: v.string(), cents: v.number(), tags: v.array(v.string()) });
const third = { ...KEY, version: 3, migrate };
const THIRD = defineService({ ...place, collections: { dishes: collection<Dish>({ ...third, schema }) } });

const SOUP: Dish = { name: "Pho", cents: 0, tags: [] };

/** Makes a client of the third version, and lists its events about versions and unreadable entries. */
function latest(t: Case, service = THIRD, options?: ClientOptions) {
  const client = t.make(options);
  const told: string[] = [];
  client.subscribe((event: CacheEvent) => {
    if (event.type === "migrate") {
      const { key, from, to, ok, service, collection } = event;
      told.push(`${service}.${collection} ${key} ${from}>${to} ${ok}`);
    }
    if (event.type === "corrupt") told.push(`corrupt ${event.reason}`);
    assert.ok(!JSON.stringify(event).includes("s3cret"));
  });
  return { client, dishes: client.service(service).dishes, told };
}

onWires("versions", (onWire) => {
  it(
    "upgrade what an older one stored, step by step, whatever reads it",
    onWire(async (t) => {
      const [first, second] = [t.make().service(FIRST).dishes, t.make().service(SECOND).dishes];
      await first.set("1", "Pho");
      await second.set("2", { name: "Bun", price: 7 });
      const { dishes, told, client } = latest(t);
      const bun = { name: "Bun", cents: 700, tags: [] };
      assert.deepEqual(await dishes.get("1"), SOUP);
      assert.deepEqual(await dishes.get("2"), bun);
      assert.deepEqual(told.splice(0), ["shop.dishes dish:1 1>3 true", "shop.dishes dish:2 2>3 true"]);
      const both = [
        ["1", SOUP],
        ["2", bun],
      ];
      assert.deepEqual([...(await dishes.getMany(["1", "2"]))], both);
      const fail = () => assert.fail("it is there");
      assert.deepEqual(await dishes.getOrSet("1", fail), SOUP);
      assert.deepEqual([...(await dishes.getOrSetMany(["1", "2"], fail))], both);
      assert.equal(told.length, 5);
      assert.deepEqual(await dishes.update("1", (old) => old && { ...old, cents: 950 }), { ...SOUP, cents: 950 });
      assert.deepEqual(await dishes.get("1"), { ...SOUP, cents: 950 });
      assert.equal(told.length, 6);
      const { corrupt, misses } = client.stats();
      assert.deepEqual([corrupt, misses], [0, 0]);
    }),
  );

  it(
    "leave the stored entry as it is until it is written",
    onWire(async (t) => {
      await t.make().service(FIRST).dishes.set("1", "Pho");
      const text = await t.raw(9, "GET", "dish:1");
      assert.equal(text, '{"json":"Pho"}');
      const { dishes } = latest(t);
      assert.deepEqual(await dishes.get("1"), SOUP);
      assert.equal(await t.raw(9, "GET", "dish:1"), text);
      assert.equal(await t.make().service(FIRST).dishes.get("1"), "Pho");
      await dishes.set("1", SOUP);
      assert.equal(JSON.parse(String(await t.raw(9, "GET", "dish:1"))).version, 3);
    }),
  );

  it(
    "make a miss, told once, of what a step throws at or gives nothing for",
    onWire(async (t) => {
      await t.make().service(FIRST).dishes.set("1", "bad");
      const { dishes, told, client } = latest(t);
      assert.equal(await dishes.get("1", { onError: "throw" }), undefined);
      assert.deepEqual(told.splice(0), ["shop.dishes dish:1 1>3 false"]);
      assert.deepEqual([...(await dishes.getMany(["1"]))], []);
      assert.equal((await dishes.getOrSet("1", () => SOUP)).name, "Pho");
      assert.deepEqual(await dishes.get("1"), SOUP);
      const { errors, misses } = client.stats();
      assert.deepEqual([errors, misses], [0, 3]);
      const gap = defineService({
        ...place,
        collections: { dishes: collection<Dish>({ ...KEY, version: 3, migrate: { 2: migrate[2] } }) },
      });
      await t.make().service(FIRST).dishes.set("2", "Pho");
      assert.equal(await latest(t, gap).dishes.get("2"), undefined);
      const none = defineService({ ...place, collections: { dishes: collection<Dish>({ ...KEY, version: 3 }) } });
      const without = latest(t, none);
      assert.equal(await without.dishes.get("2"), undefined);
      assert.deepEqual(without.told, ["shop.dishes dish:2 1>3 false"]);
    }),
  );

  it(
    "are misses if a newer one stored them, or if theirs is not a version",
    onWire(async (t) => {
      await latest(t).dishes.set("1", SOUP);
      for (const service of [FIRST, SECOND]) {
        const old = latest(t, service as never);
        assert.equal(await old.dishes.get("1"), undefined);
        assert.deepEqual(old.told, [`shop.dishes dish:1 3>${service === FIRST ? 1 : 2} false`]);
      }
      for (const version of [
        "0",
        "-1",
        "1.5",
        '"x"',
        "-1e999",
        '"__proto__"',
        "null",
        "true",
        "[]",
        "{}",
        "1e999",
        '"toString"',
      ]) {
        await t.raw(9, "SET", "dish:1", `{"version":${version},"json":{"name":"x","price":1}}`);
        const { dishes, client, told } = latest(t);
        assert.equal(await dishes.get("1", { onError: "throw" }), undefined, version);
        assert.equal(client.stats().errors, 0, version);
        assert.ok(told.length > 0, version);
      }
    }),
  );

  it(
    "check the upgraded value by the schema",
    onWire(async (t) => {
      await t
        .make()
        .service(SECOND)
        .dishes.set("1", { name: "Pho", price: "much" as never });
      const { dishes, told } = latest(t);
      assert.equal(await dishes.get("1"), undefined);
      assert.deepEqual(told, ["shop.dishes dish:1 2>3 true", "corrupt schema"]);
    }),
  );

  it(
    "upgrade stale and fail-safe values, sealed and packed ones, and near ones once",
    onWire(async (t) => {
      const more = { staleFor: "1h", failSafeFor: "1h", ttl: "1m", near: true, compressAbove: 1 } as const;
      const [before, now] = [{ ...KEY }, third].map((own) =>
        defineService({ ...place, encrypted: true, collections: { dishes: collection({ ...own, ...more }) } }),
      );
      const encryption = { keys: { k1: new Uint8Array(32).fill(3) } };
      const old = t.make({ encryption }).service(before as typeof THIRD).dishes;
      await old.set("1", "Pho" as never);
      const { dishes, told, client } = latest(t, now as typeof THIRD, { encryption });
      await eventually(async () => {
        assert.deepEqual(await dishes.get("1"), SOUP);
        return client.stats().nearHits > 0;
      });
      const { length } = told;
      for (let i = 0; i < 5; i++) assert.deepEqual(await dishes.get("1"), SOUP);
      assert.equal(told.length, length);
      assert.deepEqual(new Set(told), new Set(["shop.dishes dish:1 1>3 true"]));
      t.now += 60_000;
      assert.equal(await dishes.get("1"), undefined);
      const down = () => Promise.reject(new Error("down"));
      assert.deepEqual(await dishes.getOrSet("1", down), SOUP);
      assert.deepEqual(await dishes.getOrSet("1", down, { staleFor: false }), SOUP);
    }),
  );

  it(
    "do not concern what is known not to be there, nor counters",
    onWire(async (t) => {
      const options = { negativeTtl: "1h" } as const;
      assert.equal(
        await t
          .make()
          .service(FIRST)
          .dishes.getOrSet("1", () => undefined, options),
        undefined,
      );
      const { dishes, told } = latest(t);
      assert.equal(await dishes.getOrSet("1", () => assert.fail("it is remembered"), options), undefined);
      assert.equal(await dishes.get("1"), undefined);
      assert.equal(await dishes.increment("2"), 1);
      assert.equal(await dishes.has("2"), true);
      assert.deepEqual(told, []);
    }),
  );
});
