/** Keys of several placeholders. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { globMatch } from "../drivers/glob.ts";
import { memory } from "../drivers/memory.ts";
import { collection, createCacheClient, defineService } from "../mod.ts";
import type { KeyShape } from "../src/entry/keyspace.ts";
import { severalParts } from "../src/entry/several_parts.ts";

const piece = fc.constantFrom(..."ab:%*?[]^\\-{}/ .~@é日🍜\n", "\ud800", "%3A", "acme");
const part = fc.oneof(
  fc.array(piece, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("")),
  fc.integer(),
);
const ids = fc.record({ tenant: part, id: part });
const shape = severalParts("order:{tenant}:{id}") as KeyShape;

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe("severalParts", () => {
  it("encode gives equal ids one key and others two, and decode gives their texts back", () => {
    fc.assert(
      fc.property(ids, ids, (a, b) => {
        const texts = (each: typeof a) => ({ tenant: `${each.tenant}`, id: `${each.id}` });
        assert.deepEqual(shape.decode(shape.encode(a)), texts(a));
        assert.equal(shape.encode(a), shape.encode([a.tenant, a.id]));
        assert.equal(shape.encode(a), shape.encode({ id: a.id, tenant: a.tenant }));
        assert.equal(
          shape.encode(a) === shape.encode(b),
          a.tenant === b.tenant && a.id === b.id ? true : sameTexts(a, b),
        );
      }),
      { numRuns: 2000 },
    );
  });

  it("match finds what matches in each part, and no part reaches into another", () => {
    const glob = fc
      .array(fc.constantFrom(..."ab*?é", "\\:", "[a-c]", "[^x]", "\\*"), { minLength: 1, maxLength: 3 })
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(ids, glob, glob, (id, tenant, own) => {
        const key = shape.encode(id);
        const { glob: encoded, test } = shape.match(`${tenant}:${own}`);
        const found = globMatch(encoded, key) && (!test || test(shape.decode(key)));
        assert.equal(found, globMatch(tenant, `${id.tenant}`) && globMatch(own, `${id.id}`));
      }),
      { numRuns: 3000 },
    );
  });

  it("match takes one pattern for each part, or * for all", () => {
    assert.deepEqual(shape.match("*"), { glob: "order:*" });
    for (const bad of ["a", "a:", ":a", "a:b:c", "**", "[:"]) {
      const expected = /^Cannot match keys: received .*, expected "\*", or a glob for each of tenant:id$/;
      assert.throws(() => shape.match(bad), { name: "TypeError", message: expected }, bad);
    }
    assert.throws(() => shape.match(""), TypeError);
  });

  it("encode throws when a part is missing, too much or of no accepted type", () => {
    const form = /^Cannot use an id: received .*, expected \{ tenant, id \} or \[tenant, id\]$/;
    for (const bad of ["a", 1, null, undefined, [], ["a"], ["a", "b", "c"], { tenant: "a" }, { ...["a"] }]) {
      assert.throws(() => shape.encode(bad as never), { name: "TypeError", message: form }, JSON.stringify(bad));
    }
    assert.throws(() => shape.encode({ tenant: "a", id: 1, more: 2 }), { message: form });
    for (const bad of [{ tenant: "a", name: 1 }, ["a", ""], ["a", Number.NaN], ["a", { b: 1 }]]) {
      assert.throws(() => shape.encode(bad), TypeError);
    }
  });

  it("collection throws when a placeholder comes twice or the pattern has another form", () => {
    for (const key of ["order:{a}:{a}", "order:{a}{b}", "order:{a}:b", "order:{a}:{b}:", "{a}:{b}", "order:"]) {
      assert.equal(severalParts(key), undefined);
      assert.throws(() => collection({ key }), /^TypeError: Cannot declare a collection: received /, key);
    }
    assert.equal(severalParts("order:{id}"), undefined);
  });

  it("encode hashes each part when ids are hashed", () => {
    const hashed = severalParts("order:{tenant}:{id}", true) as KeyShape;
    assert.match(hashed.encode(["acme", { b: 1 }]), /^order:[\da-f]{40}:[\da-f]{40}$/);
    assert.equal(hashed.encode(["acme", 1]), hashed.encode({ tenant: "acme", id: 1 }));
  });
});

function sameTexts(a: { tenant: unknown; id: unknown }, b: { tenant: unknown; id: unknown }): boolean {
  return `${a.tenant}` === `${b.tenant}` && `${a.id}` === `${b.id}`;
}

interface Order {
  total: number;
}

const shop = defineService({
  name: "shop",
  collections: {
    orders: collection<Order>({ key: "order:{tenant}:{id}", ttl: "1h", tags: (_, id) => [JSON.stringify(id)] }),
    lines: collection<number>({ key: "line:{tenant}:{order}:{line}" }),
    secrets: collection<number>({ key: "secret:{a}:{b}", hashed: true }),
  },
});

for (const near of [false, true]) {
  describe(`a collection of several placeholders${near ? " with a near cache" : ""}`, () => {
    it("takes objects and tuples in every verb", async () => {
      await using client = createCacheClient({ driver: memory(), env: {}, near, onError: "throw" });
      const { orders, lines, secrets } = client.service(shop);
      const id = { tenant: "acme", id: 1 };
      const other = ["acme:1", "1"] as const;
      assert.equal(await orders.set(id, { total: 5 }), true);
      for (const same of [id, { id: "1", tenant: "acme" }, ["acme", 1] as const, ["acme", "1"] as const]) {
        assert.deepEqual(await orders.get(same), { total: 5 });
        assert.deepEqual(await orders.get(same), { total: 5 });
      }
      assert.equal(await orders.get(other), undefined);
      assert.equal(await orders.setMany([[other, { total: 7 }]]), 1);
      assert.deepEqual(
        [...(await orders.getMany([id, other, ["none", 1]]))],
        [
          [id, { total: 5 }],
          [other, { total: 7 }],
        ],
      );
      const wanted = [id, ["acme", 2] as const, { tenant: "beta", id: 2 }];
      let asked: unknown[] = [];
      const loaded = await orders.getOrSetMany(wanted, (missing) => {
        asked = missing;
        return new Map([
          [{ tenant: "acme", id: 2 }, { total: 2 }],
          [["beta", "2"] as const, { total: 3 }],
        ] as const) as never;
      });
      assert.deepEqual(asked, wanted.slice(1));
      assert.deepEqual([...loaded.values()], [{ total: 5 }, { total: 2 }, { total: 3 }]);
      assert.equal(await orders.getOrSet(["acme", 2], () => assert.fail("loaded")).then(({ total }) => total), 2);
      assert.deepEqual(await orders.update(id, (order) => ({ total: (order?.total ?? 0) + 1 })), { total: 6 });
      assert.equal(await orders.has(["acme", 1]), true);
      assert.equal(await orders.withLock(id, () => "held"), "held");

      const ids = await all(orders.keys());
      assert.deepEqual(ids.map((each) => `${each.tenant} ${each.id}`).sort(), [
        "acme 1",
        "acme 2",
        "acme:1 1",
        "beta 2",
      ]);
      for (const each of ids) assert.equal(await orders.has(each), true);
      assert.deepEqual((await all(orders.keys("acme:*"))).map((each) => each.id).sort(), ["1", "2"]);
      assert.equal(await orders.deletePattern("acme:*"), 2);
      assert.deepEqual(await orders.get(other), { total: 7 });
      assert.equal(await orders.deletePattern("acme\\:1:?"), 1);
      assert.equal(await orders.delete({ tenant: "beta", id: 2 }), 1);

      for (const line of [1, 2, 3]) await lines.set(["acme", 1, line], line);
      assert.equal(await lines.delete(["acme", 1, 1]), 1);
      assert.equal(await lines.delete([["acme", 1, 2], { tenant: "acme", order: 1, line: 3 }, ["acme", 1, 4]]), 2);
      assert.equal(await lines.delete([]), 0);
      assert.equal(await lines.increment(["acme", 1, 9]), 1);
      await secrets.set(["a", "b"], 1);
      assert.equal(await secrets.get({ a: "a", b: "b" }), 1);
      assert.equal(await orders.set(id, { total: 1 }), true);
      assert.equal(await orders.invalidateTags([JSON.stringify(id)]), true);
      assert.equal(await orders.get(id), undefined);
    });

    it("gives the function of tags an object when the caller gives a tuple", async () => {
      await using client = createCacheClient({ driver: memory(), env: {}, near, onError: "throw" });
      const { orders } = client.service(shop);
      const tag = JSON.stringify({ tenant: "acme", id: 1 });
      const writes = [
        () => orders.set(["acme", 1], { total: 1 }),
        () => orders.setMany([[["acme", 1], { total: 1 }]]),
        () => orders.update(["acme", 1], () => ({ total: 1 })),
        () => orders.getOrSet(["acme", 1], () => ({ total: 1 })),
        () => orders.getOrSetMany([["acme", 1] as const], ([id]) => new Map([[id as never, { total: 1 }]])),
      ];
      for (const write of writes) {
        await write();
        assert.deepEqual(await orders.get(["acme", 1]), { total: 1 });
        assert.equal(await orders.invalidateTags(tag), true);
        assert.equal(await orders.get(["acme", 1]), undefined, `${write}`);
      }
    });
  });
}
