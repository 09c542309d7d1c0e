/** The contract that holds for every driver, in every databases mode, on every runtime. */
import assert from "node:assert/strict";
import * as v from "valibot";
import {
  type CacheClient,
  CacheConflictError,
  type CacheEvent,
  CacheSchemaError,
  type ClientOptions,
  collection,
  defineService,
  withSchemas,
} from "../mod.ts";
import { type Keyspace, Shard } from "../src/entry/keyspace.ts";
import { shards } from "../src/entry/shards.ts";
import { CardNumberError } from "../src/services/payment.ts";
import { product as productService } from "../src/services/product.ts";

/** The arguments of a case. */
export interface ContractContext {
  /** A client over the wire under test; clients of one case share a store that no other case has keys in. */
  make(options?: ClientOptions): CacheClient;
}

/** One case. */
export interface ContractCase {
  readonly name: string;
  run(context: ContractContext): Promise<void>;
}

const cases: ContractCase[] = [];

function it(name: string, body: (client: CacheClient, context: ContractContext) => Promise<void>): void {
  cases.push({
    name,
    async run(context) {
      const client = context.make();
      try {
        await body(client, context);
      } finally {
        await client.close();
      }
    },
  });
}

async function all(keys: AsyncIterable<string>): Promise<string[]> {
  const list: string[] = [];
  for await (const key of keys) list.push(key);
  return list.sort();
}

/** Every case. */
export const contract: readonly ContractCase[] = cases;

it("get answers undefined when the key is missing", async (client) => {
  assert.equal(await client.cache().get("missing"), undefined);
});

it("get gives back every kind of value as itself when it was set", async (client) => {
  const cache = client.cache();
  const shared = { a: 1 };
  const cycle: Record<string, unknown> = { name: "c" };
  cycle.self = cycle;
  const values: unknown[] = [
    null,
    false,
    0,
    "",
    Number.NaN,
    -0,
    Number.POSITIVE_INFINITY,
    "123",
    "true",
    "null",
    '{"json":1}',
    12345678901234567890n,
    new Date(86400000),
    new Map<unknown, unknown>([
      ["k", new Set([1, "2"])],
      [1, null],
    ]),
    new URL("https://example.com/a?b=c"),
    /ph[o0]/gi,
    { nested: { undef: undefined, list: [1, [2, { three: 3 }]] } },
    [],
    {},
    "\u0000 ünï 🍜 \ud83d",
    JSON.parse('{"constructor":1,"prototype":2,"a.b":{"c\\\\d":3}}'),
  ];
  for (const [i, value] of values.entries()) {
    assert.equal(await cache.set(`v${i}`, value), true);
    assert.deepEqual(await cache.get(`v${i}`), value);
    assert.equal(await cache.has(`v${i}`), true);
  }
  await cache.set("shared", { x: shared, y: shared });
  const back = (await cache.get("shared")) as { x: object; y: object };
  assert.equal(back.x, back.y);
  await cache.set("cycle", cycle);
  const round = (await cache.get("cycle")) as Record<string, unknown>;
  assert.equal(round.self, round);
});

it("set throws and writes nothing when the value cannot be stored", async (client) => {
  const cache = client.cache();
  for (const bad of [undefined, () => 1, Symbol("s"), { deep: [{ fn: () => 1 }] }, new Map([["k", Symbol("s")]])]) {
    await assert.rejects(cache.set("bad", bad), TypeError);
    await assert.rejects(
      cache.setMany([
        ["good", 1],
        ["bad", bad],
      ]),
      TypeError,
    );
  }
  assert.deepEqual(await all(cache.keys()), []);
});

it("keys, ids, patterns and TTLs that are bad throw at once and name what is expected", async (client) => {
  const cache = client.cache();
  const { products, searches } = client.service("product");
  for (const bad of ["", "x".repeat(1025), Number.NaN, Number.POSITIVE_INFINITY, null, undefined, true] as string[]) {
    await assert.rejects(products.get(bad), /expected/, `id ${String(bad)}`);
  }
  for (const bad of ["", "x".repeat(1025), "\ud800", null, undefined, {}] as string[]) {
    await assert.rejects(cache.set(bad, 1), /expected/, `key ${String(bad)}`);
  }
  await assert.rejects(searches.get({ when: () => 1 }), /expected/);
  await assert.rejects(cache.deletePattern(""), /expected/);
  await assert.rejects(all(cache.keys("")), /expected/);
  for (const bad of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, "5 minutes", "0s", "-1s", "", "s"]) {
    await assert.rejects(cache.set("k", 1, { ttl: bad as "1s" }), /expected/, `ttl ${bad}`);
    await assert.rejects(cache.expire("k", bad as "1s"), /expected/);
  }
  await assert.rejects(cache.increment("k", { by: 1.5 }), /expected/);
  await assert.rejects(cache.get("k", { timeout: 0 }), /expected/);
  assert.throws(() => client.cache({ database: 16 }), /expected/);
  assert.throws(() => client.service("prodcut" as "product"), /expected.*product/);
  assert.deepEqual(await all(cache.keys()), []);
});

it("ttl, expire and persist tell and change how long a key lives", async (client) => {
  const cache = client.cache();
  assert.equal(await cache.ttl("k"), undefined);
  assert.equal(await cache.expire("k", "1m"), false);
  assert.equal(await cache.persist("k"), false);
  await cache.set("k", 1, { ttl: 90 });
  const left = await cache.ttl("k");
  assert.ok(typeof left === "number" && left > 85 && left <= 90, String(left));
  assert.equal(await cache.expire("k", "2h"), true);
  assert.ok(((await cache.ttl("k")) as number) > 7100);
  assert.equal(await cache.persist("k"), true);
  assert.equal(await cache.ttl("k"), "forever");
  assert.equal(await cache.expire("k", "forever"), true);
  assert.equal(await cache.expire("missing", "forever"), false);
  await cache.set("k", 1, { ttl: "forever" });
  assert.equal(await cache.ttl("k"), "forever");
  await cache.set("k", 1);
  assert.ok(((await cache.ttl("k")) as number) > 3500);
});

it("getMany answers the values that are there in the order asked for", async (client) => {
  const cache = client.cache<number>();
  assert.equal(
    await cache.setMany(
      new Map([
        ["a", 1],
        ["b", 2],
        ["c", 3],
      ]),
      { ttl: "1m" },
    ),
    3,
  );
  assert.deepEqual(
    [...(await cache.getMany(["c", "x", "a", "c"]))],
    [
      ["c", 3],
      ["a", 1],
    ],
  );
  assert.deepEqual([...(await cache.getMany([]))], []);
  assert.equal(await cache.setMany([]), 0);
});

it("delete answers how many were there, to each of several callers", async (client) => {
  const cache = client.cache();
  await cache.setMany([
    ["a", 1],
    ["b", 2],
    ["c", 3],
  ]);
  assert.deepEqual(
    await Promise.all([
      cache.delete("a"),
      cache.delete("missing"),
      cache.delete(["b", "missing", "c"]),
      cache.delete("a"),
    ]),
    [1, 0, 2, 0],
  );
  assert.equal(await cache.delete([]), 0);
  assert.equal(await cache.delete("a"), 0);
});

it("commands for one key take effect in the order of the calls", async (client) => {
  const cache = client.cache<number>();
  const replies = await Promise.all([
    cache.get("k"),
    cache.set("k", 1),
    cache.get("k"),
    cache.set("k", 2),
    cache.get("k"),
    cache.delete("k"),
    cache.get("k"),
    cache.set("k", 3),
    cache.has("k"),
  ]);
  assert.deepEqual(replies, [undefined, true, 1, true, 2, 1, undefined, true, true]);
  const later: Promise<unknown>[] = [];
  for (let i = 0; i < 20; i++) {
    later.push(cache.set("n", i));
    if (i % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    later.push(cache.get("n").then((seen) => assert.equal(seen, i)));
  }
  await Promise.all(later);
});

it("commands of one tick leave in one send to each part of the store, reads as one MGET a shard", async (client) => {
  const cache = client.cache<number>();
  await cache.set("k0", 0);
  const { driver, tags } = await client.locate({});
  const before = client.stats().wire;
  const values = await Promise.all(Array.from({ length: 1000 }, (_, i) => cache.get(`k${i % 500}`)));
  const after = client.stats().wire;
  assert.equal(values[500], 0);
  assert.equal(values[1], undefined);
  assert.equal(after.roundTrips - before.roundTrips, driver.parts?.().length ?? 1);
  assert.equal(after.commands - before.commands, driver.partOf ? tags.length : 1);
});

it("increment counts from nothing, sets the TTL once and repairs a lost one", async (client) => {
  const cache = client.cache<number>();
  assert.equal(await cache.increment("n", { ttl: "1m" }), 1);
  assert.equal(await cache.increment("n", { by: 5, ttl: "2h" }), 6);
  assert.ok(((await cache.ttl("n")) as number) <= 60);
  assert.equal(await cache.increment("n", { by: -10, ttl: "1m" }), -4);
  assert.equal(await cache.get("n"), -4);
  await cache.persist("n");
  assert.equal(await cache.increment("n", { ttl: "1m" }), -3);
  assert.ok(((await cache.ttl("n")) as number) <= 60);
  await cache.set("written", 41, { ttl: "1m" });
  assert.equal(await cache.increment("written", { ttl: "2h" }), 42);
  assert.equal(await cache.get("written"), 42);
  assert.ok(((await cache.ttl("written")) as number) <= 60);
  assert.equal(await cache.increment("free", { ttl: "forever" }), 1);
  assert.equal(await cache.ttl("free"), "forever");
  const many = await Promise.all(Array.from({ length: 100 }, () => cache.increment("m")));
  assert.deepEqual(
    many,
    Array.from({ length: 100 }, (_, i) => i + 1),
  );
});

it("keys and deletePattern know globs when keys hold glob characters and any Unicode", async (client) => {
  const cache = client.cache();
  const names = ["a", "ab", "b", "a*", "a?b", "[x]", "x", "q\\", "é", "日本", "a b", "a\nb", "🍜"];
  await cache.setMany(names.map((name) => [name, 1] as const));
  assert.deepEqual(await all(cache.keys()), [...names].sort());
  assert.deepEqual(await all(cache.keys("a\\*")), ["a*"]);
  assert.deepEqual(await all(cache.keys("\\[x\\]")), ["[x]"]);
  assert.deepEqual(await all(cache.keys("[^ab]")), ["x"]);
  assert.deepEqual(await all(cache.keys("日*")), ["日本"]);
  assert.equal(await cache.deletePattern("a*"), 6);
  assert.deepEqual(await all(cache.keys()), ["b", "[x]", "x", "q\\", "é", "日本", "🍜"].sort());
  assert.equal(await cache.deletePattern("nothing*"), 0);
});

it("a collection's patterns match ids when ids are encoded in keys", async (client) => {
  const { products } = client.service("product");
  const ids = ["1", "12", "21", "a:b", "a*b", "a b", "%41", "A", "ü", "x\ud800y"];
  for (const id of ids) await products.set(id, { id, name: id });
  for (const id of ids) assert.equal((await products.get(id))?.id, id);
  assert.deepEqual(await all(products.keys()), [...ids].sort());
  assert.deepEqual(await all(products.keys("1*")), ["1", "12"]);
  assert.deepEqual(await all(products.keys("a?b")), ["a b", "a*b", "a:b"]);
  assert.deepEqual(await all(products.keys("*b")), ["a b", "a*b", "a:b"]);
  assert.deepEqual(await all(products.keys("a\\*b")), ["a*b"]);
  assert.deepEqual(await all(products.keys("[0-9]*")), ["1", "12", "21"]);
  assert.equal(await products.deletePattern("*1"), 3);
  assert.equal(await products.get("12").then((found) => found?.name), "12");
});

it("clear, keys and deletePattern of one service never touch another's", async (client) => {
  const product = client.service("product");
  const auth = client.service("auth");
  const order = client.service("order");
  await product.products.set("1", { id: 1, name: "Pho" });
  await product.categories.set("1", { id: 1, name: "Soup" });
  await auth.tokens.set("1", "t");
  await order.statuses.set("1", "paid");
  await client.cache({ database: 9 }).set("product:1", "mine");
  assert.deepEqual(await all(product.keys()), ["category:1", "product:1"]);
  assert.equal(await product.products.clear(), 1);
  assert.equal(await product.deletePattern("token:*"), 0);
  assert.equal(await product.clear(), 1);
  assert.equal(await auth.tokens.get("1"), "t");
  assert.equal(await order.statuses.get("1"), "paid");
  assert.equal(await client.cache({ database: 9 }).get("product:1"), "mine");
});

it("databases are apart when prefixes hold colons and glob characters", async (_, { make }) => {
  const prefixes = ["t1", "t[1]", "t*", "t?", "t", "t:1", "t%3A1", "\\t", "db1"];
  const clients = prefixes.map((prefix) => make({ prefix }));
  try {
    for (const [i, client] of clients.entries()) {
      await client.cache({ database: 1 }).set("1:x", i);
      await client.cache({ database: 2 }).set("x", i);
    }
    for (const [i, client] of clients.entries()) {
      assert.deepEqual(await all(client.cache({ database: 1 }).keys()), ["1:x"], prefixes[i]);
      assert.equal(await client.cache({ database: 1 }).get("1:x"), i);
      assert.equal(await client.cache({ database: 1 }).clear(), 1);
      assert.equal(await client.cache({ database: 2 }).get("x"), i);
    }
    for (const client of clients) assert.equal(await client.cache({ database: 2 }).clear(), 1);
  } finally {
    for (const client of clients) await client.close();
  }
});

it("a declaration that is made again is the same service, with its own schemas and verbs", async (client) => {
  const declare = (extra: string) =>
    defineService({
      name: "menu",
      database: 8,
      collections: {
        dishes: collection<{ n: number }>({ key: "dish:{id}", ttl: "1h", tags: (dish) => [`n:${dish.n}`] }),
        lists: collection<number[], number[], true>({ key: "list:{id}", hashed: true, near: { ttl: "1m" } }),
      },
      verbs: () => ({ extra: () => extra }),
    });
  const declarations = ["a", "b", "c"].map(declare);
  const [a, b, c] = declarations.map((each) => client.service(each));
  assert.ok(a && b && c);
  await a.dishes.set(1, { n: 1 });
  for (const each of [b, c, a]) assert.deepEqual(await each.dishes.get(1), { n: 1 });
  assert.equal(await b.invalidateTags("n:1"), true);
  for (const each of [a, b, c]) assert.equal(await each.dishes.has(1), false);
  assert.deepEqual(
    [a, b, c].map((each) => each.stats().hits),
    [3, 3, 3],
  );
  assert.deepEqual([a.extra(), b.extra(), c.extra()], ["a", "b", "c"]);
  for (const [i, each] of [a, b, c].entries()) assert.equal(client.service(declarations[i] as never), each);
  assert.equal(client.service("menu" as never), c);
  let loads = 0;
  const load = async () => ({ n: ++loads });
  const loaded = await Promise.all([a, b, c].map((each) => each.dishes.getOrSet(2, load)));
  assert.deepEqual(loaded, [{ n: 1 }, { n: 1 }, { n: 1 }]);
  assert.equal(await c.clear(), 2);
  assert.equal(await a.dishes.get(2), undefined);
});

it("the table of databases is enforced unless the configuration permits sharing", async (client, { make }) => {
  const loyalty = defineService({
    name: "loyalty",
    database: 8,
    collections: { points: collection({ key: "p:{id}" }) },
  });
  const low = defineService({ name: "low", database: 3, collections: {} });
  const rival = defineService({ name: "rival", database: 8, collections: { points: collection({ key: "p:{id}" }) } });
  await client.service(loyalty).points.set("u", 5);
  assert.equal(client.service(loyalty), client.service(loyalty));
  assert.throws(() => client.service(low), /8-15/);
  assert.throws(() => client.service(rival), /8-15 without the service loyalty/);
  assert.throws(
    () => client.service(defineService({ name: "product", database: 9, collections: {} })),
    /received 9, expected 1$/,
  );
  assert.throws(() => defineService({ name: "far", database: 16, collections: {} }), /0 to 15/);
  const open = make({ allowSharedDatabases: true });
  try {
    await open.service(rival).points.set("u", 1);
    await open.service(loyalty).points.set("u", 2);
    assert.equal(await open.service(rival).points.get("u"), 1);
    assert.equal(await open.service(rival).clear(), 1);
    assert.equal(await open.service(loyalty).points.get("u"), 2);
    await open.service(low).clear();
  } finally {
    await open.close();
  }
});

it("getOrSet reads, loads once for all who miss, and writes", async (client) => {
  const cache = client.cache<string>();
  let loads = 0;
  const load = async () => {
    loads++;
    await new Promise((resolve) => setTimeout(resolve, 1));
    return "loaded";
  };
  const answers = await Promise.all(Array.from({ length: 50 }, () => cache.getOrSet("k", load, { ttl: "1m" })));
  assert.deepEqual(new Set(answers), new Set(["loaded"]));
  assert.equal(loads, 1);
  assert.equal(await cache.getOrSet("k", load), "loaded");
  assert.equal(loads, 1);
  assert.ok(((await cache.ttl("k")) as number) <= 60);
});

it("getOrSet shares one rejection when the loader fails and stores nothing", async (client) => {
  const cache = client.cache<string>();
  for (const thrown of [new Error("source is down"), undefined, 0]) {
    let loads = 0;
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, () =>
        cache.getOrSet("k", async () => {
          loads++;
          throw thrown;
        }),
      ),
    );
    assert.equal(loads, 1);
    for (const outcome of outcomes) assert.equal(outcome.status === "rejected" && outcome.reason, thrown);
  }
  assert.equal(
    await cache
      .getOrSet("k", () => {
        throw new Error("sync");
      })
      .catch((error) => error.message),
    "sync",
  );
  assert.equal(await cache.has("k"), false);
  assert.equal(await cache.getOrSet("k", () => undefined), undefined);
  assert.equal(await cache.has("k"), false);
});

it("getOrSet's late result does not undo a write, a deletion or a clear", async (client) => {
  const cache = client.cache<string>();
  const interruptions: (() => Promise<unknown>)[] = [
    () => cache.delete("k"),
    () => cache.set("k", "newer"),
    () => cache.clear(),
    () => cache.deletePattern("k*"),
  ];
  for (const interrupt of interruptions) {
    await cache.clear();
    let finish = (_: string): void => {};
    const source = new Promise<string>((resolve) => {
      finish = resolve;
    });
    let started = (): void => {};
    const begun = new Promise<void>((resolve) => {
      started = resolve;
    });
    const answer = cache.getOrSet("k", () => {
      started();
      return source;
    });
    await begun;
    await interrupt();
    const standing = await cache.get("k");
    finish("late");
    assert.equal(await answer, "late");
    assert.equal(await cache.get("k"), standing);
  }
});

it("a schema's rejection is an error on write and a miss on read", async (client, { make }) => {
  const events: CacheEvent[] = [];
  client.subscribe((event) => events.push(event));
  const product = client.service("product");
  await assert.rejects(
    product.products.set(1, { id: 1, name: 5, price: "secret-price" } as never),
    (error) =>
      error instanceof CacheSchemaError &&
      /product\.products/.test(error.message) &&
      error.issues.some(({ path }) => path === "name") &&
      !error.message.includes("secret-price"),
  );
  assert.equal(await product.products.has(1), false);
  await product.cache.set("product:1", { id: 1 });
  assert.equal(await product.products.get(1), undefined);
  await product.cache.set("product:2", { id: 2, name: "Pho", extra: { kept: [1] } });
  assert.deepEqual(await product.products.get(2), { id: 2, name: "Pho", extra: { kept: [1] } });
  assert.ok(events.some((event) => event.type === "corrupt" && event.reason === "schema" && event.key === "product:1"));
  assert.equal(product.stats().corrupt, 1);
  const strict = withSchemas(productService, {
    products: v.object({ id: v.number(), spicy: v.optional(v.boolean(), true) }),
  });
  const other = make();
  try {
    assert.deepEqual(await other.service(strict).products.get(2), { id: 2, spicy: true });
    assert.throws(() => withSchemas(productService, { dishes: v.string() } as never), /products, searches, categories/);
  } finally {
    await other.close();
  }
});

it("an object id finds the same entry whatever the order of its keys", async (client) => {
  const { searches } = client.service("product");
  await searches.set({ q: "pho", page: 2, filter: { spicy: true, tags: ["a", "b"] } }, ["r"]);
  assert.deepEqual(
    await searches.get({ filter: { tags: ["a", "b"], spicy: true }, page: 2, q: "pho", none: undefined }),
    ["r"],
  );
  for (const other of [{ q: "pho", page: "2" }, { q: "pho", page: 2 }, "pho", '{"page":2,"q":"pho"}', { q: "pho" }]) {
    assert.equal(await searches.get(other), undefined);
  }
  assert.equal(await searches.delete([{ page: 2, q: "pho", filter: { spicy: true, tags: ["a", "b"] } }]), 1);
});

it("invalidateProduct makes misses of the product, its category and the searches, no more", async (client) => {
  const { products, searches, categories, invalidateProduct, invalidateCategory } = client.service("product");
  const fill = async () => {
    await products.set(1, { id: 1, name: "Pho", categoryId: "soup" });
    await products.set(2, { id: 2, name: "Roll" });
    await categories.set("soup", { id: "soup", name: "Soups" });
    await categories.set("side", { id: "side", name: "Sides" });
    await searches.set({ q: "pho" }, [1]);
    await searches.set({ q: "roll" }, [2]);
  };
  const left = async () => ({
    products: [...(await products.getMany([1, 2])).keys()],
    categories: [...(await categories.getMany(["side", "soup"])).keys()],
    searches: [...(await searches.getMany([{ q: "pho" }, { q: "roll" }])).keys()],
  });
  const everything = { products: [1, 2], categories: ["side", "soup"], searches: [{ q: "pho" }, { q: "roll" }] };
  const cases = [
    { call: () => invalidateProduct(1), products: [2], categories: ["side"] },
    { call: () => invalidateProduct(1, { categoryId: "side" }), products: [2], categories: ["soup"] },
    { call: () => invalidateProduct(2), products: [1], categories: [] },
    { call: () => invalidateCategory("soup"), products: [1, 2], categories: ["side"] },
  ];
  for (const { call, ...kept } of cases) {
    await fill();
    assert.deepEqual(await left(), everything);
    assert.equal(await call(), true);
    assert.deepEqual(await left(), { ...kept, searches: [] });
    // A miss is not a key.
    assert.deepEqual(await all(products.keys()), kept.products.map(String));
    assert.deepEqual(await all(categories.keys()), kept.categories);
    assert.deepEqual(await all(searches.keys()), []);
    assert.equal(await searches.has({ q: "pho" }), false);
    assert.equal(await searches.ttl({ q: "pho" }), undefined);
  }
});

it("invalidateUser and invalidateOrder delete their kin, no more", async (client) => {
  const { profiles, preferences, addresses, invalidateUser } = client.service("user");
  await profiles.set(1, { id: 1 });
  await preferences.set(1, { theme: "dark" });
  await addresses.set(1, [{ street: "Hang Gai" }]);
  await profiles.set(2, { id: 2 });
  assert.equal(await invalidateUser(1), true);
  assert.deepEqual(await Promise.all([profiles.has(1), preferences.has(1), addresses.has(1)]), [false, false, false]);
  assert.equal(await profiles.has(2), true);
  const { orders, statuses, histories, invalidateOrder } = client.service("order");
  await orders.set("o1", { id: "o1", userId: "u1" });
  await statuses.set("o1", "paid");
  await histories.set("u1", [{ id: "o1" }]);
  await histories.set("u2", [{ id: "o2" }]);
  assert.equal(await invalidateOrder("o1"), true);
  assert.deepEqual(await all(histories.keys()), ["u2"]);
  assert.deepEqual([await orders.has("o1"), await statuses.has("o1")], [false, false]);
  // The owner of the order is unknown.
  await statuses.set("o2", "paid");
  assert.equal(await invalidateOrder("o2"), true);
  assert.equal(await histories.get("u2"), undefined);
});

it("a session is found by its token, slides when read, and never shows the token", async (client) => {
  const { sessions, cache } = client.service("auth");
  await sessions.set("secret-token", { userId: 7 }, { ttl: "1m" });
  assert.deepEqual(await sessions.get("secret-token"), { userId: 7 });
  assert.ok(((await sessions.ttl("secret-token")) as number) > 1700);
  assert.equal(await sessions.get("secret-tokem"), undefined);
  for (const key of await all(cache.keys())) assert.match(key, /^session:[0-9a-f]{40}$/);
});

it("revokeUser makes misses of every session of the user and of no other's", async (client) => {
  const { sessions, permissions, revokeUser } = client.service("auth");
  for (let i = 0; i < 30; i++) await sessions.set(`token-${i}`, { userId: i % 3 === 0 ? "mallory" : `user-${i}` });
  await permissions.set("mallory", ["admin"]);
  await permissions.set("user-1", ["user"]);
  const tokens = Array.from({ length: 30 }, (_, i) => `token-${i}`);
  assert.equal((await sessions.getMany(tokens)).size, 30);
  assert.equal(await revokeUser("mallory"), true);
  assert.deepEqual(
    [...(await sessions.getMany(tokens)).keys()],
    tokens.filter((_, i) => i % 3 !== 0),
  );
  assert.deepEqual([await permissions.has("mallory"), await permissions.has("user-1")], [false, true]);
  assert.equal((await all(sessions.keys())).length, 20);
  assert.equal(await revokeUser("mallory"), true);
  // A user may sign in again.
  await sessions.set("token-0", { userId: "mallory" });
  assert.deepEqual(await sessions.get("token-0"), { userId: "mallory" });
});

it("every verb but get knows of a rate limit, whatever the store keeps it in", async (client) => {
  const { checkRateLimit, incrementRateLimit, rateLimits, cache, keys, clear } = client.service("auth");
  const limit = { limit: 5, window: "1m" } as const;
  for (const algorithm of ["fixed", "sliding", "token-bucket"] as const) {
    await checkRateLimit(algorithm, { ...limit, algorithm });
  }
  await incrementRateLimit("count");
  const ids = await all(rateLimits.keys());
  assert.equal(ids.length, 4, ids.join());
  assert.equal((await all(keys())).length, 4);
  for (const key of await all(cache.keys("rate_limit:*"))) {
    assert.equal(await cache.has(key), true, key);
    const left = (await cache.ttl(key)) as number;
    assert.ok(left > 5 && left <= 120, `${key} ${left}`);
    assert.equal(await cache.expire(key, "1h"), true, key);
    assert.ok(((await cache.ttl(key)) as number) > 3500, key);
  }
  assert.equal(await clear(), 4);
  assert.deepEqual(await all(keys()), []);
});

it("increment is exact up to 2^53 - 1 either way, and refuses to count beyond", async (client) => {
  const cache = client.cache<unknown>();
  const most = Number.MAX_SAFE_INTEGER;
  const amounts = Array.from({ length: 32 }, (_, i) => [most - i, i - most]).flat();
  assert.deepEqual(await Promise.all(amounts.map((by, i) => cache.increment(`n${i}`, { by }))), amounts);
  const [positive, negative] = [`n${amounts.indexOf(most)}`, `n${amounts.indexOf(-most)}`];
  const beyond = {
    name: "RangeError",
    message:
      /^Cannot increment a counter: received -?\d+, expected a count from -9007199254740991 to 9007199254740991$/,
  };
  for (const by of [1, 2, most]) {
    await assert.rejects(cache.increment(positive, { by }), beyond);
    await assert.rejects(cache.increment(negative, { by: -by }), beyond);
  }
  assert.deepEqual([await cache.get(positive), await cache.get(negative)], [most, -most]);
  assert.equal(await cache.increment(positive, { by: -most }), 0);
  for (const by of [most + 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, "1", 1n]) {
    await assert.rejects(cache.increment("n", { by: by as number }), /expected a safe integer/);
  }

  // What others counted beyond comes back into reach, and is not touched before.
  const { driver, database, prefix, tags } = await client.locate({});
  const space = tags.length > 1 ? (shards(tags.length)(database, prefix) as Keyspace) : new Shard(database, prefix);
  const raw = async (...[name, key, ...args]: [string, string, ...string[]]) =>
    (await driver.send(database, [[name, space.key(key), ...args]]))[0];
  for (const [text, by] of [
    ["9007199254740993", 1],
    ["9007199254740993", -1],
    ["-9007199254741000", 5],
    ["9223372036854775807", 1],
    ["-9223372036854775808", -1],
    ["99999999999999999999", -1],
  ] as const) {
    await raw("SET", "foreign", text, "PX", "600000");
    await assert.rejects(cache.increment("foreign", { by, ttl: "1d" }), beyond, text);
    assert.equal(await raw("GET", "foreign"), text);
    assert.ok(((await raw("PTTL", "foreign")) as number) <= 600_000);
  }
  await raw("SET", "foreign", "9007199254740993");
  assert.equal(await cache.increment("foreign", { by: -2 }), most);
  await cache.set("foreign", 1e20);
  await assert.rejects(cache.increment("foreign"), beyond);
  assert.equal(await cache.get("foreign"), 1e20);
  assert.equal(client.stats().errors, 0);
});

it("incrementRateLimit counts in one window whose end it knows", async (client) => {
  const { incrementRateLimit } = client.service("auth");
  const first = await incrementRateLimit("api:203.0.113.7", { window: "10m" });
  assert.equal(first.count, 1);
  assert.equal(first.available, true);
  const away = first.resetAt.getTime() - Date.now();
  assert.ok(away > 590_000 && away < 610_000, String(away));
  const more = await Promise.all(
    Array.from({ length: 9 }, () => incrementRateLimit("api:203.0.113.7", { window: "600s" })),
  );
  assert.deepEqual(
    more.map(({ count }) => count).sort((a, b) => a - b),
    [2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  for (const { resetAt } of more) assert.ok(Math.abs(resetAt.getTime() - first.resetAt.getTime()) < 1000);
  // Another window is another count, which does not end with the first one.
  const hour = await incrementRateLimit("api:203.0.113.7", { window: "1h" });
  assert.equal(hour.count, 1);
  assert.ok(hour.resetAt.getTime() > first.resetAt.getTime() + 2_900_000);
  assert.equal((await incrementRateLimit("api:203.0.113.8")).count, 1);
  await assert.rejects(incrementRateLimit(""), /expected/);
  await assert.rejects(incrementRateLimit("k", { by: 0 }), /expected/);
});

for (const algorithm of ["fixed", "sliding", "token-bucket"] as const) {
  it(`checkRateLimit allows the limit and refuses the next when it counts by ${algorithm}`, async (client) => {
    const { checkRateLimit } = client.service("auth");
    const options = { limit: 5, window: "1h", algorithm } as const;
    const replies = await Promise.all(Array.from({ length: 7 }, () => checkRateLimit("login:u", options)));
    assert.equal(replies.filter(({ allowed }) => allowed).length, 5);
    assert.deepEqual(
      replies.map(({ remaining }) => remaining),
      [4, 3, 2, 1, 0, 0, 0],
    );
    const refused = replies[6];
    assert.ok(refused && !refused.allowed && refused.limit === 5 && refused.available);
    assert.ok(refused.retryAfter > 0 && refused.retryAfter <= 7200, String(refused.retryAfter));
    assert.ok(refused.resetAt.getTime() > Date.now() + 60_000);
    assert.equal((await checkRateLimit("login:other", { ...options, cost: 5 })).remaining, 0);
    const never = await checkRateLimit("login:third", { ...options, cost: 6 });
    assert.deepEqual([never.allowed, never.retryAfter, never.remaining], [false, Number.POSITIVE_INFINITY, 5]);
  });
}

it("resetRateLimit forgets what was counted for a key, and counts are apart from limits", async (client) => {
  const { incrementRateLimit, checkRateLimit, resetRateLimit } = client.service("auth");
  const use = async () => {
    const replies = [(await incrementRateLimit("k", { by: 2 })).count <= 2];
    for (const algorithm of ["fixed", "sliding", "token-bucket"] as const) {
      replies.push((await checkRateLimit("k", { limit: 1, window: "1h", algorithm })).allowed);
    }
    return replies;
  };
  assert.deepEqual(await use(), [true, true, true, true]);
  assert.deepEqual(await use(), [false, false, false, false]);
  assert.equal(await resetRateLimit("k"), true);
  assert.equal(await resetRateLimit("k"), false);
  assert.deepEqual(await use(), [true, true, true, true]);
});

it("checkRateLimit names what is expected when an option is bad", async (client) => {
  const { checkRateLimit } = client.service("auth");
  await assert.rejects(
    checkRateLimit("k", undefined as never),
    /rate limit: received a value of type undefined, expected/,
  );
  const good = { limit: 5, window: "1m" } as const;
  const bad = [
    { limit: 0 },
    { limit: 1.5 },
    { window: "forever" },
    { window: "31d" },
    { cost: -1 },
    { algorithm: "leaky" },
  ];
  for (const part of [...bad, { onUnavailable: "shrug" }]) {
    await assert.rejects(checkRateLimit("k", { ...good, ...part } as never), /expected/, JSON.stringify(part));
  }
});

it("updateCart keeps every change when many write at the same time", async (client) => {
  const { carts, updateCart } = client.service("order");
  const add = (productId: number) =>
    updateCart("u1", (cart) => ({ items: [...(cart?.items ?? []), { productId, quantity: 1 }] }), { attempts: 100 });
  await Promise.all(Array.from({ length: 8 }, (_, i) => add(i)));
  const cart = await carts.get("u1");
  assert.deepEqual(
    cart?.items.map(({ productId }) => Number(productId)).sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7],
  );
  assert.deepEqual(await updateCart("u1", () => undefined), cart);
  await assert.rejects(
    updateCart("u1", () => ({ items: [{ productId: 1, quantity: 0 }] })),
    CacheSchemaError,
  );
  let rival = 0;
  await assert.rejects(
    updateCart(
      "u1",
      async (current) => {
        await carts.set("u1", { items: [], rival: rival++ });
        return current;
      },
      { attempts: 3 },
    ),
    CacheConflictError,
  );
  assert.equal(rival, 3);
});

it("payment refuses a value that carries a card number and names its place only", async (client) => {
  const { methods, transactions, cache } = client.service("payment");
  const pan = "4111 1111 1111 1111";
  await assert.rejects(
    methods.set("u1", [{ token: "pm_1", card: { number: pan } }]),
    (error) =>
      error instanceof CardNumberError && error.message.includes("card.number") && !error.message.includes("4111"),
  );
  await assert.rejects(transactions.set("t1", { id: "t1", note: `card ${pan} declined` }), CardNumberError);
  await assert.rejects(
    transactions.getOrSet("t1", () => ({ id: "t1", pan: 4111111111111111 })),
    CardNumberError,
  );
  await assert.rejects(cache.set("raw", { pan }), CardNumberError);
  await methods.set("u1", [{ token: "pm_1", last4: "1111", at: 1700000000000 }]);
  assert.deepEqual(await all(cache.keys()), ["payment_methods:u1"]);
});

it("stats count hits, misses, writes and latency by collection, service and client", async (client) => {
  const { products, categories, stats } = client.service("product");
  await products.set(1, { id: 1, name: "Pho" });
  await products.get(1);
  await products.getMany([1, 2, 3]);
  await categories.get(9);
  const own = products.stats();
  assert.deepEqual([own.hits, own.misses, own.writes, own.hitRate, own.errors], [2, 2, 1, 0.5, 0]);
  assert.deepEqual([stats().hits, stats().misses], [2, 3]);
  const whole = client.stats();
  assert.deepEqual([whole.hits, whole.services.product?.misses], [2, 3]);
  const { count, p50, p95, p99 } = own.latency;
  assert.ok(count >= 5 && p50 > 0 && p50 <= p95 && p95 <= p99, JSON.stringify(own.latency));
});

it("events tell of hits, misses, loads and corrupt entries in their order", async (client) => {
  const events: string[] = [];
  const stop = client.subscribe((event) => events.push(event.type));
  client.subscribe(() => {
    throw new Error("a listener's own failure");
  });
  const { products, cache } = client.service("product");
  await products.getOrSet(1, () => ({ id: 1, name: "Pho" }));
  await products.get(1);
  await cache.set("product:2", 5);
  await products.get(2);
  assert.deepEqual(events, ["miss", "load-start", "load-end", "hit", "corrupt", "miss"]);
  stop();
  await products.get(1);
  assert.equal(events.length, 6);
});

it("a command's own error is a miss with an event, or thrown when the caller wants that", async (client) => {
  const events: CacheEvent[] = [];
  client.subscribe((event) => events.push(event));
  const cache = client.cache<unknown>();
  await cache.set("text", "abc");
  assert.equal(await cache.increment("text"), 0);
  await assert.rejects(cache.increment("text", { onError: "throw" }), { name: "StoreError", kind: "command" });
  assert.equal(events.filter((event) => event.type === "error" && event.operation === "increment").length, 2);
  assert.equal(client.stats().errors, 2);
  assert.equal(await cache.get("text"), "abc");
});

it("connect, ping and health tell that the store answers, close that it is gone", async (client, { make }) => {
  for (const timeout of [0, -1, Number.NaN]) {
    await assert.rejects(client.connect({ timeout }), /expected/);
    await assert.rejects(client.health({ timeout }), /expected/);
  }
  await client.connect();
  assert.equal(await client.ping(), true);
  const health = await client.health();
  assert.ok(health.ok && (health.latency ?? -1) >= 0 && health.driver === client.driver);
  assert.equal(health.databases, client.databases);
  const other = make();
  await other.cache().set("k", 1);
  void other.cache().set("late", 2);
  await other.close();
  await other.close();
  assert.equal(await other.cache().get("k"), undefined);
  assert.equal(await other.cache().set("k", 2), false);
  assert.equal(await other.cache().delete("k"), 0);
  assert.equal(await other.ping(), false);
  await assert.rejects(other.cache().get("k", { onError: "throw" }), { name: "StoreError", kind: "closed" });
  if (client.driver !== "memory") assert.equal(await client.cache().get("late"), 2);
});

it("a long value and many values come back whole", async (client) => {
  const cache = client.cache<string>();
  const long = "phở ".repeat(60_000);
  await cache.set("long", long);
  assert.equal(await cache.get("long"), long);
  const entries = Array.from({ length: 2500 }, (_, i) => [`k${i}`, `${i}`] as const);
  assert.equal(await cache.setMany(entries, { timeout: 10_000 }), 2500);
  assert.equal(
    (
      await cache.getMany(
        entries.map(([key]) => key),
        { timeout: 10_000 },
      )
    ).size,
    2500,
  );
  assert.equal((await all(cache.keys("k*", { timeout: 10_000 }))).length, 2500);
  assert.equal(await cache.deletePattern("k*", { timeout: 10_000 }), 2500);
  assert.deepEqual(await all(cache.keys()), ["long"]);
});
