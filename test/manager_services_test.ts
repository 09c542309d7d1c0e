import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { collection, createCacheClient, defineService } from "../mod.ts";
import { inspect } from "../src/manager/mod.ts";
import { findServices } from "../src/manager/services.ts";
import { type ContractStore, memoryStore, redisStore, upstashStore } from "./helpers/contract_stores.ts";
import { larder } from "./helpers/larder.ts";
import { startRedis } from "./helpers/redis_server.ts";

const LIMIT = { timeout: 60_000 };
const points = collection<number>({ key: "points:{id}" });
const LOYALTY = defineService({ name: "loyalty", database: 8, collections: { points } });
const GAMES = defineService({ name: "games", database: 15, collections: { points } });

for (const [name, start, options] of [
  ["an embedded store", async (): Promise<ContractStore> => memoryStore(), {}],
  ["numbered databases", redisStore, {}],
  ["databases that are prefixes, below a prefix", redisStore, { databases: "prefixed", prefix: "shop" }],
  ["a store over REST", () => upstashStore("redis"), {}],
] as const) {
  describe(`findServices on ${name}`, () => {
    it("findServices registers services that have shared statistics, and no others", LIMIT, async () => {
      const store = await start();
      const given = { env: {}, timeout: 5000, ...(await store.open()), ...options };
      const app = createCacheClient({ ...given, fleetStats: true });
      const tool = createCacheClient(given);
      try {
        await app.service(LOYALTY).points.set("u1", 5);
        await app.service(LOYALTY).points.get("u1");
        await app.service(LOYALTY).points.get("none");
        await app.service(GAMES).points.set("u1", 5);
        await app.cache({ database: 9 }).set("a", 1);
        await app.close();
        await findServices(tool);
        await findServices(tool);
        const { services, fleet } = await inspect(tool);
        const own = services.filter(({ database }) => database > 7);
        assert.deepEqual(
          own.map(({ service, database, keys }) => [service, database, keys]),
          [
            ["loyalty", 8, 1],
            ["games", 15, 1],
          ],
        );
        assert.deepEqual([fleet.loyalty?.hits, fleet.loyalty?.misses, fleet.games?.writes], [1, 1, 1]);
      } finally {
        await app.close();
        await tool.close();
        await store.close?.();
      }
    });
  });
}

describe("findServices on a server of few databases", () => {
  it("findServices finds services when the server has few databases", LIMIT, async () => {
    const redis = await startRedis({ args: ["--databases", "9"] });
    const app = createCacheClient({ env: {}, url: redis.url, fleetStats: true });
    try {
      await app.service(LOYALTY).points.set("u1", 5);
      await app.close();
      const { code, stdout, stderr } = await larder(["stats", "--url", redis.url]);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^loyalty +1 /m);
    } finally {
      await app.close();
      await redis.stop();
    }
  });
});
