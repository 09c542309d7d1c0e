// How do 500 concurrent getOrSet hits over TCP compare with bentocache's, Redis its only layer?
import assert from "node:assert/strict";
import { BentoCache, bentostore } from "bentocache";
import { redisDriver } from "bentocache/drivers/redis";
import { createCacheClient } from "../mod.ts";
import { product } from "../test/fixtures/product.ts";
import { startRedis } from "../test/helpers/redis_server.ts";
import { compare, ratioHeading, version } from "./helpers/compare.ts";

const CALLERS = 500;
const peer = version("bentocache");
ratioHeading(
  `${CALLERS} concurrent getOrSet hits of a 1.5 KB product over TCP, schema included, ` +
    `against ${peer} on ${version("ioredis")}`,
);
const redis = await startRedis();
await using client = createCacheClient({ env: {}, url: redis.url, timeout: 5000 });
const { products } = client.service("product");
const connection = { host: "127.0.0.1", port: redis.port };
const bento = new BentoCache({
  default: "redis",
  stores: { redis: bentostore().useL2Layer(redisDriver({ connection })) },
});
const ids = Array.from({ length: CALLERS }, (_, i) => i + 1);
for (const id of ids) {
  await products.set(id, product(id), { ttl: "1h" });
  await bento.set({ key: `bento:${id}`, value: product(id), ttl: "1h" });
}
const load = () => assert.fail("a hit was loaded");
const ours = (id: number): Promise<unknown> => products.getOrSet(id, load);
const theirs = (id: number): Promise<unknown> => bento.getOrSet({ key: `bento:${id}`, factory: load });
assert.deepEqual(await ours(7), product(7));
assert.deepEqual(await theirs(7), product(7));
const all = (call: (id: number) => Promise<unknown>) => async (times: number) => {
  for (let time = 0; time < times; time++) await Promise.all(ids.map(call));
};
await compare({
  title: "every caller an id of its own",
  unit: "hit",
  units: CALLERS,
  ours: all(ours),
  theirs: all(theirs),
  peer,
  bar: 2,
});
await bento.disconnectAll();
await client.close();
await redis.stop();
