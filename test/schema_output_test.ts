import assert from "node:assert/strict";
import { it } from "node:test";
import * as v from "valibot";
import { CacheSchemaError, collection, defineService, type Schema } from "../mod.ts";
import { Background, gate, onWires } from "./helpers/engine.ts";

/** Fills in a default, strips what it does not know, and transforms. */
const Dish = v.object({
  id: v.number(),
  tags: v.optional(v.array(v.string()), () => []),
  when: v.pipe(
    v.string(),
    v.transform((text) => new Date(text)),
  ),
});
/** The same, in its own time. */
const Later: Schema<v.InferInput<typeof Dish>, v.InferOutput<typeof Dish>> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: async (value) => {
      await Promise.resolve();
      return Dish["~standard"].validate(value);
    },
  },
};
const near = { ttl: "1h", clone: true } as const;
const MENU = defineService({
  name: "menu",
  database: 8,
  collections: {
    dishes: collection({ key: "dish:{id}", schema: Dish }),
    later: collection({ key: "later:{id}", schema: Later }),
    near: collection({ key: "near:{id}", schema: Dish, near }),
    locked: collection({ key: "locked:{id}", schema: Dish, lock: true }),
    stale: collection({ key: "stale:{id}", schema: Dish, ttl: "1s", failSafeFor: "1h" }),
  },
});

const given = { id: 1, when: "2026-11-28T00:00:00.000Z", passwordHash: "h" };
const output = { id: 1, tags: [], when: new Date(given.when) };
const bad = { id: "one" } as unknown as typeof given;

onWires("what a schema makes of a value", (onWire) => {
  it(
    "is what a miss and a hit return, also to callers that wait",
    onWire(async (t) => {
      const { dishes, later, near, locked, stale } = t.make().service(MENU);
      for (const cache of [dishes, later, near, locked, stale]) {
        const loading = gate<typeof given>();
        const waiting = [1, 2, 3].map(() => cache.getOrSet(1, () => loading.promise));
        loading.open(given);
        assert.deepEqual(await Promise.all(waiting), [output, output, output]);
        assert.deepEqual(await cache.getOrSet(1, () => assert.fail("it is there")), output);
        assert.deepEqual(await cache.get(1), output);
        assert.deepEqual(
          await cache.getOrSetMany([1, 2], () => new Map([[2, given]])),
          new Map([
            [1, output],
            [2, output],
          ]),
        );
        assert.deepEqual(
          await cache.getMany([1, 2]),
          new Map([
            [1, output],
            [2, output],
          ]),
        );
      }
    }),
  );

  it(
    "is what a miss returns when the value is not stored",
    onWire(async (t) => {
      const background = new Background();
      const { dishes, later } = t.make({ waitUntil: background.waitUntil }).service(MENU);
      for (const cache of [dishes, later]) {
        const unstored = async (value: typeof given) =>
          cache.getOrSet(1, (context) => {
            context.store = false;
            return value;
          });
        assert.deepEqual(await unstored(given), output);
        await assert.rejects(unstored(bad), CacheSchemaError);
        await assert.rejects(
          cache.getOrSet(1, () => bad),
          CacheSchemaError,
        );
        assert.equal(await cache.get(1), undefined);
        assert.deepEqual(await cache.getOrSet(1, () => given), output);
        await background.done();
        assert.deepEqual(await cache.get(1), output);
      }
    }),
  );

  it(
    "is what update passes to its change and returns, while the result of the change is stored",
    onWire(async (t) => {
      const { dishes, later } = t.make().service(MENU);
      for (const [cache, key] of [
        [dishes, "dish:1"],
        [later, "later:1"],
      ] as const) {
        const seen: unknown[] = [];
        const change = (current: unknown) => {
          seen.push(current);
          return given;
        };
        assert.deepEqual([await cache.update(1, change), await cache.update(1, change)], [output, output]);
        assert.deepEqual(seen, [undefined, output]);
        assert.deepEqual(JSON.parse(String(await t.raw(8, "GET", key))).json, given);
        await assert.rejects(
          cache.update(1, () => bad),
          CacheSchemaError,
        );
      }
    }),
  );

  it(
    "is kept when a load fails, and replaced when a load in the background succeeds",
    onWire(async (t) => {
      const { stale } = t.make().service(MENU);
      await stale.getOrSet(1, () => given);
      t.now += 2000;
      assert.deepEqual(await stale.getOrSet(1, () => bad), output);
      assert.deepEqual(await stale.getOrSet(1, () => ({ ...given, tags: ["new"] })), { ...output, tags: ["new"] });
    }),
  );
});
