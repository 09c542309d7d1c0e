import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { collection, createCacheClient, type Driver, defineService, type FleetStats } from "../mod.ts";
import { AND_SHARDS, Background, onWires } from "./helpers/engine.ts";
import { eventually } from "./helpers/eventually.ts";
import { startProxy } from "./helpers/proxy.ts";
import { freePort, startRedis } from "./helpers/redis_server.ts";

const dishes = collection<number>({ key: "dish:{id}" });
const menus = collection<number>({ key: "menu:{id}", near: { ttl: "1h" } });
const SHOP = defineService({ name: "shop", database: 9, collections: { dishes, menus } });
const BAR = defineService({ name: "bar", database: 10, collections: { dishes } });
const FLEET = { fleetStats: true };

const NOTHING: FleetStats = {
  hits: 0,
  staleHits: 0,
  nearHits: 0,
  misses: 0,
  hitRate: 0,
  writes: 0,
  deletes: 0,
  loads: 0,
  errors: 0,
  corrupt: 0,
};

onWires(
  "statistics of the fleet",
  (onWire) => {
    it(
      "are the sums of what all processes did, once they have closed",
      onWire(async ({ make }) => {
        for (const round of [1, 2, 3]) {
          const client = make(FLEET);
          const shop = client.service(SHOP);
          await shop.dishes.set("a", round);
          await shop.dishes.getOrSet("b", () => 1);
          await shop.dishes.getMany(["a", "b", `none ${round}`]);
          await shop.menus.get("none");
          await client.service(BAR).dishes.delete(["a", "b"]);
          await client.service(BAR).dishes.set("a", 1);
          await client.cache({ database: 9 }).get("none");
          await client.close();
          await client.close();
        }
        const reader = make();
        const [shop, bar] = [reader.service(SHOP), reader.service(BAR)];
        // The first round finds nothing of b, the others do.
        const dishes = { ...NOTHING, hits: 8, misses: 4, hitRate: 8 / 12, writes: 4, loads: 1 };
        assert.deepEqual(await shop.dishes.fleetStats(), dishes);
        assert.deepEqual(await shop.menus.fleetStats(), { ...NOTHING, misses: 3 });
        assert.deepEqual(await shop.fleetStats(), { ...dishes, misses: 7, hitRate: 8 / 15 });
        assert.deepEqual(await bar.fleetStats(), { ...NOTHING, writes: 3, deletes: 2 });
        assert.deepEqual(await reader.fleetStats(), { shop: await shop.fleetStats(), bar: await bar.fleetStats() });
        assert.deepEqual(await reader.cache({ database: 9 }).fleetStats(), { ...NOTHING, misses: 3 });
        assert.equal(reader.stats().hits, 0);
      }),
    );

    it(
      "stay when everything is cleared or invalidated, and are not listed as keys",
      onWire(async ({ make }) => {
        const client = make(FLEET);
        await client.service(SHOP).dishes.set("a", 1);
        await client.service(SHOP).dishes.get("a");
        await client.close();
        const { clear, invalidateAll, fleetStats, keys, cache } = make().service(SHOP);
        const all: string[] = [];
        for await (const key of keys()) all.push(key);
        assert.deepEqual(all, ["dish:a"]);
        assert.equal(await cache.deletePattern("*"), 1);
        assert.equal(await clear(), 0);
        await invalidateAll();
        assert.deepEqual(await fleetStats(), { ...NOTHING, hits: 1, hitRate: 1, writes: 1 });
      }),
    );

    it(
      "leave with other commands, once in a while",
      onWire(async ({ make }) => {
        const run = async (options: object) => {
          const client = make(options);
          const { dishes } = client.service(SHOP);
          const before = { ...client.stats().wire };
          for (let i = 0; i < 30; i++) {
            await dishes.set(i, i);
            await dishes.get(i);
          }
          const { roundTrips, commands } = client.stats().wire;
          await client.close();
          return { roundTrips: roundTrips - before.roundTrips, commands: commands - before.commands };
        };
        await run({});
        const without = await run({});
        const withIt = await run(FLEET);
        assert.equal(withIt.roundTrips, without.roundTrips);
        // The run takes far less than the 10 s between two.
        assert.ok(withIt.commands - without.commands <= 2, `${withIt.commands - without.commands} more commands`);
        assert.ok(withIt.commands > without.commands);
        assert.deepEqual(await make().service(SHOP).fleetStats(), { ...NOTHING, hits: 30, hitRate: 1, writes: 30 });
      }),
    );

    it(
      "count the clients of requests once",
      onWire(async ({ make }) => {
        const client = make(FLEET);
        const background = new Background();
        for (let i = 0; i < 5; i++) {
          const request = client.forRequest(background);
          const { dishes } = request.service(SHOP);
          await dishes.set("a", 1);
          assert.equal(await dishes.get("a"), 1);
          for (const database of [11, 12]) await request.cache({ database }).get("none");
        }
        await background.done();
        await client.close();
        assert.equal(client.stats().misses, 10);
        for (const database of [11, 12]) {
          assert.deepEqual(await make().cache({ database }).fleetStats(), { ...NOTHING, misses: 5 });
        }
        assert.deepEqual(await make().service(SHOP).fleetStats(), { ...NOTHING, hits: 5, hitRate: 1, writes: 5 });
      }),
    );

    it(
      "count what the near cache answers, without a round trip for it",
      onWire(async ({ make }) => {
        const client = make(FLEET);
        const { menus } = client.service(SHOP);
        await menus.set("a", 1);
        while (client.stats().nearHits === 0) await menus.get("a");
        const { roundTrips } = client.stats().wire;
        for (let i = 0; i < 100; i++) await menus.get("a");
        assert.equal(client.stats().wire.roundTrips, roundTrips);
        const { hits, nearHits } = menus.stats();
        await client.close();
        assert.deepEqual(await make().service(SHOP).menus.fleetStats(), {
          ...NOTHING,
          hits,
          nearHits,
          hitRate: 1,
          writes: 1,
        });
      }),
    );

    it(
      "are zeros when no client counts them, and are separate by prefix",
      onWire(async ({ make }) => {
        const client = make();
        await client.service(SHOP).dishes.set("a", 1);
        await client.close();
        const other = make({ ...FLEET, prefix: "other" });
        await other.service(SHOP).dishes.set("a", 1);
        await other.close();
        assert.deepEqual(await make().fleetStats(), {});
        assert.deepEqual(await make().service(SHOP).fleetStats(), NOTHING);
        assert.equal((await make({ prefix: "other" }).service(SHOP).fleetStats())?.writes, 1);
      }),
    );
  },
  AND_SHARDS,
);

describe("statistics of the fleet", () => {
  it("are lost rather than sent twice when it is not known whether they arrived", { timeout: 60_000 }, async () => {
    const redis = await startRedis();
    const proxy = await startProxy(redis.port);
    const options = { env: {}, timeout: 5000, breaker: false as const };
    try {
      let sum = 0;
      for (let round = 0; round < 10; round++) {
        const client = createCacheClient({ ...options, ...FLEET, url: `redis://127.0.0.1:${proxy.port}`, retries: 10 });
        const { dishes } = client.service(SHOP);
        await dishes.get("none");
        // The counts of that leave with the next read: it is executed, and its answer lost.
        await proxy.set("drop");
        const read = dishes.get("none");
        await new Promise((resolve) => setTimeout(resolve, 20));
        await proxy.set("pass");
        await read;
        await client.close();
        sum += client.stats().misses;
        const reader = createCacheClient({ ...options, url: redis.url });
        const counted = (await reader.service(SHOP).fleetStats())?.misses ?? -1;
        assert.ok(counted <= sum && counted > 0, `${counted} of ${sum}`);
        await reader.close();
      }
    } finally {
      await proxy.stop();
      await redis.stop();
    }
  });

  it("disturb no other command when the store refuses them", async () => {
    const inner = memory();
    let refused = 0;
    const driver: Driver = {
      ...inner,
      send: async (database, commands, options) => {
        const replies = await inner.send(database, commands, options);
        return replies.map((reply, i) => {
          if (!JSON.stringify(commands[i]).includes("stats:")) return reply;
          refused++;
          return { error: "NOPERM no" } as never;
        });
      },
    };
    const client = createCacheClient({ env: {}, driver, ...FLEET, onError: "throw" });
    const { dishes } = client.service(SHOP);
    for (let i = 0; i < 5; i++) {
      assert.equal(await dishes.set("a", i), true);
      assert.equal(await dishes.get("a"), i);
    }
    await client.close();
    assert.ok(refused > 0);
    assert.equal(client.stats().errors, 0);
  });

  it("return undefined, or throw, when the store is away", async () => {
    const client = createCacheClient({ env: {}, url: "redis://127.0.0.1:1", timeout: 100 });
    const { fleetStats } = client.service(SHOP);
    assert.equal(await fleetStats(), undefined);
    assert.deepEqual(await client.fleetStats(), {});
    await assert.rejects(fleetStats({ onError: "throw" }), { name: "StoreError" });
    await client.close();
  });
});

describe("statistics of the fleet over an outage", () => {
  it("keep what could not be sent for later", { timeout: 60_000 }, async () => {
    const port = await freePort();
    const client = createCacheClient({
      ...FLEET,
      env: {},
      url: `redis://127.0.0.1:${port}`,
      retries: 0,
      timeout: 2000,
    });
    const { dishes } = client.service(SHOP);
    for (let i = 0; i < 20; i++) await dishes.get(i);
    assert.equal(client.stats().errors, 20);
    const redis = await startRedis({ port });
    try {
      await eventually(() => client.ping());
      await client.close();
      const reader = createCacheClient({ env: {}, url: redis.url });
      const told = (await reader.service(SHOP).fleetStats()) ?? assert.fail();
      assert.deepEqual([told.errors, told.misses], [20, 20]);
      await reader.close();
    } finally {
      await client.close();
      await redis.stop();
    }
  });
});
