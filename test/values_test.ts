import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { it } from "node:test";
import fc from "fast-check";
import superjson from "superjson";
import { type Cache, type ClientOptions, collection, createCacheClient, defineService } from "../mod.ts";
import { type Case, onWires } from "./helpers/engine.ts";
import { same } from "./helpers/same.ts";
import { anyValue } from "./helpers/values.ts";

const values = { values: collection<unknown>({ key: "value:{id}" }) };
const SAFE = defineService({ name: "safe", database: 9, encrypted: true, collections: values });
const encryption = { keys: { k1: new Uint8Array(32).fill(7) } };

type Values = Pick<Cache, "set" | "setMany" | "getOrSet" | "getOrSetMany" | "update" | "get" | "getMany" | "delete">;

/** The ways to store: as it is, compressed, encrypted, both. */
function caches(t: Case): [string, Values][] {
  const small: ClientOptions = { compressAbove: 20 };
  const of = (options: ClientOptions): Values => t.make({ encryption, ...options }).service(SAFE).values as never;
  return [
    ["plain", t.make().cache() as never],
    ["compressed", t.make(small).cache() as never],
    ["encrypted", of({})],
    ["both", of(small)],
  ];
}

onWires("a value", (onWire, wire) => {
  it(
    "comes back equal, or its write throws and says where",
    onWire(async (t) => {
      const ways = caches(t);
      let refused = 0;
      await fc.assert(
        fc.asyncProperty(anyValue(true), fc.nat(3), async (value, way) => {
          const [name, cache] = ways[way] as [string, Values];
          if (value === undefined) return;
          try {
            assert.equal(await cache.set("key", value), true);
          } catch (error) {
            assert.ok(
              error instanceof TypeError && /^Cannot store the value.*, expected /.test(error.message),
              String(error),
            );
            refused++;
            return;
          }
          assert.ok(same(await cache.get("key"), value), name);
        }),
        { numRuns: wire === "memory" ? 1000 : 300 },
      );
      assert.ok(refused > 10, `${refused} refused`);
    }),
  );

  it(
    "comes back equal from every verb, or each of them refuses it by its path",
    onWire(async (t) => {
      for (const [name, cache] of caches(t)) {
        const value = {
          image: new Uint8Array([1, 2, 3]),
          list: [Number.NaN, new Float64Array([Number.NEGATIVE_INFINITY, -0])],
        };
        await cache.delete(["a", "b", "c", "d", "e"]);
        await cache.set("a", value);
        await cache.setMany([["b", value]]);
        let loads = 0;
        for (let i = 0; i < 3; i++)
          await cache.getOrSet("c", () => ({ ...value, body: Buffer.from("bytes"), n: ++loads }));
        await cache.getOrSetMany(["d"], () => new Map([["d", value]]));
        await cache.update("e", () => value);
        const found = await cache.getMany(["a", "b", "c", "d", "e"]);
        const body = new TextEncoder().encode("bytes");
        assert.ok(same([...found.values()], [value, value, { ...value, body, n: 1 }, value, value]), name);
        assert.equal(loads, 1);

        const bad = { rows: new Map([["first", { answer: new Response("x") }]]) };
        const refused = /"rows\.first\.answer": received an instance of Response, expected /;
        const writes: (() => Promise<unknown>)[] = [
          () => cache.set("f", bad),
          () =>
            cache.setMany([
              ["f", 1],
              ["g", bad],
            ] as [string, unknown][]),
          () => cache.getOrSet("f", () => bad),
          () => cache.getOrSetMany(["f"], () => new Map([["f", bad]])),
          () => cache.update("f", () => bad),
        ];
        for (const write of writes)
          await assert.rejects(write, (error: Error) => error instanceof TypeError && refused.test(error.message));
        assert.equal(await cache.get("f"), undefined);
      }
    }),
  );

  it(
    "is stored as text that superjson reads, its bytes in base64",
    onWire(async (t) => {
      const value = { when: new Date(5), bytes: Buffer.from([250, 251, 252]), set: new Set([1n]) };
      await t.make().cache().set("key", value);
      const text = String(await t.raw(0, "GET", "key"));
      assert.ok(same(superjson.parse(text), { ...value, bytes: "+vv8" }), text);
    }),
  );

  it(
    "is a corrupt miss when its compressed text was cut short",
    onWire(async (t) => {
      const client = t.make({ compressAbove: 20 });
      const cache = client.cache();
      const value = { text: "phở ".repeat(200) };
      await cache.set("key", value);
      const { packed, ...document } = JSON.parse(String(await t.raw(0, "GET", "key")));
      assert.ok(packed.length > 20 && document.size > 0);
      let corrupt = 0;
      for (let end = 0; end < packed.length; end += 4) {
        await t.raw(0, "SET", "key", JSON.stringify({ packed: packed.slice(0, end), ...document }));
        assert.equal(await cache.get("key"), undefined);
        assert.equal(cache.stats().corrupt, ++corrupt);
      }
      await t.raw(0, "SET", "key", JSON.stringify({ packed, ...document }));
      assert.deepEqual(await cache.get("key"), value);
    }),
  );

  it(
    "is read when superjson wrote it, with typed arrays as lists of numbers",
    onWire(async (t) => {
      const value = {
        bytes: new Uint8Array([1, 2]),
        floats: new Float32Array([0.5]),
        map: new Map([[1, new Date(5)]]),
      };
      await t.raw(0, "SET", "key", superjson.stringify(value));
      assert.ok(same(await t.make().cache().get("key"), value));
    }),
  );

  it(
    "may be an instance of superClasses, for the client that has them, in every cache and service",
    onWire(async (t) => {
      class Point {
        readonly x: number;
        constructor(x: number) {
          this.x = x;
        }
        get double(): number {
          return this.x * 2;
        }
      }
      const client = t.make({ superClasses: [[Point, "test.Point"]], encryption });
      for (const cache of [client.cache(), client.service(SAFE).values, client.service(SAFE).cache] as Values[]) {
        await cache.set("key", { points: new Map([[new Point(1), [new Point(2)]]]) });
        const { points } = (await cache.get("key")) as { points: Map<Point, Point[]> };
        assert.deepEqual(
          [...points].map(([key, [item]]) => [key.double, item?.double]),
          [[2, 4]],
        );
      }
      const other = t.make();
      await assert.rejects(
        other.cache().set("key", new Point(1)),
        /the value: received an instance of Point, .*superClasses/,
      );
      assert.equal(await other.cache().get("key"), undefined);
      assert.equal(other.cache().stats().corrupt, 1);
      assert.throws(() => createCacheClient({ ...t.options, superClasses: [5] as never }), /superClasses/);
    }),
  );

  it(
    "of a near cache is copied for each reader if it cannot be frozen, or if clone is set",
    onWire(async (t) => {
      class Money {
        cents = 950;
      }
      const make = () => ({
        url: new URL("https://example.com/a"),
        error: new RangeError("r", { cause: { deep: 1 } }),
        when: new Date(5),
        tags: new Set(["a"]),
        bytes: new Uint8Array([1, 2]),
        deep: [{ map: new Map([["k", 1]]), pattern: /a/g }],
        price: new Money(),
      });
      const superClasses = [Money];
      for (const clone of [false, true]) {
        const cache = t.make({ near: { ttl: "1h", clone }, superClasses }).cache<ReturnType<typeof make>>();
        const value = make();
        const plain = { list: [1] };
        await cache.set("key", value);
        await cache.set("plain", plain as never);
        let near = 0;
        for (let i = 0; near < 10; i++) {
          assert.ok(i < 10_000, "it is never kept");
          const { nearHits } = cache.stats();
          const read = await cache.get("key");
          near += cache.stats().nearHits - nearHits;
          assert.ok(same(read, value), `read ${i}`);
          read?.tags.add("LEAK");
          read?.when.setTime(6);
          read?.bytes.fill(0);
          if (read) read.url.pathname = "/leak";
          read?.deep[0]?.map.clear();
          const list = (await cache.get("plain")) as unknown as typeof plain;
          assert.deepEqual(list, { list: [1] });
          if (clone) list.list.push(2);
          if (!read) throw new Error("a miss");
        }
      }
    }),
  );
});
