/** Services with tags, near caches, locks and limits on a cluster whose masters die, freeze, and come back. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CacheClient, CacheError, type CacheEvent, collection, createCacheClient, defineService } from "../mod.ts";
import { isStoreError } from "../src/base/store_error.ts";
import { diagnose, type Finding } from "../src/manager/mod.ts";
import { eventually } from "./helpers/eventually.ts";
import { type ClusterNode, type RedisCluster, startCluster } from "./helpers/redis_cluster.ts";

const LIMIT = { timeout: 120_000 };
/** The milliseconds that a call may take. */
const DEADLINE = 500;
/** The milliseconds that a busy machine may add. A call without a deadline would take as long as the fault lasts. */
const AIR = 3000;
const IDS = Array.from({ length: 40 }, (_, id) => id);

const SHOP = defineService({
  name: "shop",
  database: 9,
  collections: {
    plain: collection<number>({ key: "plain:{id}" }),
    tagged: collection<number>({ key: "tagged:{id}", tags: ["menu"] }),
    near: collection<number>({ key: "near:{id}", near: { ttl: "10m" } }),
    locked: collection<number>({ key: "locked:{id}", lock: true }),
    counts: collection<number>({ key: "count:{id}" }),
  },
});

let servers: RedisCluster;

before(async () => {
  servers = await startCluster({ replicas: 1 });
});
beforeEach(() => servers.renew());
after(() => servers?.stop());

function shopOf(client: CacheClient) {
  return client.service(SHOP);
}
type Shop = ReturnType<typeof shopOf>;

/** Every kind of call. Each answers or fails within its deadline, whatever the store does. */
const CALLS: Readonly<Record<string, (shop: Shop, id: number) => Promise<unknown>>> = {
  get: (shop, id) => shop.plain.get(id),
  getMany: (shop, id) => shop.tagged.getMany([id, (id + 1) % IDS.length, (id + 2) % IDS.length]),
  load: (shop, id) => shop.tagged.getOrSet(id, () => id),
  near: (shop, id) => shop.near.get(id),
  set: (shop, id) => shop.near.set(id, id),
  locked: (shop, id) => shop.locked.getOrSet(id, () => id, { ttl: "1s" }),
  withLock: (shop, id) => shop.locked.withLock(id, () => id, { wait: "500ms" }),
  increment: (shop, id) => shop.counts.increment(id),
  limit: (shop, id) => shop.counts.checkRateLimit(id, { limit: 100, window: "1m" }),
  update: (shop, id) => shop.plain.update(id, () => id),
  invalidateTags: (shop) => shop.invalidateTags("other"),
};

/** Calls everything again and again, and counts the time of each kind of call. */
class Traffic {
  readonly longest: Map<string, number> = new Map();
  readonly calls: Map<string, number> = new Map();
  readonly misses: Map<number, number> = new Map();
  readonly hits: Map<number, number> = new Map();
  readonly #callers: Promise<void>[];
  #going = true;

  constructor(shop: Shop) {
    this.#callers = Object.entries(CALLS).map(async ([name, call]) => {
      for (let id = 0; this.#going; id = (id + 1) % IDS.length) {
        await this.#time(name, () => call(shop, id));
        await sleep(2);
      }
    });
    this.#callers.push(this.#read(shop));
  }

  /** Reads all ids, and counts hits and misses of each. */
  async #read(shop: Shop): Promise<void> {
    while (this.#going) {
      await Promise.all(
        IDS.map((id) =>
          this.#time("get", async () => {
            const counts = (await shop.plain.get(id)) === undefined ? this.misses : this.hits;
            counts.set(id, (counts.get(id) ?? 0) + 1);
          }),
        ),
      );
      await sleep(5);
    }
  }

  async #time(name: string, call: () => Promise<unknown>): Promise<void> {
    const start = performance.now();
    try {
      await call();
    } catch (error) {
      if (!(error instanceof CacheError || isStoreError(error))) throw error;
    }
    this.calls.set(name, (this.calls.get(name) ?? 0) + 1);
    this.longest.set(name, Math.max(this.longest.get(name) ?? 0, performance.now() - start));
  }

  missesOf(ids: readonly number[]): number {
    return ids.reduce((sum, id) => sum + (this.misses.get(id) ?? 0), 0);
  }

  /** Waits until every id was read so many times more. */
  async more(ids: readonly number[], count = 3): Promise<void> {
    const before = new Map(this.hits);
    await eventually(() => ids.every((id) => (this.hits.get(id) ?? 0) >= (before.get(id) ?? 0) + count), 60_000);
  }

  /** Waits until each kind of call has ended so many times more, well or not. */
  async round(count = 3): Promise<void> {
    const before = new Map(this.calls);
    const ended = (name: string): boolean => (this.calls.get(name) ?? 0) >= (before.get(name) ?? 0) + count;
    await eventually(() => Object.keys(CALLS).every(ended), 60_000);
  }

  async stop(): Promise<void> {
    this.#going = false;
    await Promise.all(this.#callers);
  }
}

interface Opened {
  readonly client: CacheClient;
  readonly shop: Shop;
  readonly events: readonly CacheEvent[];
}

function open(): Opened {
  const client = createCacheClient({
    env: {},
    cluster: { nodes: servers.addresses },
    timeout: DEADLINE,
    breaker: { openFor: 100, maxOpenFor: 300 },
    logger: false,
  });
  const events: CacheEvent[] = [];
  client.subscribe((event) => void events.push(event));
  return { client, shop: shopOf(client), events };
}

/** Runs with a client under traffic, whose calls all end within their deadlines. */
async function underTraffic(run: (traffic: Traffic, opened: Opened) => Promise<void>): Promise<void> {
  const opened = open();
  const { client, shop } = opened;
  try {
    for (const id of IDS) await eventually(() => shop.plain.set(id, id));
    await replicated();
    const traffic = new Traffic(shop);
    try {
      await traffic.more(IDS);
      await traffic.round();
      await run(traffic, opened);
    } finally {
      await traffic.stop();
    }
    for (const [name, longest] of traffic.longest) {
      // Locks are waited for, too.
      const deadline = DEADLINE * (/lock/.test(name) ? 3 : 1) + AIR;
      assert.ok(longest < deadline, `${name} took ${longest} ms`);
    }
  } finally {
    await client.close();
  }
}

/** Waits until all replicas have what their masters have. */
async function replicated(): Promise<void> {
  for (const master of await servers.masters()) {
    if ((await servers.replicasOf(master)).length > 0) await master.say("WAIT", 1, 10_000);
  }
}

/** The ids of the plain entries that a node has. */
async function idsOf(node: ClusterNode): Promise<number[]> {
  const keys = (await node.say("KEYS", "*plain:*")) as string[];
  return keys.flatMap((key) => (/\}shop:plain:|\}plain:/.test(key) ? [Number(/(\d+)$/.exec(key)?.[1])] : []));
}

async function slotOf(node: ClusterNode): Promise<number> {
  return servers.slotOf(((await node.say("KEYS", "*plain:*")) as string[])[0] as string);
}

/** Invalidates until it is acknowledged; then no reader has a value from before. */
async function renew({ shop }: Opened): Promise<void> {
  const other = open();
  try {
    await eventually(() => other.shop.invalidateTags("menu"), 60_000);
    const values = await Promise.all(IDS.map((id) => shop.tagged.getOrSet(id, () => 1000 + id)));
    for (const id of IDS) assert.ok(values[id] === id || values[id] === 1000 + id, `${values[id]}`);
  } finally {
    await other.client.close();
  }
}

async function findings(client: CacheClient): Promise<Partial<Record<Finding["check"], Finding>>> {
  const found: Partial<Record<Finding["check"], Finding>> = {};
  for await (const finding of diagnose(client, { timeout: 5000 })) found[finding.check] = finding;
  return found;
}

describe("services on a cluster", () => {
  it("have no miss of other masters' keys, and all calls end in time, when each master is killed in turn", LIMIT, () =>
    underTraffic(async (traffic, opened) => {
      for (const old of (await servers.masters()) as ClusterNode[]) {
        const own = await idsOf(old);
        const others = IDS.filter((id) => !own.includes(id));
        assert.ok(own.length > 0 && others.length > 0);
        const slot = await slotOf(old);
        const missed = traffic.missesOf(others);
        await replicated();
        await old.kill();
        await servers.promoted(old, slot, 60_000);
        await traffic.more(IDS);
        await traffic.round();
        assert.equal(traffic.missesOf(others), missed);
        await renew(opened);
        await old.restart();
        await servers.settled(60_000);
        await traffic.more(IDS);
      }
      assert.ok(opened.events.some((event) => event.type === "breaker" && event.state === "open"));
      await eventually(async () => (await opened.client.health()).ok);
    }),
  );

  it("have no miss of other masters' keys and no old value when a master freezes, is replaced and wakes", LIMIT, () =>
    underTraffic(async (traffic, opened) => {
      const { shop, client } = opened;
      const [old] = (await servers.masters()) as [ClusterNode];
      const own = await idsOf(old);
      const others = IDS.filter((id) => !own.includes(id));
      const [id] = own as [number];
      const missed = traffic.missesOf(others);
      const slot = await slotOf(old);
      old.pause();
      await servers.promoted(old, slot, 60_000);
      await traffic.more(IDS);
      await traffic.round();
      assert.equal(traffic.missesOf(others), missed);
      await eventually(() => shop.tagged.set(id, -1));
      const reader = open();
      await eventually(async () => (await reader.shop.tagged.get(id)) === -1);
      await eventually(() => shop.tagged.set(id, -2));
      await eventually(() => shop.invalidateTags("menu"), 60_000);
      old.resume();
      await eventually(async () => {
        for (const each of [shop, reader.shop]) {
          const value = await each.tagged.get(id);
          assert.ok(value === undefined || value >= 0, `${value}`);
        }
        return /role:slave/.test(String(await old.say("INFO", "replication")));
      }, 60_000);
      await reader.client.close();
      await renew(opened);
      await eventually(async () => (await client.health()).ok);
    }),
  );

  it("say which master is away when it has no replica, and serve the others", LIMIT, () =>
    underTraffic(async (traffic, { client }) => {
      const [master] = (await servers.masters()) as [ClusterNode];
      const own = await idsOf(master);
      const others = IDS.filter((id) => !own.includes(id));
      for (const replica of await servers.replicasOf(master)) await replica.kill();
      await eventually(async () => /masters without a replica/.test((await findings(client)).replicas?.evidence ?? ""));
      const missed = traffic.missesOf(others);
      await master.kill();
      await traffic.round();
      await traffic.more(others);
      assert.equal(traffic.missesOf(others), missed);
      await eventually(async () => {
        const health = await client.health();
        const away = health.parts?.filter(({ ok }) => !ok).map(({ address }) => address);
        return !health.ok && away?.join() === master.address;
      });
      await eventually(async () => {
        const { connection, cluster } = await findings(client);
        return [connection, cluster].every(
          (found) => found?.level === "error" && found.evidence.includes(master.address),
        );
      });
      await master.restart();
      for (const id of own) await eventually(() => shopOf(client).plain.set(id, id));
      await traffic.more(IDS);
    }),
  );

  it("miss at once when the cluster serves nothing while one master is away, and recover", LIMIT, () =>
    underTraffic(async (traffic, { client, events }) => {
      for (const node of servers.nodes) await node.say("CONFIG", "SET", "cluster-require-full-coverage", "yes");
      try {
        const [master, other] = (await servers.masters()) as [ClusterNode, ClusterNode];
        const theirs = await idsOf(other);
        for (const replica of await servers.replicasOf(master)) await replica.kill();
        await master.kill();
        const down = (event: CacheEvent) => event.type === "error" && /CLUSTERDOWN/.test(event.error.message);
        await eventually(() => events.some(down), 60_000);
        const missed = traffic.missesOf(theirs);
        await eventually(() => traffic.missesOf(theirs) > missed + theirs.length);
        await traffic.round();
        assert.equal((await client.health()).ok, false);
        await master.restart();
        for (const id of IDS) await eventually(() => shopOf(client).plain.set(id, id), 60_000);
        await traffic.more(IDS);
      } finally {
        for (const node of servers.nodes) {
          if (node.running) await node.say("CONFIG", "SET", "cluster-require-full-coverage", "no");
        }
      }
    }),
  );

  it("miss when two of three masters are away, and recover", LIMIT, () =>
    underTraffic(async (traffic, { client, events }) => {
      const [first, second] = (await servers.masters()) as [ClusterNode, ClusterNode];
      await Promise.all([first.kill(), second.kill()]);
      const down = (event: CacheEvent) => event.type === "error" && /CLUSTERDOWN/.test(event.error.message);
      await eventually(() => events.some(down), 60_000);
      await traffic.round();
      assert.equal((await client.health()).ok, false);
      assert.equal(await shopOf(client).invalidateTags("menu"), false);
      await Promise.all([first.restart(), second.restart()]);
      for (const id of IDS) await eventually(() => shopOf(client).plain.set(id, id), 60_000);
      await traffic.more(IDS);
      await eventually(() => shopOf(client).invalidateTags("menu"), 60_000);
      await eventually(async () => (await client.health()).ok);
    }),
  );
});
