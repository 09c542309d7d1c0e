import {
  memoryStore,
  prefixedStore,
  redisStore,
  runContract,
  sentinelStore,
  sharded,
  upstashStore,
} from "./helpers/contract_stores.ts";

function prefixed(start: () => Promise<{ open(): unknown; close?(): Promise<void> }>) {
  return async () => {
    const store = await start();
    return { ...store, open: async () => ({ ...((await store.open()) as object), databases: "prefixed" as const }) };
  };
}

runContract("memory, numbered", async () => memoryStore());
runContract(
  "memory, prefixed",
  prefixed(async () => memoryStore()),
);
runContract("memory, 4 shards", () => sharded(memoryStore));
runContract("redis by TCP, numbered", redisStore);
runContract("redis by TCP, 4 shards", () => sharded(redisStore));
runContract("redis by TCP, prefixed", prefixed(redisStore));
runContract("redis by TCP, prefixed, as a user of one prefix", prefixedStore);
runContract("the master of sentinels, numbered", sentinelStore);
runContract("upstash through the bridge over redis", () => upstashStore("redis"));
runContract("upstash through the bridge over memory", () => upstashStore("memory"));
