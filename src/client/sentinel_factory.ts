import { loadDriver } from "../base/foreign_error.ts";
import type { Config } from "../config/options.ts";
import type { DriverFactory } from "./driver_factory.ts";

/** The master that sentinels watch; its driver is loaded when it is first used. Builds for the edge leave this out. */
export const sentinelFactory: DriverFactory = {
  numbered: true,
  async open(config) {
    const { redis, sentinel: watchers } = config as Extract<Config, { driver: "sentinel" }>;
    const { sentinel } = await loadDriver("sentinel", () => import("../../drivers/sentinel.ts"));
    const { poolSize, ...login } = redis;
    const { username, password, tls, ...where } = watchers;
    return sentinel({
      ...login,
      ...where,
      ...(username !== undefined && { sentinelUsername: username }),
      ...(password !== undefined && { sentinelPassword: password }),
      sentinelTls: tls,
      pool: { size: poolSize },
    });
  },
};
