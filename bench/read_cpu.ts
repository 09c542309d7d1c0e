// How much processor time does a read cost the server, next to a plain GET?
import assert from "node:assert/strict";
import { createClient } from "redis";
import { collection, createCacheClient, defineService } from "../mod.ts";
import type { Product } from "../src/services/product.ts";
import { product } from "../test/fixtures/product.ts";
import { rawClient, startRedis } from "../test/helpers/redis_server.ts";
import { heading, version } from "./helpers/compare.ts";
import { compareServerCpu } from "./helpers/server_cpu.ts";

const CALLERS = 500;
const peer = version("redis");
heading(
  `Server CPU of ${CALLERS} concurrent reads of a 1.1 KB product, each of an id of its own, against ${peer} GET`,
  "A ratio is the server's time for our read over its time for the peer's: below 1 ours is cheaper. Read the median.",
);
const redis = await startRedis();
const server = await rawClient(redis.port);
const client = createCacheClient({ env: {}, url: redis.url, timeout: 5000 });
const tags = ({ categoryId }: Product): string[] => ["menu", `category:${categoryId}`];
const { plain, tagged, sliding } = client.service(
  defineService({
    name: "menu",
    collections: {
      plain: collection<Product>({ key: "plain:{id}", ttl: "1h" }),
      tagged: collection<Product>({ key: "tagged:{id}", ttl: "1h", tags }),
      sliding: collection<Product>({ key: "sliding:{id}", ttl: "1h", tags, sliding: true }),
    },
  }),
);
const peerClient = createClient({ url: redis.url });
await peerClient.connect();
const ids = Array.from({ length: CALLERS }, (_, i) => i + 1);
const entries = ids.map((id) => [id, product(id)] as const);
for (const cache of [plain, tagged, sliding]) assert.equal(await cache.setMany(entries), CALLERS);
await Promise.all(entries.map(([id, value]) => peerClient.set(`peer:${id}`, JSON.stringify(value), { EX: 3600 })));
// From now on every entry is older than the last invalidation, as is usual.
assert.ok(await plain.invalidateTags("another"));

const all = (read: (id: number) => Promise<unknown>) => async (times: number) => {
  for (let time = 0; time < times; time++) await Promise.all(ids.map(read));
};
const theirs = all((id) => peerClient.get(`peer:${id}`));
for (const { title, bar, enough, read } of [
  { title: "get", read: (id: number) => plain.get(id) },
  { title: "get, two tags", bar: 3.5, enough: 4, read: (id: number) => tagged.get(id) },
  { title: "get, two tags and sliding", bar: 5, enough: 6, read: (id: number) => sliding.get(id) },
  { title: "has", bar: 1.3, enough: 1.5, read: (id: number) => plain.has(id) },
  { title: "ttl", bar: 1.3, enough: 1.5, read: (id: number) => plain.ttl(id) },
]) {
  assert.ok(await read(7));
  await compareServerCpu(server, {
    title,
    unit: "read",
    units: CALLERS,
    ours: all(read),
    theirs,
    peer: `${peer} GET`,
    bar,
    enough,
    times: 40,
  });
}
await peerClient.disconnect();
await client.close();
server.close();
await redis.stop();
