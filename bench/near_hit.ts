// What does a near hit cost, against the memory caches of others?
import assert from "node:assert/strict";
import { BentoCache, bentostore } from "bentocache";
import { memoryDriver } from "bentocache/drivers/memory";
import { Cacheable } from "cacheable";
import { LRUCache } from "lru-cache";
import { createCacheClient } from "../mod.ts";
import { product } from "../test/fixtures/product.ts";
import { compare, ratioHeading, version } from "./helpers/compare.ts";

const IDS = 500;
const bento = version("bentocache");
const cacheable = version("cacheable");
const lru = version("lru-cache");
ratioHeading(
  `getOrSet of a 1.5 KB product from the near cache, against the memory of ${bento}, ${cacheable} and ${lru}`,
);

const products = Array.from({ length: IDS }, (_, i) => product(i + 1));
// Made ahead: the time of the peers is not that of their keys.
const keys = products.map(({ id }) => `product:${id}`);
const load = () => assert.fail("a hit was loaded");

await using client = createCacheClient({ env: {}, driver: "memory", near: { ttl: "1h" } });
const { products: near } = client.service("product");
await near.setMany(products.map((one) => [one.id as number, one]));
// Listens from the first read on, keeps what the second one brings.
for (let round = 0; round < 2; round++) for (const { id } of products) await near.getOrSet(id as number, load);
const { roundTrips } = client.stats().wire;
const ours = async (times: number) => {
  for (let time = 0; time < times; time++) await near.getOrSet((time % IDS) + 1, load);
};

const store = (serialize: boolean) => bentostore().useL1Layer(memoryDriver({ maxItems: 10_000, serialize }));
const bentos = new BentoCache({ default: "text", stores: { text: store(true), values: store(false) } });
const cached = new Cacheable({ ttl: "1h" });
const bare = new LRUCache<number, object>({ max: 10_000 });
for (const [i, value] of products.entries()) {
  const key = keys[i] as string;
  for (const name of ["text", "values"] as const) await bentos.use(name).set({ key, value, ttl: "1h" });
  await cached.set(key, value);
  bare.set(i + 1, value);
}
const bentoWork = (name: "text" | "values") => async (times: number) => {
  const cache = bentos.use(name);
  for (let time = 0; time < times; time++) await cache.getOrSet({ key: keys[time % IDS] as string, factory: load });
};
const unit = "hit";
await compare({ title: "against bentocache", unit, ours, theirs: bentoWork("text"), peer: bento, bar: 10 });
await compare({
  title: "against bentocache with serialize: false, whose readers share one object and may change it",
  unit,
  ours,
  theirs: bentoWork("values"),
  peer: `${bento}, serialize: false`,
});
await compare({
  title: "against cacheable",
  unit,
  ours,
  theirs: async (times) => {
    for (let time = 0; time < times; time++) await cached.getOrSet(keys[time % IDS] as string, load);
  },
  peer: cacheable,
  bar: 10,
});
await compare({
  title: "against an awaited get of a bare lru-cache",
  unit,
  ours,
  theirs: async (times) => {
    for (let time = 0; time < times; time++) await bare.get((time % IDS) + 1);
  },
  peer: lru,
  bar: 0.5,
});
assert.equal(client.stats().wire.roundTrips, roundTrips, "a near hit asked the store");
await bentos.disconnectAll();
await cached.disconnect();
