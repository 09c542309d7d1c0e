/** One application over the embedded store, one server, a cluster and Sentinel: the environment alone differs. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { collection, createCacheClient, defineService } from "../mod.ts";
import { type RedisCluster, startCluster } from "./helpers/redis_cluster.ts";
import { type SentinelServers, startSentinels } from "./helpers/redis_sentinel.ts";
import { type RedisServer, startRedis } from "./helpers/redis_server.ts";

type Environment = Readonly<Record<string, string>>;

interface Dish {
  readonly id: number;
  readonly name: string;
}

const menu = defineService({
  name: "menu",
  collections: {
    dishes: collection<Dish>({ key: "dish:{id}", ttl: "1h", tags: ({ name }: Dish) => [`name:${name}`] }),
    counts: collection<number>({ key: "count:{id}", ttl: "1h" }),
  },
});

/** The application. It knows nothing of its store. Returns what it has seen. */
async function shop(env: Environment): Promise<unknown[]> {
  const options = { env, timeout: 10_000, onError: "throw" as const };
  await using client = createCacheClient(options);
  // In the memory of a process, no other client sees anything.
  await using other = client.driver === "memory" ? undefined : createCacheClient(options);
  await client.connect({ timeout: 10_000 });
  const seen: unknown[] = [];
  const { dishes, counts } = client.service(menu);
  const ids = Array.from({ length: 40 }, (_, id) => id);
  const dish = (id: number): Dish => ({ id, name: id % 2 ? "Pho" : "Bun" });
  seen.push(await dishes.setMany(ids.map((id) => [id, dish(id)] as const)), (await dishes.getMany(ids)).size);
  const loads: number[] = [];
  const load = (id: number) => {
    loads.push(id);
    return dish(id);
  };
  const theirs = (other ?? client).service(menu);
  seen.push(await theirs.dishes.getOrSet(7, () => load(7)), loads.length);
  seen.push(await client.service(menu).invalidateTags("name:Pho"));
  seen.push((await theirs.dishes.getMany(ids)).size, await theirs.dishes.getOrSet(7, () => load(7)), loads.length);
  for (const id of [1, 2, 1]) seen.push(await counts.increment(id));
  seen.push(await counts.update(1, (count = 0) => count + 10), await theirs.counts.get(1));
  const locked = await dishes.withLock(1, async () => dishes.delete(2));
  seen.push(locked, await theirs.dishes.has(2));
  const keys: string[] = [];
  for await (const key of dishes.keys()) keys.push(key);
  seen.push(keys.sort());

  const cache = client.cache<string>({ database: 9 });
  seen.push(await cache.set("a:{x}", "1"), await cache.set("a:{y}", "2", { ttl: "1m" }), await cache.set("b", "3"));
  seen.push(
    await cache.deletePattern("a:*"),
    await cache.get("a:{x}"),
    await cache.get("b"),
    await cache.invalidateAll(),
  );
  seen.push(await cache.get("b"));

  const { auth } = { auth: client.service("auth") };
  for (let i = 0; i < 3; i++) seen.push((await auth.checkRateLimit("login:1", { limit: 2, window: "1h" })).allowed);
  seen.push(await client.service("product").products.set(1, { id: 1, name: "Pho" }));
  seen.push(await client.service("product").invalidateProduct(1), await client.service("product").products.get(1));
  seen.push(await client.service(menu).invalidateAll(), (await theirs.dishes.getMany(ids)).size);
  seen.push((await client.health()).ok);
  return seen;
}

describe("an application that is moved by its environment", () => {
  let redis: RedisServer;
  let cluster: RedisCluster;
  let sentinels: SentinelServers;
  let memory: unknown[];
  before(async () => {
    [redis, cluster, sentinels] = await Promise.all([
      startRedis(),
      startCluster(),
      startSentinels({ downAfter: 60_000 }),
    ]);
    memory = await shop({ CACHE_DRIVER: "memory" });
  });
  after(async () => {
    await Promise.all([redis?.stop(), cluster?.stop(), sentinels?.stop()]);
  });

  it("sees the same over one server as in the memory of its process", async () => {
    assert.deepEqual(await shop({ REDIS_URL: redis.url }), memory);
  });

  it("sees the same over one server with the keys of a cluster", async () => {
    assert.deepEqual(await shop({ REDIS_URL: redis.url, CACHE_SHARDS: "16", CACHE_PREFIX: "sharded" }), memory);
  });

  it("sees the same over a cluster", async () => {
    assert.deepEqual(await shop({ REDIS_CLUSTER_NODES: cluster.addresses.join() }), memory);
    await cluster.flush();
    assert.deepEqual(await shop({ CACHE_URL: `redis+cluster://${cluster.addresses[1]}/3`, CACHE_SHARDS: "4" }), memory);
  });

  it("sees the same over Sentinel", async () => {
    const [first, ...others] = sentinels.addresses;
    assert.deepEqual(await shop({ CACHE_URL: `redis+sentinel://${first},${others}/${sentinels.name}/2` }), memory);
    const env = { REDIS_SENTINELS: sentinels.addresses.join(), REDIS_SENTINEL_NAME: sentinels.name };
    assert.deepEqual(await shop({ ...env, CACHE_PREFIX: "other" }), memory);
  });
});
