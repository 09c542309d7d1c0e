import { loadDriver } from "../base/foreign_error.ts";
import type { Config } from "../config/options.ts";
import type { DriverFactory } from "./driver_factory.ts";

/** A cluster; its driver is loaded when it is first used. Builds for the edge leave this file out. */
export const clusterFactory: DriverFactory = {
  numbered: "optional",
  async open(config) {
    const { redis, cluster: nodes } = config as Extract<Config, { driver: "cluster" }>;
    const { cluster } = await loadDriver("cluster", () => import("../../drivers/cluster.ts"));
    const { poolSize, ...login } = redis;
    return cluster({ ...login, ...nodes, pool: { size: poolSize } });
  },
};
