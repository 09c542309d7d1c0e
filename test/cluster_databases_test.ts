/** Numbered databases on a cluster: Valkey 9 can have them, other servers refuse them. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cluster } from "../drivers/cluster.ts";
import type { Driver } from "../drivers/driver.ts";
import { type CacheClient, createCacheClient } from "../mod.ts";
import { clear, finish, list } from "../src/manager/mod.ts";
import { type RedisCluster, startCluster } from "./helpers/redis_cluster.ts";
import { hasClusterDatabases } from "./helpers/redis_server.ts";

const LIMIT = { timeout: 60_000 };

describe("databases of a cluster", () => {
  const several = hasClusterDatabases();
  let nodes: RedisCluster;
  let driver: Driver;
  const clients: CacheClient[] = [];
  const make = (databases: "auto" | "numbered" | "prefixed"): CacheClient => {
    const client = createCacheClient({ env: {}, driver, databases, timeout: 5000, onError: "throw", logger: false });
    clients.push(client);
    return client;
  };
  before(async () => {
    nodes = await startCluster({ masters: 2, args: several ? ["--cluster-databases", "16"] : [] });
    driver = cluster({ nodes: nodes.addresses });
  });
  after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await driver?.close();
    await nodes?.stop();
  });

  it("are prefixes unless numbers are asked for", LIMIT, async () => {
    assert.deepEqual([make("auto").databases, make("numbered").databases], ["prefixed", "numbered"]);
    const client = make("auto");
    assert.ok(await client.cache({ database: 3 }).set("a", 1));
    assert.equal(await client.cache({ database: 3 }).get("a"), 1);
    assert.equal(await client.cache({ database: 4 }).get("a"), undefined);
  });

  it("are kept apart by number where the servers have them, through moves of slots too", LIMIT, async (context) => {
    if (!several) return context.skip("the server has one database in cluster mode");
    const client = make("numbered");
    const [three, four] = [client.cache({ database: 3 }), client.cache({ database: 4 })];
    const keys = Array.from({ length: 40 }, (_, i) => `k${i}`);
    for (const [n, cache] of [three, four].entries()) {
      await Promise.all(keys.map((key) => cache.set(key, `${n} ${key}`)));
    }
    const all = async (): Promise<void> => {
      for (const [n, cache] of [three, four].entries()) {
        for (const key of keys) assert.equal(await cache.get(key), `${n} ${key}`);
      }
    };
    await all();
    const [first, second] = nodes.nodes as [RedisCluster["nodes"][number], RedisCluster["nodes"][number]];
    const slot = await nodes.slotOf("k0");
    const target = (await nodes.ownerOf(slot)) === first ? second : first;
    await nodes.moveAtomically(slot, slot, target);
    await all();
    const found: string[] = [];
    for await (const { key } of list(client, { database: 3 })) found.push(key);
    assert.deepEqual(found.sort(), [...keys].sort());
    assert.equal((await finish(clear(client, { database: 3 }))).keys, keys.length);
    assert.equal(await three.get("k1"), undefined);
    assert.equal(await four.get("k1"), "1 k1");
  });

  it("are refused with advice where the servers have none", LIMIT, async (context) => {
    if (several) return context.skip("the server has several databases in cluster mode");
    const sentence =
      /Cannot use database 3 of the cluster: ERR (SELECT|DB) [^;]+; set CACHE_DATABASES=prefixed, or give the cluster/;
    const client = make("numbered");
    await assert.rejects(client.cache({ database: 3 }).set("a", 1), sentence);
    await assert.rejects(client.cache({ database: 3 }).get("a"), sentence);
    await assert.rejects(finish(clear(client, { database: 3 })), sentence);
    assert.ok(await client.cache({ database: 0 }).set("a", 1));
  });
});
