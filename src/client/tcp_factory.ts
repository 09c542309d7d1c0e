import { loadDriver } from "../base/foreign_error.ts";
import type { Config } from "../config/options.ts";
import type { DriverFactory } from "./driver_factory.ts";

/** Redis over TCP; node-redis is loaded when it is first used. Builds for the edge leave this file out. */
export const tcpFactory: DriverFactory = {
  numbered: true,
  async open(config) {
    const { redis } = config as Extract<Config, { driver: "node-redis" }>;
    const { nodeRedis } = await loadDriver("node-redis", () => import("../../drivers/node_redis.ts"));
    const { poolSize, ...where } = redis;
    return nodeRedis({ ...where, pool: { size: poolSize } });
  },
};
