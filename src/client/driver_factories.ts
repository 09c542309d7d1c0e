import { memory } from "../../drivers/memory.ts";
import { loadDriver } from "../base/foreign_error.ts";
import type { Config } from "../config/options.ts";
import type { DriverFactory } from "./driver_factory.ts";

type ConfigOf<Name extends Config["driver"]> = Extract<Config, { driver: Name }>;

/** The embedded store. */
export const memoryFactory: DriverFactory = {
  numbered: true,
  open: (config, { clock }) => memory({ ...(config as ConfigOf<"memory">).memory, ...(clock && { clock }) }),
};

/** Upstash over REST; its code is loaded when it is first used. */
export const upstashFactory: DriverFactory = {
  numbered: false,
  async open(config) {
    const { upstash } = await loadDriver("upstash", () => import("../../drivers/upstash.ts"));
    return upstash((config as ConfigOf<"upstash">).upstash);
  },
};
