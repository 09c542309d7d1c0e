/** Near caches on a cluster: what one master's faults, moves and failovers do to the values that a process keeps. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { cluster } from "../drivers/cluster.ts";
import { type CacheClient, collection, createCacheClient, defineService } from "../mod.ts";
import { eventually } from "./helpers/eventually.ts";
import { type ClusterNode, type RedisCluster, startCluster } from "./helpers/redis_cluster.ts";

const LIMIT = { timeout: 120_000 };
/** Only messages can make an entry go in time. */
const SHOP = defineService({
  name: "shop",
  database: 9,
  collections: { dishes: collection<number>({ key: "dish:{id}", near: { ttl: "10m" } }) },
});
const IDS = Array.from({ length: 30 }, (_, id) => id);
let servers: RedisCluster;

before(async () => {
  servers = await startCluster({ replicas: 1 });
});
after(() => servers?.stop());
beforeEach(async () => {
  await servers.settled();
  await servers.flush();
});

function open() {
  const driver = cluster({ nodes: servers.addresses });
  const client = createCacheClient({
    driver,
    env: { CACHE_SHARDS: "64" },
    timeout: 1000,
    logger: false,
    breaker: { openFor: 100, maxOpenFor: 200 },
  });
  const { dishes } = client.service(SHOP);
  return { driver, client, dishes };
}
type Opened = ReturnType<typeof open>;

/** Runs with a client that reads near, and another one that writes; every dish is near at the reader. */
async function using(run: (reader: Opened, writer: Opened) => Promise<void>): Promise<void> {
  const [reader, writer] = [open(), open()];
  try {
    for (const id of IDS) await eventually(() => writer.dishes.set(id, 1));
    await eventually(async () => (await Promise.all(IDS.map((id) => isNear(reader, id)))).every(Boolean));
    await run(reader, writer);
  } finally {
    for (const { client, driver } of [reader, writer]) {
      await client.close();
      await driver.close();
    }
  }
}

/** Reads a dish; returns whether the near cache answered. */
async function isNear({ client, dishes }: { client: CacheClient; dishes: Opened["dishes"] }, id: number) {
  const { nearHits } = client.stats();
  await dishes.get(id);
  return client.stats().nearHits > nearHits;
}

/** The ids of the dishes that a node has. */
async function idsOf(node: ClusterNode): Promise<number[]> {
  const keys = (await node.say("KEYS", "*dish:*")) as string[];
  return keys.map((key) => Number(/dish:(\d+)$/.exec(key)?.[1])).filter((id) => id >= 0);
}

/** Waits until the reader has what was written. */
const sees = ({ dishes }: Opened, ids: readonly number[], value: number | undefined) =>
  eventually(async () => (await Promise.all(ids.map((id) => dishes.get(id)))).every((seen) => seen === value));

/** Writes the dishes until each write was taken. */
async function write({ dishes }: Opened, ids: readonly number[], value: number): Promise<void> {
  for (const id of ids) await eventually(() => dishes.set(id, value));
}

describe("a near cache on a cluster", () => {
  it("hears of writes on every master, of tags, and of one master that is emptied", LIMIT, async () => {
    await using(async (reader, writer) => {
      await write(writer, IDS, 2);
      await sees(reader, IDS, 2);
      await eventually(async () => (await Promise.all(IDS.map((id) => isNear(reader, id)))).every(Boolean));
      const [node] = await servers.masters();
      const ids = await idsOf(node as ClusterNode);
      assert.ok(ids.length > 0 && ids.length < IDS.length, `${ids}`);
      await node?.say("FLUSHALL");
      await sees(reader, ids, undefined);
      for (const id of IDS) if (!ids.includes(id)) assert.equal(await reader.dishes.get(id), 2);
      await writer.dishes.set(1, 3, { tags: ["t"] });
      await eventually(async () => (await isNear(reader, 1)) && (await reader.dishes.get(1)) === 3);
      await eventually(() => writer.client.service(SHOP).invalidateTags(["t"]));
      await sees(reader, [1], undefined);
    });
  });

  for (const fault of ["kill", "pause"] as const) {
    it(`loses the entries of a master alone, and hears its successor, after ${fault}`, LIMIT, async () => {
      await using(async (reader, writer) => {
        const [old] = (await servers.masters()) as [ClusterNode];
        const ids = await idsOf(old);
        const others = IDS.filter((id) => !ids.includes(id));
        const slot = await servers.slotOf(((await old.say("KEYS", "*dish:*")) as string[])[0] as string);
        await old[fault]();
        // Nothing else would tell it that the master is gone: every read of the process is a near hit.
        const [id] = ids as [number];
        await eventually(async () => !(await isNear(reader, id)));
        for (const other of others) assert.equal(await isNear(reader, other), true, `${other}`);
        await servers.promoted(old, slot);
        await write(writer, ids, 2);
        await sees(reader, ids, 2);
        if (fault === "kill") await old.restart();
        else old.resume();
        for (let tries = 0; tries < 50; tries++) {
          for (const id of ids) assert.equal(await reader.dishes.get(id), 2);
          await sleep(2);
        }
        await eventually(async () => (await Promise.all(IDS.map((id) => isNear(reader, id)))).every(Boolean));
        await write(writer, IDS, 3);
        await sees(reader, IDS, 3);
      });
    });
  }

  it("hears of writes to keys that move, while they do and after that", LIMIT, async () => {
    await using(async (reader, writer) => {
      const [source, target] = (await servers.masters()) as [ClusterNode, ClusterNode];
      // While a slot moves, what needs a key that was never written, such as an epoch, fails.
      await eventually(() => writer.client.service(SHOP).invalidateTags(["none"]));
      const keys = (await source.say("KEYS", "*dish:*")) as string[];
      const [key] = keys as [string];
      const id = Number(/(\d+)$/.exec(key)?.[1]);
      const move = await servers.open(await servers.slotOf(key), target);
      // All of them, because what needs two keys fails while one of them is left.
      await move.keys();
      for (let value = 2; value < 22; value++) {
        await write(writer, [id], value);
        // What was read by ASK is not kept, because a target that has no slots yet is not tracked.
        await sees(reader, [id], value);
        assert.equal(await isNear(reader, id), false);
      }
      await move.end();
      await write(writer, IDS, 30);
      await sees(reader, IDS, 30);
      await eventually(() => isNear(reader, id));
      await write(writer, IDS, 31);
      await sees(reader, IDS, 31);
    });
  });

  it("hears of writes to slots of a master that a planned failover replaces", LIMIT, async () => {
    await using(async (reader, writer) => {
      const [old] = (await servers.masters()) as [ClusterNode];
      const [replica] = (await servers.replicasOf(old)) as [ClusterNode];
      await servers.failover(replica);
      await write(writer, IDS, 2);
      await sees(reader, IDS, 2);
      await eventually(async () => (await Promise.all(IDS.map((id) => isNear(reader, id)))).every(Boolean));
      await write(writer, IDS, 3);
      await sees(reader, IDS, 3);
    });
  });
});
