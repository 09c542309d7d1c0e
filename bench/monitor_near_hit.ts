// What does a monitor cost a near hit?
import assert from "node:assert/strict";
import { createCacheClient } from "../mod.ts";
import { monitor, prometheus } from "../src/monitor/mod.ts";
import { product } from "../test/fixtures/product.ts";
import { compare, ratioHeading } from "./helpers/compare.ts";

const IDS = 500;
ratioHeading(
  "get of a 1.5 KB product from the near cache, with a monitor that samples ten times a second and without one",
);

const load = () => assert.fail("a hit was loaded");
const products = Array.from({ length: IDS }, (_, i) => product(i + 1));

/** A client whose near cache holds all, and what reads it. */
async function reader() {
  const client = createCacheClient({ env: {}, driver: "memory", near: { ttl: "1h" } });
  const { products: near } = client.service("product");
  await near.setMany(products.map((one) => [one.id as number, one]));
  // Listens from the first read on, keeps what the second one brings.
  for (let round = 0; round < 2; round++) for (const { id } of products) await near.getOrSet(id as number, load);
  const work = async (times: number) => {
    for (let time = 0; time < times; time++) await near.get((time % IDS) + 1);
  };
  return { client, work };
}

const plain = await reader();
const watched = await reader();
const watch = monitor(watched.client, { interval: "100ms" });
await compare({
  title: "with the monitor attached",
  unit: "hit",
  ours: watched.work,
  theirs: plain.work,
  peer: "without it",
  bar: 0.8,
});
const { instance } = watch.snapshot();
assert.ok(instance.all.nearHits > 10_000 && (instance.all.windows["1m"]?.nearHits ?? 0) > 10_000);
assert.match(prometheus(watch), /larder_near_hits_total\{service="product",collection="products"\} \d{5}/);
await watch.close();
await plain.client.close();
await watched.client.close();
