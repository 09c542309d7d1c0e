/** The tools on a cluster: what they say of its nodes, and how they find its keys. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { cluster } from "../drivers/cluster.ts";
import type { Command } from "../drivers/driver.ts";
import { type CacheClient, createCacheClient } from "../mod.ts";
import { hashSlot } from "../src/base/crc16.ts";
import { openManagedConnection } from "../src/manager/connection.ts";
import { Layout } from "../src/manager/layout.ts";
import {
  backup,
  clear,
  copy,
  diagnose,
  type Finding,
  finish,
  get,
  inspect,
  list,
  type Problem,
  restore,
  warm,
} from "../src/manager/mod.ts";
import { slowLog } from "../src/manager/slow_log.ts";
import { monitor, prometheus } from "../src/monitor/mod.ts";
import { StoreWatch } from "../src/monitor/store_watch.ts";
import { product } from "./fixtures/product.ts";
import { BackupFile } from "./helpers/backup_file.ts";
import { type ClusterNode, type RedisCluster, startCluster } from "./helpers/redis_cluster.ts";
import { startRedis } from "./helpers/redis_server.ts";

const IDS = Array.from({ length: 120 }, (_, id) => id);

let servers: RedisCluster;
const clients: CacheClient[] = [];

function make(): CacheClient {
  const client = createCacheClient({
    env: { CACHE_SHARDS: "64" },
    driver: cluster({ nodes: servers.addresses }),
    timeout: 10_000,
  });
  clients.push(client);
  return client;
}

async function findings(client: CacheClient): Promise<Partial<Record<Finding["check"], Finding>>> {
  const found: Partial<Record<Finding["check"], Finding>> = {};
  for await (const finding of diagnose(client)) found[finding.check] = finding;
  return found;
}

describe("tools on a cluster", () => {
  before(async () => {
    servers = await startCluster({ masters: 3, fullCoverage: true, nodeTimeout: 5000 });
  });
  after(() => servers?.stop());
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.close()));
    await servers.flush();
  });

  it("inspect adds up the numbers of the nodes, and has a row for each", async () => {
    const client = make();
    const [first] = servers.nodes;
    await first?.say("CONFIG", "SET", "maxmemory", "100mb");
    const { driver } = await client.locate({ database: 0 });
    await driver.send(
      0,
      Array.from({ length: 30 }, (_, id): Command => ["SET", `key:${id}`, id]),
    );
    const found = await inspect(client);
    await first?.say("CONFIG", "SET", "maxmemory", 0);
    const { nodes } = found;
    assert.deepEqual(
      nodes.map(({ node }) => node),
      [...servers.addresses].sort(),
    );
    const sum = (read: (node: (typeof nodes)[number]) => number | null): number =>
      nodes.reduce((all, node) => all + (read(node) ?? 0), 0);
    assert.equal(
      found.memoryUsed,
      sum(({ memoryUsed }) => memoryUsed),
    );
    assert.equal(
      found.commands,
      sum(({ commands }) => commands),
    );
    assert.equal(
      sum(({ keys }) => keys),
      30,
    );
    // Two of them have no limit.
    assert.equal(found.memoryLimit, 0);
    assert.ok(nodes.every(({ up, latency, error }) => up && latency !== null && error === null));
    assert.equal(found.latency, Math.max(found.latency ?? 0, ...nodes.map(({ latency }) => latency ?? 0)));
  });

  it("the slow logs of the nodes are one, each entry with its node", async () => {
    const client = make();
    for (const node of servers.nodes) {
      await node.say("SLOWLOG", "RESET");
      await node.say("CONFIG", "SET", "slowlog-log-slower-than", 0);
      await node.say("ECHO", node.address);
      await node.say("CONFIG", "SET", "slowlog-log-slower-than", 10_000);
    }
    const connection = await openManagedConnection(client, { database: 0 });
    const echoes = (await slowLog(connection, 64))?.filter(({ name }) => name === "ECHO") ?? [];
    await connection.close();
    assert.deepEqual(echoes.map(({ node }) => node).sort(), [...servers.addresses].sort());
  });

  it("StoreWatch has a row a node, and says which one does not answer", async () => {
    const client = make();
    const watch = new StoreWatch(client, 500);
    const before = await watch.sample(1, []);
    assert.equal(before.nodes.length, 3);
    assert.equal(before.error, null);
    assert.equal(
      before.memoryUsed,
      before.nodes.reduce((all, { memoryUsed }) => all + (memoryUsed ?? 0), 0),
    );
    const [, frozen] = servers.nodes;
    frozen?.pause();
    try {
      const sample = await watch.sample(2, []);
      assert.equal(sample.up, true);
      assert.match(sample.error ?? "", new RegExp(`^${frozen?.address}: `));
      assert.deepEqual(
        sample.nodes.filter(({ up }) => !up).map(({ node }) => node),
        [frozen?.address],
      );
    } finally {
      frozen?.resume();
      await servers.settled();
    }
  });

  it("the monitor judges the memory of each node, and exports each by its address", async () => {
    const client = make();
    const [first] = servers.nodes as [ClusterNode];
    await first.say("CONFIG", "SET", "maxmemory", "1mb");
    let now = 1_000_000;
    const watch = monitor(client, { clock: () => now, logger: false });
    try {
      await watch.tick();
      assert.deepEqual(
        watch.alerts.map(({ rule, node }) => [rule, node]),
        [["memory", first.address]],
      );
      assert.match(watch.alerts[0]?.message ?? "", new RegExp(`^memory of ${first.address}: .* above 80.0 %`));
      const up = prometheus(watch).match(/^larder_node_up\{node="(.*)"\} 1$/gm);
      assert.equal(up?.length, 3);
      await first.say("CONFIG", "SET", "maxmemory", 0);
      now += 60_000;
      await watch.tick();
      assert.deepEqual(watch.alerts, []);
    } finally {
      await watch.close();
      await first.say("CONFIG", "SET", "maxmemory", 0);
    }
  });

  it("diagnose asks every node, and judges the cluster", async () => {
    const client = make();
    await client.cache().set("a", 1, { ttl: "1h" });
    const [first, second] = servers.nodes;
    const found = await findings(client);
    for (const check of ["addresses", "cluster", "open slots", "nodes", "balance", "databases", "clock"] as const) {
      assert.equal(found[check]?.level, "ok", `${check}: ${found[check]?.evidence}`);
    }
    assert.equal(found.replicas?.level, "warning");
    assert.match(found.replicas?.evidence ?? "", /^masters without a replica: 127/);
    assert.equal(found.coverage?.level, "warning");
    assert.equal(found.failover?.level, "ok");
    await second?.say("CONFIG", "SET", "maxmemory", "1000mb");
    const differing = (await findings(client)).nodes;
    assert.equal(differing?.level, "warning");
    assert.match(differing?.evidence ?? "", new RegExp(`maxmemory is .*1048576000 on ${second?.address}`));
    await second?.say("CONFIG", "SET", "maxmemory", 0);
    await first?.say("CONFIG", "SET", "min-replicas-to-write", 1);
    const refusing = (await findings(client)).replicas;
    await first?.say("CONFIG", "SET", "min-replicas-to-write", 0);
    assert.deepEqual(
      [refusing?.level, refusing?.evidence],
      [
        "error",
        `masters with fewer replicas than min-replicas-to-write refuse writes: ${first?.address} has 0 and needs 1`,
      ],
    );
    const target = servers.nodes[2] as (typeof servers.nodes)[number];
    const move = await servers.open(1, target);
    const open = (await findings(client))["open slots"];
    await move.cancel();
    assert.equal(open?.level, "error");
    assert.match(open?.evidence ?? "", /\[1->-/);
    await servers.settled();
  });

  it("backup has the keys of slots that move at the same time, and says which of them never came to rest", async () => {
    const client = make();
    const service = "product";
    const connection = await openManagedConnection(client, { service });
    const { location, layout } = connection;
    await connection.close();
    const names = Array.from({ length: 3000 }, (_, id) => `product:${id}`);
    await location.driver.send(
      0,
      names.map((name): Command => ["SET", connection.physical(name), name]),
    );
    const [first, second] = servers.nodes as [ClusterNode, ClusterNode];
    const slots = layout.tags.map(hashSlot).slice(0, 4);
    const file = new BackupFile();
    let chunks = 0;
    const write = async (chunk: Uint8Array): Promise<void> => {
      file.write(chunk);
      // After the header come records, so the scan has begun.
      if (++chunks === 2) for (const slot of slots) await servers.move(slot, second);
    };
    const { unreadable } = await finish(backup(client, { service, write }));
    for (const slot of slots) await servers.move(slot, first);
    assert.equal(unreadable, 0);
    const kept = new Set(file.lines.flatMap(({ key }) => key ?? []));
    assert.deepEqual([...kept].sort(), [...names].sort());
    const open = await servers.open(slots[0] as number, second);
    const problems: Problem[] = [];
    for await (const step of backup(client, { service, write: () => {} })) problems.push(...step.problems);
    await open.cancel();
    assert.deepEqual(
      problems.map(({ key }) => key),
      [`slot ${slots[0]}`],
    );
  });

  it("list, get and clear find the keys of all masters", async () => {
    const client = make();
    const { products } = client.service("product");
    await products.setMany(IDS.map((id) => [id, product(id)]));
    await client.service("user").cache.set("a", 1);
    const found: string[] = [];
    for await (const { key } of list(client, { service: "product" })) found.push(key);
    assert.deepEqual(found.sort(), IDS.map((id) => `product:${id}`).sort());
    assert.deepEqual((await get(client, { service: "product", key: "product:7" }))?.value, product(7));
    assert.equal((await inspect(client)).services.find(({ service }) => service === "product")?.keys, IDS.length);
    const { keys, refused } = await finish(clear(client, { service: "product" }));
    assert.deepEqual([keys, refused], [IDS.length, null]);
    assert.deepEqual([...(await products.getMany(IDS)).keys()], []);
    assert.equal(await client.service("user").cache.get("a"), 1);
  });

  it("backup, restore and copy take a service to one server and back", async () => {
    const service = "product";
    const client = make();
    const hits = async (of: CacheClient): Promise<number> => (await of.service(service).products.getMany(IDS)).size;
    await client.service(service).products.setMany(
      IDS.map((id) => [id, product(id)]),
      { tags: ["old"] },
    );
    await client.service(service).invalidateTags("old");
    await client.service(service).products.setMany(
      IDS.slice(50).map((id) => [id, product(id)]),
      { tags: ["old"] },
    );
    const { driver, prefix, tags } = await client.locate({ service });
    const tag = tags[new Layout(tags).shardOf("list:1")];
    await driver.send(0, [["RPUSH", `${prefix}${tag}list:1`, "a", "b"]]);
    assert.equal(await hits(client), IDS.length - 50);
    const server = await startRedis();
    const single = createCacheClient({ env: {}, url: server.url, timeout: 10_000 });
    const file = new BackupFile();
    await finish(backup(client, { service, write: file.write }));
    await finish(restore(single, { service, read: file.read }));
    assert.equal(await hits(single), IDS.length - 50);
    await servers.flush();
    await finish(copy(single, client, { service }));
    assert.equal(await hits(client), IDS.length - 50);
    assert.deepEqual((await get(client, { service, key: "list:1" }))?.value, ["a", "b"]);
    await servers.flush();
    await finish(restore(client, { service, read: file.read }));
    assert.equal(await hits(client), IDS.length - 50);
    await client.service(service).invalidateTags("old");
    assert.equal(await hits(client), 0);
    await single.close();
    await server.stop();
  });

  it("warm writes to all masters", async () => {
    const client = make();
    const { products } = client.service("product");
    const { written } = await finish(
      warm(
        products,
        IDS.map((id) => ({ id, value: product(id) })),
      ),
    );
    assert.equal(written, IDS.length);
    assert.equal((await products.getMany(IDS)).size, IDS.length);
  });

  it("diagnose names the slot and the master that have too many keys", async () => {
    const client = make();
    await client.service("product").products.setMany(IDS.map((id) => [id, product(id)]));
    const { driver } = await client.locate({ database: 0 });
    // The tag of the first shard.
    const many = Array.from({ length: 4000 }, (_, id): Command => ["SET", `{53t}${id}`, id]);
    await driver.send(0, many);
    const owner = await servers.ownerOf(128);
    const found = await findings(client);
    assert.equal(found.balance?.level, "warning");
    assert.match(
      found.balance?.evidence ?? "",
      new RegExp(`^${owner.address} has 4,?0\\d\\d of keys, evenly it were 1,?373`),
    );
    assert.equal(found["big slots"]?.level, "warning");
    assert.match(found["big slots"]?.evidence ?? "", /: 128 \(4,?00\d keys\)$/);
  });

  it("diagnose says which URL to use when a plain driver meets a node of a cluster", async () => {
    const client = createCacheClient({ env: {}, url: `redis://${servers.addresses[0]}` });
    clients.push(client);
    const { databases } = await findings(client);
    assert.equal(databases?.level, "error");
    assert.match(databases?.advice ?? "", /redis\+cluster:\/\//);
  });
});
