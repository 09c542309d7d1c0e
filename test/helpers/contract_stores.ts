import { after, before, describe, it } from "node:test";
import { memory } from "../../drivers/memory.ts";
import { nodeRedis } from "../../drivers/node_redis.ts";
import { sentinel } from "../../drivers/sentinel.ts";
import { type CacheClient, type ClientOptions, createCacheClient, type Driver } from "../../mod.ts";
import { bridge } from "../../src/bridge/bridge.ts";
import type { Listener } from "../../src/runtime/listen.ts";
import { contract } from "../contract_cases.ts";
import { startCluster } from "./redis_cluster.ts";
import { startSentinels } from "./redis_sentinel.ts";
import { type RedisServer, rawCommand, startRedis } from "./redis_server.ts";
import { serve } from "./serve.ts";

/** Where the contract runs: `open` answers the options of a client on a store of its own for the case. */
export interface ContractStore {
  open(): Promise<ClientOptions> | ClientOptions;
  close?(): Promise<void>;
}

/**
 * Runs every case of the contract on one wire.
 *
 * @param name The wire and mode, for the tests' names.
 * @param start Starts what all cases need.
 */
export function runContract(name: string, start: () => Promise<ContractStore>): void {
  describe(`contract on ${name}`, () => {
    let store: ContractStore;
    before(async () => {
      store = await start();
    });
    after(() => store?.close?.());
    for (const { name: title, run } of contract) {
      it(title, async () => {
        const options = await store.open();
        await run({
          make: (more): CacheClient => createCacheClient({ env: {}, timeout: 5000, ...options, ...more }),
        });
      });
    }
  });
}

/** Memory: a driver that the clients of a case share, and that outlives them. */
export function memoryStore(): ContractStore {
  return { open: () => ({ driver: memory() }) };
}

/** A store whose keys are spread over four shards. */
export async function sharded(start: () => ContractStore | Promise<ContractStore>): Promise<ContractStore> {
  const store = await start();
  return { ...store, open: async () => ({ ...(await store.open()), cluster: { shards: 4 } }) };
}

/** A real Redis over TCP, emptied before each case. */
export async function redisStore(): Promise<ContractStore> {
  const redis = await startRedis();
  return {
    async open() {
      await flush(redis);
      return { url: redis.url };
    },
    close: () => redis.stop(),
  };
}

/** The master that sentinels name, emptied before each case. */
export async function sentinelStore(): Promise<ContractStore> {
  // Without a failover of their own when the machine is busy.
  const servers = await startSentinels({ downAfter: 60_000 });
  const [master] = servers.nodes;
  return {
    async open() {
      await master?.say("FLUSHALL");
      return { driver: sentinel({ sentinels: servers.addresses, name: servers.name }) };
    },
    close: () => servers.stop(),
  };
}

/**
 * A real Redis without databases, as a user who may touch no key but those under its prefix, and the prefixes of one
 * case.
 */
export async function prefixedStore(): Promise<ContractStore> {
  const redis = await startRedis();
  const patterns = ["~shop:*", "~t*", "~db1:*", "~\\\\t:*"];
  await rawCommand(redis.port, ["ACL", "SETUSER", "shop", "on", ">pw", ...patterns, "&*", "+@all"]);
  return {
    async open() {
      await flush(redis);
      return { url: redis.url, username: "shop", password: "pw", prefix: "shop", databases: "prefixed" };
    },
    close: () => redis.stop(),
  };
}

/** Upstash through the bridge, over a real Redis or over memory. */
export async function upstashStore(over: "redis" | "memory"): Promise<ContractStore> {
  const token = "test-token";
  const redis = over === "redis" ? await startRedis() : undefined;
  let behind: Driver | undefined;
  let server: Listener | undefined;
  const stop = async (): Promise<void> => {
    await server?.close();
    await behind?.close();
    server = behind = undefined;
  };
  return {
    async open() {
      await stop();
      if (redis) await flush(redis);
      behind = redis ? nodeRedis({ url: redis.url }) : memory();
      server = await serve(bridge({ driver: behind, token }));
      return { driver: "upstash", url: server.url, token };
    },
    async close() {
      await stop();
      await redis?.stop();
    },
  };
}

/** A real cluster of three masters, emptied before each case. */
export async function clusterStore(): Promise<ContractStore> {
  const servers = await startCluster();
  return {
    async open() {
      await servers.flush();
      return { driver: "cluster", cluster: { nodes: servers.addresses } };
    },
    close: () => servers.stop(),
  };
}

async function flush(redis: RedisServer): Promise<void> {
  const driver = nodeRedis({ url: redis.url });
  await driver.send(0, [["FLUSHALL"]]);
  await driver.close();
}
