/** One real Redis, over both wires. */
import { nodeRedis } from "../../drivers/node_redis.ts";
import type { ClientOptions } from "../../mod.ts";
import { bridge } from "../../src/bridge/bridge.ts";
import { type RedisServer, rawCommand, startRedis } from "../../test/helpers/redis_server.ts";
import { serve } from "../../test/helpers/serve.ts";

/** A way to the Redis. */
export interface Wire {
  readonly name: "TCP" | "REST";
  /** The options of a client, as plain JSON for a child process. */
  readonly options: ClientOptions;
}

/** A Redis and the ways to it. */
export interface Wires {
  readonly redis: RedisServer;
  readonly wires: readonly Wire[];
  /** Empties the Redis. */
  flush(): Promise<unknown>;
  close(): Promise<void>;
}

/** Starts a Redis, and in front of it a server of Upstash's REST API. */
export async function openWires(): Promise<Wires> {
  const redis = await startRedis();
  const driver = nodeRedis({ url: redis.url });
  const token = "bench-token";
  const server = await serve(bridge({ driver, token }));
  const common: ClientOptions = { env: {}, timeout: 10_000 };
  return {
    redis,
    wires: [
      { name: "TCP", options: { ...common, url: redis.url } },
      { name: "REST", options: { ...common, driver: "upstash", url: server.url, token } },
    ],
    flush: () => rawCommand(redis.port, ["FLUSHALL"]),
    async close() {
      await server.close();
      await driver.close();
      await redis.stop();
    },
  };
}
