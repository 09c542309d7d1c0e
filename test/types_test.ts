/**
 * Code that must compile, and code that must not: the compiler runs these tests (`npm run check`). At run time, only
 * declarations run.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as v from "valibot";
import { memory } from "../drivers/memory.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { upstash } from "../drivers/upstash.ts";
import {
  type Cache,
  type CacheClient,
  type ClientOptions,
  collection,
  createCacheClient,
  defineService,
  getCacheService,
  type Id,
  type Logger,
  type PlainId,
  type Ttl,
  withOptions,
  withSchemas,
} from "../mod.ts";
import type { RateCount, RateLimitResult, RateLimitsResult } from "../src/cache/rate_limits.ts";
import { createCacheClient as createCoreClient } from "../src/core.ts";
import type { Session } from "../src/services/auth.ts";
import { type Cart, order } from "../src/services/order.ts";
import { type Product, product } from "../src/services/product.ts";
import type { CollectionOf } from "../src/services/service.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Compiles when the type is true. */
function yes<_T extends true>(): void {}

interface Points {
  balance: number;
  level?: "silver" | "gold";
}

const loyalty = defineService({
  name: "loyalty",
  database: 8,
  collections: {
    points: collection<Points>({ key: "points:{userId}", ttl: "10m" }),
    visits: collection<Date>({ key: "visits:{userId}" }),
    quests: collection({ key: "quests:{id}", schema: v.object({ id: v.number(), title: v.string() }) }),
    parsed: collection({ key: "parsed:{id}", schema: v.pipe(v.string(), v.transform(Number)) }),
    lookups: collection<string[], string[], true>({ key: "lookup:{hash}", hashed: true }),
    flags: collection<boolean[]>({ key: "flags:{hash}", hashed: true }),
    loose: collection({ key: "loose:{id}" }),
  },
  verbs: ({ points, name }) => ({
    async grant(userId: PlainId, amount: number): Promise<number> {
      const balance = ((await points.get(userId))?.balance ?? 0) + amount;
      await points.set(userId, { balance });
      return balance;
    },
    title: () => name,
  }),
});

const dishes = withSchemas(product, {
  products: v.object({ id: v.number(), name: v.string(), spicy: v.optional(v.boolean(), false) }),
});

const Invoice = v.object({ total: v.number() });
const billing = defineService({
  name: "billing",
  collections: {
    invoices: collection({
      key: "invoice:{tenant}:{id}",
      schema: Invoice,
      tags: ({ total }, { tenant, id }) => [`${tenant}`, `${id}`, total.toFixed()],
    }),
    lines: collection<number>({ key: "line:{tenant}:{invoice}:{line}", tags: (_, { tenant }) => [`${tenant}`] }),
  },
});

/** Never run: the compiler reads it. */
async function severalPlaceholders(client: CacheClient): Promise<void> {
  const { invoices, lines } = client.service(billing);
  await invoices.get({ tenant: "acme", id: 1 });
  await invoices.get(["acme", 1]);
  await invoices.getMany([{ tenant: "acme", id: 1 }, ["acme", 2]]);
  await invoices.set(["acme", 1n], { total: 5 });
  await invoices.delete([["acme", 1], { tenant: "acme", id: 2 }]);
  for await (const { tenant, id } of invoices.keys("acme:*"))
    yes<Equal<[typeof tenant, typeof id], [string, string]>>();
  // @ts-expect-error a part has another name
  await invoices.get({ tenant: "acme", number: 1 });
  // @ts-expect-error a part is missing
  await invoices.get({ tenant: "acme" });
  // @ts-expect-error a tuple has as many parts as the pattern
  await invoices.get(["acme", 1, 2]);
  // @ts-expect-error a part is text or a number
  await invoices.get(["acme", true]);
  // @ts-expect-error an id is not text
  await invoices.get("acme:1");
  // With the type of values given, names are not known to the compiler, and checked when it runs.
  await lines.get({ tenant: "acme", invoice: 1, line: 2 });
  await lines.get(["acme", 1, 2]);
  // @ts-expect-error an id is not text
  await lines.get("acme:1:2");
  // @ts-expect-error a part is text or a number
  await lines.get({ tenant: "acme", invoice: 1, line: true });
}

/** Never run: the compiler reads it. */
async function services(client: CacheClient): Promise<void> {
  const { products, searches, categories, invalidateProduct } = client.service("product");
  const { carts, updateCart } = client.service("order");
  const auth = client.service("auth");

  yes<Equal<Awaited<ReturnType<typeof products.get>>, Product | undefined>>();
  yes<Equal<Awaited<ReturnType<typeof products.set>>, boolean>>();
  yes<Equal<Awaited<ReturnType<typeof products.getMany>>, Map<PlainId, Product>>>();
  yes<Equal<Awaited<ReturnType<typeof carts.get>>, Cart | undefined>>();
  yes<Equal<Awaited<ReturnType<typeof auth.sessions.get>>, Session | undefined>>();
  yes<Equal<Awaited<ReturnType<typeof auth.checkRateLimit>>, RateLimitResult>>();
  yes<Equal<Awaited<ReturnType<typeof invalidateProduct>>, boolean>>();
  yes<typeof products extends Cache<PlainId, Product> ? true : false>();

  await products.get(123);
  await products.get("123");
  await products.get(123n);
  await products.set(1, { id: 1, name: "Pho", price: 9.5, extra: true }, { ttl: "1h", timeout: 50, onError: "throw" });
  await searches.get({ q: "pho", page: 2 });
  await searches.get("pho");
  await categories.getOrSet(1, () => ({ id: 1, name: "Soup" }));
  await updateCart("u", (cart) => ({ items: [...(cart?.items ?? []), { productId: 1, quantity: 2 }] }));
  const loaded = await products.getOrSet(1, async () => ({ id: 1, name: "Pho" }));
  loaded.name.toUpperCase();
  const maybe = await products.getOrSet(1, () => (Math.random() > 2 ? { id: 1, name: "Pho" } : undefined));
  maybe?.name;
  for await (const id of products.keys("1*")) id.toUpperCase();

  // @ts-expect-error an object is not an id of a collection that does not hash
  await products.get({ id: 1 });
  // @ts-expect-error undefined is not an id
  await products.get(undefined);
  // @ts-expect-error null is not an id
  await products.get(null);
  // @ts-expect-error a boolean is not an id
  await products.delete(true);
  // @ts-expect-error an id is missing
  await products.get();
  // @ts-expect-error a product has a name
  await products.set(1, { id: 1 });
  // @ts-expect-error its name is text
  await products.set(1, { id: 1, name: 5 });
  // @ts-expect-error undefined is not a value
  await products.set(1, undefined);
  // @ts-expect-error a cart's line has a quantity
  await carts.set("u", { items: [{ productId: 1 }] });
  // @ts-expect-error a loader gives what the collection holds
  await products.getOrSet(1, () => ({ title: "Pho" }));
  // @ts-expect-error what may be undefined is not the value itself
  maybe.name;
  // @ts-expect-error a miss is undefined
  (await products.get(1)).name;
  // @ts-expect-error a cart's new value is a cart
  await updateCart("u", () => ({ lines: [] }));
  // @ts-expect-error unknown service
  client.service("prodcut");
  // @ts-expect-error unknown collection
  client.service("product").dishes;
  // @ts-expect-error unknown verb
  client.service("user").invalidateProduct;
  // @ts-expect-error unknown service on the shared client
  getCacheService("prodcut");
  // @ts-expect-error a limit is needed
  await auth.checkRateLimit("ip", { window: "1m" });
  // @ts-expect-error unknown algorithm
  await auth.checkRateLimit("ip", { limit: 1, window: "1m", algorithm: "leaky" });
  const limits = [
    { limit: 5, window: "1m" },
    { limit: 100, window: "1d", algorithm: "sliding" },
  ] as const;
  const both = await auth.checkRateLimit("ip", limits, { cost: 2, onUnavailable: "allow" });
  yes<Equal<typeof both, RateLimitsResult>>();
  const one = await client.cache().checkRateLimit("ip", { ...limits[0], cost: 0 });
  yes<Equal<typeof one, RateLimitResult>>();
  const count = await client.service("product").decrementRateLimit("ip", { window: "1m", by: 2 });
  yes<Equal<typeof count, RateCount>>();
  const back = await auth.decrementRateLimit("ip", limits[0]);
  yes<Equal<typeof back, RateLimitResult>>();
  const allBack = await products.decrementRateLimit(5, limits);
  yes<Equal<typeof allBack, RateLimitsResult>>();
  // @ts-expect-error one limit says nothing of others
  one.decidedBy;
  // @ts-expect-error several limits have one cost
  await auth.checkRateLimit("ip", [{ limit: 1, window: "1m", cost: 2 }]);
  // @ts-expect-error a limit has a window
  await auth.checkRateLimit("ip", [{ limit: 1 }]);
  // @ts-expect-error a window is a time, and no name of a TTL
  await auth.checkRateLimit("ip", { limit: 1, window: "short" });
  // @ts-expect-error unknown answer while the store is away
  await auth.checkRateLimit("ip", { limit: 1, window: "1m", onUnavailable: "ignore" });
  // @ts-expect-error an amount is a number
  await auth.incrementRateLimit("ip", { by: "2" });
}

/** Never run. */
async function ownServices(client: CacheClient): Promise<void> {
  const mine = client.service(loyalty);
  yes<Equal<Awaited<ReturnType<typeof mine.points.get>>, Points | undefined>>();
  yes<Equal<Awaited<ReturnType<typeof mine.visits.get>>, Date | undefined>>();
  yes<Equal<Awaited<ReturnType<typeof mine.quests.get>>, { id: number; title: string } | undefined>>();
  yes<Equal<Awaited<ReturnType<typeof mine.parsed.get>>, number | undefined>>();
  yes<Equal<Awaited<ReturnType<typeof mine.loose.get>>, unknown>>();
  yes<Equal<ReturnType<typeof mine.grant>, Promise<number>>>();
  yes<Equal<ReturnType<typeof mine.title>, string>>();
  await mine.points.set("u", { balance: 5, level: "gold" });
  await mine.lookups.get({ any: ["thing"] });
  yes<Equal<typeof mine.flags, Cache<Id, boolean[]>>>();
  await mine.flags.set({ any: ["thing"] }, [true]);
  const parsed = await mine.parsed.getOrSet("a", () => "12");
  yes<Equal<typeof parsed, number>>();
  const perhaps = await mine.parsed.getOrSet("a", () => (Math.random() > 2 ? "12" : undefined));
  yes<Equal<typeof perhaps, number | undefined>>();
  const several = await mine.parsed.getOrSetMany(["a"], () => new Map([["a", "12"]]));
  yes<Equal<ReturnType<typeof several.get>, number | undefined>>();
  const changed = await mine.parsed.update("a", (current) => `${(current ?? 0) + 1}`);
  yes<Equal<typeof changed, number | undefined>>();
  const wider = await mine.points.getOrSet("a", () => ({ balance: 1, level: "gold" as const }));
  yes<Equal<typeof wider, Points>>();
  await mine.parsed.set("a", "12");
  await mine.loose.set("a", { anything: new Map() });
  await mine.clear({ timeout: 50 });

  // @ts-expect-error a flag is a boolean
  await mine.flags.set({ any: ["thing"] }, ["yes"]);
  // @ts-expect-error a balance is a number
  await mine.points.set("u", { balance: "5" });
  // @ts-expect-error unknown level
  await mine.points.set("u", { balance: 5, level: "bronze" });
  // @ts-expect-error what is written is what the schema takes
  await mine.parsed.set("a", 12);
  // @ts-expect-error the schema has no such field
  await mine.quests.set(1, { id: 1, name: "x" });
  // @ts-expect-error an object is not an id here
  await mine.points.get({ user: 1 });
  // @ts-expect-error unknown collection
  mine.badges;
  // @ts-expect-error a verb keeps its parameters
  await mine.grant("u", "5");

  const shop = client.service(dishes);
  yes<Equal<Awaited<ReturnType<typeof shop.products.get>>, { id: number; name: string; spicy: boolean } | undefined>>();
  await shop.products.set(1, { id: 1, name: "Pho" });
  await shop.products.set(1, { id: 1, name: "Pho", spicy: true });
  await shop.categories.set(1, { id: 1, name: "Soup" });
  await shop.invalidateProduct(1);
  // @ts-expect-error the schema that took the product's place wants a number
  await shop.products.set(1, { id: "1", name: "Pho" });
  // @ts-expect-error ids stay what they were
  await shop.products.get({ id: 1 });

  const core = createCoreClient({ driver: memory() });
  await core.service(product).products.set(1, { id: 1, name: "Pho" });
  await core.service(order).invalidateOrder(1, { userId: "u" });
  // @ts-expect-error the smallest build knows no service by name
  core.service("product");
}

type IdsOf<M> = M extends Map<infer I, unknown> ? I : never;

/** Never run. */
async function batchLoads(client: CacheClient, ids: number[], rows: ReadonlyMap<number, Points>): Promise<void> {
  const { points } = client.service(loyalty);
  const many = await points.getOrSetMany(ids, async (missing) => {
    yes<Equal<typeof missing, number[]>>();
    return new Map(missing.map((id) => [id, { balance: id }]));
  });
  yes<Equal<IdsOf<typeof many>, number>>();
  // The ids are literals, the rows' are not.
  const some = await points.getOrSetMany([1, 2], (_: number[]) => rows);
  yes<Equal<ReturnType<typeof some.get>, Points | undefined>>();
  const byName = await points.getOrSetMany(new Set(["a"]), () => new Map([["a", { balance: 1 }]]));
  yes<Equal<IdsOf<typeof byName>, string>>();
  const raw = client.cache();
  const texts = await raw.getOrSetMany(["a"], (missing) => new Map(missing.map((id) => [id, `${id}!`])));
  yes<Equal<ReturnType<typeof texts.get>, string | undefined>>();
  const mixed = await points.getOrSetMany([1, "a"] as PlainId[], async () => new Map<PlainId, Points>());
  yes<Equal<IdsOf<typeof mixed>, PlainId>>();

  // @ts-expect-error ids that the loader does not know
  await points.getOrSetMany(["a"], (missing: number[]) => new Map(missing.map((id) => [id, { balance: 1 }])));
  // @ts-expect-error rows by another type of id
  await points.getOrSetMany(["a", "b"], () => rows);
  // @ts-expect-error values of another type
  await points.getOrSetMany(ids, () => new Map([[1, { balance: "1" }]]));
  // @ts-expect-error a list is not a Map
  await points.getOrSetMany(ids, () => [{ balance: 1 }]);
  // @ts-expect-error an object is not an id here
  await points.getOrSetMany([{ id: 1 }], () => rows);
}

/** Never run. */
async function caches(client: CacheClient): Promise<void> {
  const cache = client.cache<{ n: number }>({ database: 9 });
  yes<Equal<Awaited<ReturnType<typeof cache.get>>, { n: number } | undefined>>();
  yes<Equal<Awaited<ReturnType<typeof cache.ttl>>, number | "forever" | undefined>>();
  await cache.set("k", { n: 1 }, { ttl: "1.5h" });
  await cache.setMany(new Map([["a", { n: 1 }]]), { ttl: 30 });
  await cache.setMany([["a", { n: 1 }]]);
  await cache.delete(["a", 1]);
  await cache.expire("a", "forever");
  const any = client.cache();
  await any.set("k", [1, { deep: new Date() }]);
  yes<Equal<Awaited<ReturnType<typeof any.get>>, unknown>>();

  // @ts-expect-error a value of another type
  await cache.set("k", { n: "1" });
  // @ts-expect-error pairs of another type
  await cache.setMany([["a", 1]]);
  // @ts-expect-error an object is not a key
  await cache.get({ k: 1 });
  // @ts-expect-error a TTL has a known unit
  await cache.set("k", { n: 1 }, { ttl: "5 minutes" });
  // @ts-expect-error a TTL has a unit
  await cache.set("k", { n: 1 }, { ttl: "5" });
  // @ts-expect-error weeks are no unit
  await cache.expire("k", "1w");
  // @ts-expect-error "never" is not a TTL
  await cache.expire("k", "never");
  // @ts-expect-error unknown option
  await cache.set("k", { n: 1 }, { expires: "5m" });
  // @ts-expect-error reads take no TTL
  await cache.get("k", { ttl: "5m" });
  // @ts-expect-error unknown way to fail
  await cache.get("k", { onError: "ignore" });
  await cache.get("k", { timeout: "50ms" });
  // @ts-expect-error text without its unit is not a deadline
  await cache.get("k", { timeout: "50" });
  // @ts-expect-error a database is a number
  client.cache({ database: "9" });
}

interface Post {
  author: string;
  tags?: string[];
}
const post = v.object({ author: v.string(), tags: v.optional(v.array(v.string()), []) });

/** Never run. */
function tags(): void {
  collection<Post>({
    key: "post:{id}",
    tags(value, id) {
      yes<Equal<typeof value, Post>>();
      yes<Equal<typeof id, PlainId>>();
      return [`author:${value.author}`];
    },
  });
  // What is written has what the schema takes: a default is not there yet.
  const posts = collection({
    key: "post:{id}",
    schema: post,
    tags(value) {
      yes<Equal<typeof value, { author: string; tags?: string[] | undefined }>>();
      return value.tags;
    },
  });
  yes<Equal<CollectionOf<typeof posts>, Cache<PlainId, v.InferOutput<typeof post>, v.InferInput<typeof post>>>>();
  collection<Post>({
    key: "post:{hash}",
    hashed: true,
    tags(value, id) {
      yes<Equal<typeof value, Post>>();
      yes<Equal<typeof id, Id>>();
      return [];
    },
  });
  collection<Post | undefined>({ key: "post:{id}", tags: ({ author }) => [author], negativeTtl: "1m" });
  collection<Post>({ key: "post:{id}", tags: ["posts"] });
  // A function may ask for less than there is.
  collection<Post>({ key: "post:{id}", tags: ({ author }: { author?: string }) => (author ? [author] : undefined) });
  collection({ key: "post:{id}", tags: (value) => [String(value)] });
  withOptions(loyalty, { collections: { points: { tags: ({ level }, id) => [`${level}`, `user:${id}`] } } });
  withOptions(product, { tags: ["shop"], collections: { products: { ttl: "5m", tags: ({ name }) => [name] } } });

  // @ts-expect-error the author is misspelt
  collection<Post>({ key: "post:{id}", tags: (value) => [`author:${value.autor}`] });
  // @ts-expect-error the author is misspelt
  collection({ key: "post:{id}", schema: post, tags: (value) => [`author:${value.autor}`] });
  // @ts-expect-error the author is misspelt
  collection<Post>({ key: "post:{hash}", hashed: true, tags: ({ autor }) => [autor] });
  // @ts-expect-error nothing is known of the values of a collection without type and schema
  collection({ key: "post:{id}", tags: (value) => [value.author] });
  // @ts-expect-error a tag is text
  collection<Post>({ key: "post:{id}", tags: (value) => [value.author.length] });
  // @ts-expect-error a list of posts has no author
  collection<Post[]>({ key: "posts:{id}", tags: ({ author }: Post) => [author] });
  // @ts-expect-error the level is misspelt
  withOptions(loyalty, { collections: { points: { tags: ({ lvl }) => [lvl] } } });
}

/** Never run. */
function options(): void {
  const logger: Logger = console;
  const good: ClientOptions[] = [
    {},
    { driver: "memory", clock: () => 0, maxEntries: 10 },
    { driver: "node-redis", host: "h", port: 1, password: "p", tls: true, pool: { size: 2 }, logger },
    { driver: "cluster", cluster: { nodes: ["h:1", { host: "::1" }], shards: 4, mapAddress: (address) => address } },
    { cluster: { nodes: "a,b:1" }, username: "u", tls: true },
    { driver: "sentinel", sentinel: { sentinels: ["s"], name: "m", username: "u", password: "p", tls: true } },
    { driver: "upstash", url: "https://x.upstash.io", token: "t", waitUntil: (promise) => void promise },
    { driver: nodeRedis({ host: "h" }), prefix: "shop", databases: "prefixed", timeout: 50, onError: "throw" },
    { driver: upstash({ url: "https://x.upstash.io", token: "t" }), env: { CACHE_PREFIX: "a", OTHER: 5 }, ttl: "5m" },
  ];
  void good;
  const ttls: Ttl[] = [5, 0.5, "500ms", "30s", "5m", "2h", "1d", "1.5h", "forever"];
  void ttls;

  // @ts-expect-error unknown driver
  createCacheClient({ driver: "redis" });
  // @ts-expect-error unknown option
  createCacheClient({ hostname: "h" });
  // @ts-expect-error a port is a number
  createCacheClient({ port: "6379" });
  // @ts-expect-error unknown mode
  createCacheClient({ databases: "shared" });
  // @ts-expect-error a logger has warn
  createCacheClient({ logger: { info() {} } });
  // @ts-expect-error a pool is an object
  createCacheClient({ pool: 5 });
  // @ts-expect-error unknown option of a cluster
  createCacheClient({ cluster: { node: "h" } });
  // @ts-expect-error a node has a host
  createCacheClient({ cluster: { nodes: [{ port: 1 }] } });
  // @ts-expect-error an address is a host and a port
  createCacheClient({ sentinel: { name: "m", mapAddress: () => "h:1" } });
  // @ts-expect-error a driver sends
  createCacheClient({ driver: { name: "mine" } });
  // @ts-expect-error the smallest build takes a driver, not a name
  createCoreClient({ driver: "memory" });
  // @ts-expect-error the token is missing
  upstash({ url: "https://x.upstash.io" });
  // @ts-expect-error unknown option of a driver
  nodeRedis({ hostname: "h" });
  // @ts-expect-error unknown option of a driver
  memory({ entries: 5 });

  // @ts-expect-error a collection has a key pattern
  collection({ ttl: "5m" });
  // @ts-expect-error a TTL has a known unit
  collection({ key: "a:{id}", ttl: "5min" });
  // @ts-expect-error unknown option
  collection({ key: "a:{id}", expires: "5m" });
  // @ts-expect-error a schema is a Standard Schema
  collection({ key: "a:{id}", schema: { parse: (value: unknown) => value } });
  // @ts-expect-error a service has collections
  defineService({ name: "a" });
  // @ts-expect-error collections are declared
  defineService({ name: "a", database: 8, collections: { b: "b:{id}" } });
  const { points } = loyalty.collections;
  // @ts-expect-error a verb sees only the service's own collections
  defineService({ name: "a", database: 8, collections: { points }, verbs: ({ badges }) => ({ badges }) });
  // @ts-expect-error the service has no such collection
  withSchemas(product, { dishes: v.string() });
}

describe("types", () => {
  it("withSchemas and collection throw if the compiler would have refused", () => {
    assert.throws(() => withSchemas(product, { dishes: v.string() } as never), TypeError);
    assert.throws(() => collection({ ttl: "5m" } as never), TypeError);
    assert.throws(() => collection({ key: "a:{id}", ttl: "5min" as "5m" }), TypeError);
    for (const check of [services, severalPlaceholders, ownServices, batchLoads, caches, tags, options])
      assert.equal(typeof check, "function");
  });

  it("defineService gives verbs their collections when it is used as the types say", async () => {
    await using client = createCacheClient({ env: {}, driver: "memory" });
    const mine = client.service(loyalty);
    assert.equal(await mine.grant("u", 5), 5);
    assert.equal(await mine.grant("u", 5), 10);
    assert.equal(mine.title(), "loyalty");
    await mine.parsed.set("a", "12");
    assert.equal(await mine.parsed.get("a"), 12);
    await mine.lookups.set({ q: 1 }, ["a"]);
    assert.deepEqual(await mine.lookups.get({ q: 1 }), ["a"]);
    const shop = client.service(dishes);
    await shop.products.set(1, { id: 1, name: "Pho" });
    assert.deepEqual(await shop.products.get(1), { id: 1, name: "Pho", spicy: false });
  });
});
