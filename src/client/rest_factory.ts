import { loadDriver } from "../base/foreign_error.ts";
import type { Config } from "../config/options.ts";
import type { DriverFactory } from "./driver_factory.ts";

/** Upstash over REST; its code is loaded when it is first used. Builds for the edge contain it instead. */
export const restFactory: DriverFactory = {
  numbered: false,
  async open(config) {
    const { upstash } = await loadDriver("upstash", () => import("../../drivers/upstash.ts"));
    return upstash((config as Extract<Config, { driver: "upstash" }>).upstash);
  },
};
