import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CacheClient, createCacheClient } from "../mod.ts";
import { askOracle } from "./helpers/oracle.ts";
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
