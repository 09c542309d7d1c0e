import { memory } from "../../drivers/memory.ts";
import type { Config } from "../config/options.ts";
import type { DriverFactory } from "./driver_factory.ts";

/** The embedded store. */
export const memoryFactory: DriverFactory = {
  numbered: true,
  open: (config, { clock }) => {
    const { memory: bounds } = config as Extract<Config, { driver: "memory" }>;
    return memory({ ...bounds, ...(clock && { clock }) });
  },
};
