import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CacheClient, createCacheClient } from "../mod.ts";
import { eventually } from "./helpers/eventually.ts";
import { askOracle } from "./helpers/oracle.ts";
import { type RedisCluster, startCluster } from "./helpers/redis_cluster.ts";
import { type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";

const READS = 6000;

describe("invalidation, told by an oracle on one server", () => {
  let redis: RedisServer;
  let clients: CacheClient[] = [];
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  for (const shards of [undefined, 4]) {
    const layout = shards ? `in ${shards} shards` : "in one shard";
    it(`holds ${layout} while the store forgets everything again and again`, async () => {
      clients = Array.from({ length: 3 }, () =>
        createCacheClient({ env: {}, url: redis.url, timeout: 5000, ...(shards && { cluster: { shards } }) }),
      );
      const raw = await rawClient(redis.port);
      let ended = false;
      const flushes = (async () => {
        while (!ended) {
          await sleep(100 + Math.random() * 400);
          await raw.command("FLUSHALL");
        }
      })();
      const seen = await askOracle({ clients, until: ({ reads }) => reads >= READS });
      ended = true;
      await flushes;
      raw.close();
      await Promise.all(clients.map((client) => client.close()));
      assert.deepEqual(seen.violations, []);
      assert.ok(seen.hits > READS / 60 && seen.invalidations > 50, JSON.stringify(seen));
    });
  }
});

describe("invalidation, told by an oracle over a cluster", { timeout: 240_000 }, () => {
  let servers: RedisCluster;
  const clients: CacheClient[] = [];
  before(async () => {
    servers = await startCluster({ replicas: 1, nodeTimeout: 2000 });
  });
  after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await servers?.stop();
  });

  let shard = Math.floor(Math.random() * 64);
  /** Returns the slot of a shard, another one each time: a server may lose keys of one that moves there and back. */
  const anySlot = (): number => {
    shard = (shard + 25) % 64;
    return 128 + 256 * shard;
  };

  async function move(): Promise<void> {
    const slot = anySlot();
    const source = await servers.ownerOf(slot);
    const target = (await servers.masters()).find((node) => node !== source);
    if (target) await servers.move(slot, target);
  }

  it("holds while slots move, a master is killed, and another one freezes and wakes", async () => {
    // Less than a frozen master has until it is replaced: what it answers when it wakes comes too late.
    const options = { env: {}, cluster: { nodes: servers.addresses }, timeout: 1000, logger: false } as const;
    clients.push(...Array.from({ length: 3 }, () => createCacheClient(options)));
    let over = false;
    let [reads, acknowledged] = [0, 0];
    /** Waits until all goes on as before. */
    const more = () => {
      const [from, heard] = [reads, acknowledged];
      return eventually(() => reads > from + 500 && acknowledged > heard + 20, 60_000);
    };
    const events = (async () => {
      await more();
      for (let i = 0; i < 10; i++) await move();
      await more();
      const killed = await servers.ownerOf(anySlot());
      const [slot] = await servers.slotsOf(killed);
      await killed.kill();
      await servers.promoted(killed, slot as number, 60_000);
      await more();
      await killed.restart();
      await servers.settled(60_000);
      const frozen = await servers.ownerOf(anySlot());
      const [another] = await servers.slotsOf(frozen);
      frozen.pause();
      await servers.promoted(frozen, another as number, 60_000);
      await more();
      frozen.resume();
      await eventually(async () => /role:slave/.test(String(await frozen.say("INFO", "replication"))), 60_000);
      await servers.settled(60_000);
      for (let i = 0; i < 5; i++) await move();
      await more();
    })().finally(() => {
      over = true;
    });
    const seen = await askOracle({
      clients,
      until(report) {
        reads = report.reads;
        acknowledged = report.invalidations - report.unacknowledged;
        return over;
      },
    });
    await events;
    assert.deepEqual(seen.violations, []);
    assert.ok(seen.hits > seen.reads / 100 && acknowledged > 100, JSON.stringify(seen));
  });
});
