/** The error says so, with a remedy, if the server is not a single Redis or a ready client is not of node-redis. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Cluster, Redis } from "ioredis";
import { createCluster } from "redis";
import {
  createCluster as createCluster5,
  createClientPool as createPool5,
  createSentinel as createSentinel5,
} from "redis5";
import { createCluster as createCluster6 } from "redis6";
import { type NodeRedisOptions, nodeRedis } from "../drivers/node_redis.ts";
import { type ClientOptions, createCacheClient } from "../mod.ts";
import { startProxy } from "./helpers/proxy.ts";
import { type SentinelServers, startSentinels } from "./helpers/redis_sentinel.ts";
import { freePort, type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";

const OF_CLUSTER =
  /: Redis at (127\.0\.0\.1:\d+) is a node of a cluster: use redis\+cluster:\/\/\1 \(rediss\+cluster:\/\/ with TLS\)$/;

/** The messages of what fails. */
async function failures(options: ClientOptions): Promise<string[]> {
  const client = createCacheClient({ env: {}, logger: false, timeout: 5000, retries: 0, ...options });
  const messages = new Set<string>();
  client.subscribe((event) => void (event.type === "error" && messages.add(event.error.message)));
  const { products } = client.service("product");
  await products.set(1, { id: 1, name: "Pho" });
  await products.get(1);
  await client.service("product").invalidateTags("t");
  const { error } = await client.health();
  await client.close();
  return [...messages, ...(error === undefined ? [] : [error])];
}

describe("a node of a cluster", () => {
  let folder: string;
  let node: RedisServer;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "larder-cluster-"));
    const bus = ["--cluster-port", `${await freePort()}`, "--cluster-config-file", join(folder, "nodes.conf")];
    node = await startRedis({ args: ["--cluster-enabled", "yes", ...bus] });
  });
  after(async () => {
    await node?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [state, databases] of [
    ["has no slots", "auto"],
    ["has no slots", "prefixed"],
    ["has all slots", "auto"],
    ["has all slots", "prefixed"],
  ] as const) {
    it(`that ${state} is called what it is, with databases ${databases}, and nothing else is advised`, async () => {
      if (state === "has all slots")
        await rawCommand(node.port, ["CLUSTER", "ADDSLOTSRANGE", 0, 16383]).catch(() => {});
      const messages = await failures({ url: node.url, databases });
      assert.ok(messages.length > 0);
      for (const message of messages) {
        assert.match(message, OF_CLUSTER);
        assert.doesNotMatch(message, /CACHE_DATABASES/);
      }
    });
  }

  for (const text of ["MOVED 3999 127.0.0.1:6381", "ASK 3999 127.0.0.1:6381"]) {
    it(`that answers ${text.split(" ")[0]} is called what it is`, async () => {
      const proxy = await startProxy(node.port);
      await proxy.set({ replace: `-${text}\r\n` });
      const messages = await failures({ url: `redis://127.0.0.1:${proxy.port}`, databases: "prefixed" });
      await proxy.stop();
      assert.ok(messages.length > 0);
      for (const message of messages) assert.match(message, OF_CLUSTER);
    });
  }
});

describe("real servers at a URL that is not theirs", () => {
  let servers: SentinelServers;
  before(async () => {
    servers = await startSentinels({ downAfter: 60_000 });
  });
  after(() => servers?.stop());

  const sentinelAt = () => `${servers.addresses[0]}`;
  const singleAt = () => `${servers.nodes[0]?.address}`;
  const cases: readonly (readonly [string, url: () => string, RegExp])[] = [
    [
      "a single server at that of a cluster",
      () => `redis+cluster://${singleAt()}`,
      /^Cannot reach the cluster at ([\d.:]+): .*: Redis at \1 is a single server: use redis:\/\/\1 \(rediss:/,
    ],
    [
      "a Sentinel at that of a cluster",
      () => `redis+cluster://${sentinelAt()}`,
      /^Cannot reach the cluster at ([\d.:]+): .*: if a Sentinel answers here, use redis\+sentinel:\/\/\1\/mymaster/,
    ],
    [
      "a Sentinel at that of a single server",
      () => `redis://${sentinelAt()}`,
      /if a Sentinel answers here, use redis\+sentinel:\/\/127\.0\.0\.1:\d+\/mymaster, with the name of its master/,
    ],
    [
      "a single server at that of Sentinel",
      () => `redis+sentinel://${singleAt()}/mymaster`,
      /([\d.:]+) says .* so it is not a sentinel: use redis:\/\/\1 if it is a single server, redis\+cluster:\/\/ if/,
    ],
    [
      "sentinels that know no such master",
      () => `redis+sentinel://${sentinelAt()}/other`,
      /the sentinel at [\d.:]+ does not know this name, but mymaster$/,
    ],
  ];
  for (const [what, url, expected] of cases) {
    it(`name the URL that is right for ${what}`, async () => {
      const messages = await failures({ url: url() });
      assert.ok(messages.length > 0);
      for (const message of messages) assert.match(message, expected);
    });
  }
});

describe("a Sentinel", () => {
  let behind: RedisServer;
  before(async () => {
    behind = await startRedis();
  });
  after(() => behind?.stop());

  for (const databases of ["auto", "prefixed"] as const) {
    it(`is named as what may answer, with databases ${databases}`, async () => {
      const proxy = await startProxy(behind.port);
      const name = databases === "auto" ? "SELECT" : "EVAL";
      await proxy.set({ replace: `-ERR unknown command '${name}', with args beginning with: 'S3CRET' \r\n` });
      const messages = await failures({ url: `redis://127.0.0.1:${proxy.port}`, databases });
      await proxy.stop();
      assert.ok(messages.length > 0);
      for (const message of messages) {
        assert.match(
          message,
          /if a Sentinel answers here, use redis\+sentinel:\/\/127\.0\.0\.1:\d+\/mymaster, with the name/,
        );
        assert.doesNotMatch(message, /S3CRET/);
      }
    });
  }
});

describe("nodeRedis refuses a ready client", () => {
  const seeds = { rootNodes: [{ url: "redis://127.0.0.1:1" }] };
  const sentinel = { name: "main", sentinelRootNodes: [{ host: "127.0.0.1", port: 1 }] };
  const lazy = { lazyConnect: true, host: "127.0.0.1", port: 1 };
  const given: Readonly<Record<string, [make: () => unknown, named: RegExp]>> = {
    "of ioredis": [() => new Redis(lazy), /a client of ioredis/],
    "of ioredis for a cluster": [() => new Cluster([lazy], { lazyConnect: true }), /a client of ioredis/],
    "of node-redis 4 for a cluster": [() => createCluster(seeds), /a cluster client of node-redis/],
    "of node-redis 5 for a cluster": [() => createCluster5(seeds), /a cluster client of node-redis/],
    "of node-redis 6 for a cluster": [() => createCluster6(seeds), /a cluster client of node-redis/],
    "of node-redis 5 for Sentinel": [() => createSentinel5(sentinel), /a Sentinel client of node-redis/],
    "that is a pool": [() => createPool5(), /a pool of clients of node-redis/],
    "that is something else": [() => new Map(), /an object of type Map/],
  };
  for (const [name, [make, named]] of Object.entries(given)) {
    it(`${name}, and names it`, () => {
      assert.throws(
        () => nodeRedis({ client: make() as NonNullable<NodeRedisOptions["client"]> }),
        (error) => {
          assert.ok(error instanceof TypeError);
          assert.match(error.message, named);
          assert.match(error.message, /expected a client of node-redis 4, 5 or 6 for a single server/);
          assert.doesNotMatch(error.message, /S3CRET/);
          return true;
        },
      );
    });
  }
});
