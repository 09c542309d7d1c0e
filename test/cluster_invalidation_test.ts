/** Invalidation on a cluster of two masters, while the slot of a shard is on its way from one to the other. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { cluster } from "../drivers/cluster.ts";
import type { Driver } from "../drivers/driver.ts";
import { type CacheClient, collection, createCacheClient, defineService } from "../mod.ts";
import type { Keyspace, Shard } from "../src/entry/keyspace.ts";
import { shards } from "../src/entry/shards.ts";
import { gate } from "./helpers/engine.ts";
import { type ClusterNode, type RedisCluster, type SlotMove, startCluster } from "./helpers/redis_cluster.ts";

const menu = defineService({
  name: "menu",
  database: 9,
  collections: {
    dishes: collection<string>({ key: "dish:{id}", tags: ["menu"] }),
    plain: collection<string>({ key: "plain:{id}" }),
  },
});

/** The keyspace of the service. */
const SPACE = shards(4)(0, "db9:") as Keyspace;
const IDS = Array.from({ length: 20 }, (_, i) => `${i}`);

describe("invalidation while a slot of a cluster is being moved key by key", { timeout: 120_000 }, () => {
  let servers: RedisCluster;
  let driver: Driver;
  before(async () => {
    servers = await startCluster({ masters: 2 });
    driver = cluster({ nodes: [servers.addresses[0] as string] });
  });
  beforeEach(() => servers.flush());
  after(async () => {
    await driver?.close();
    await servers?.stop();
  });

  /** Opens the slot of one shard with all of its keys at the source, and moves the rest of them at the end. */
  async function moving(shard: Shard, run: (move: SlotMove) => Promise<void>): Promise<void> {
    const source = await servers.ownerOf(shard.epochKey);
    const target = servers.nodes.find((node) => node !== source) as ClusterNode;
    const move = await servers.open(await servers.slotOf(shard.epochKey), target);
    try {
      await run(move);
    } finally {
      await move.end();
    }
  }

  const open = (): CacheClient =>
    createCacheClient({ env: {}, driver, cluster: { shards: 4 }, timeout: 10_000, logger: false });

  for (const gone of ["the epoch", "the mark", "the entries", "nothing"]) {
    it(`invalidateTags is true, and no value from before it is read, when ${gone} has moved`, async () => {
      const [one, two] = [open().service(menu), open().service(menu)];
      const shard = SPACE.of("dish:1");
      await one.dishes.setMany(IDS.map((id) => [id, "old"]));
      assert.equal(await one.invalidateTags("other"), true);
      assert.equal((await two.dishes.getMany(IDS)).size, IDS.length);
      const entries = IDS.map((id) => `dish:${id}`).filter((key) => SPACE.of(key) === shard);
      const keys: Readonly<Record<string, readonly string[]>> = {
        "the epoch": [shard.epochKey],
        "the mark": [`${shard.marksPrefix}menu`],
        "the entries": entries.map((key) => shard.key(key)),
        nothing: [],
      };
      await moving(shard, async (move) => {
        const moved = keys[gone] as readonly string[];
        if (moved.length > 0) await move.keys(...moved);
        for (let round = 0; round < 3; round++) {
          assert.equal(await one.invalidateTags("menu"), true);
          assert.deepEqual([...(await two.dishes.getMany(IDS)).keys()], []);
          // Other shards take writes.
          await two.dishes.setMany(IDS.map((id) => [id, `new ${round}`]));
        }
        assert.equal(await one.invalidateTags("menu"), true);
        assert.deepEqual([...(await two.dishes.getMany(IDS)).keys()], []);
        assert.equal(await two.invalidateAll(), true);
      });
      assert.deepEqual([...(await one.dishes.getMany(IDS)).keys()], []);
      await one.dishes.setMany(IDS.map((id) => [id, "last"]));
      assert.equal((await two.dishes.getMany(IDS)).size, IDS.length);
    });
  }

  it("a load from before an invalidation is not read when epoch and entry have moved, the mark not yet", async () => {
    const [one, two] = [open().service(menu), open().service(menu)];
    const shard = SPACE.of("dish:1");
    await one.dishes.set("1", "older");
    assert.equal(await one.invalidateTags("menu"), true);
    const [begun, value] = [gate(), gate<string>()];
    const loading = one.dishes.getOrSet("1", () => {
      begun.open();
      return value.promise;
    });
    await begun.promise;
    assert.equal(await two.invalidateTags("menu"), true);
    await moving(shard, async (move) => {
      await move.keys(shard.epochKey, shard.key("dish:1"));
      value.open("loaded before");
      assert.equal(await loading, "loaded before");
      assert.equal(await two.dishes.get("1"), undefined);
    });
    assert.equal(await two.dishes.get("1"), undefined);
  });
});
