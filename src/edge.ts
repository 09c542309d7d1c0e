/**
 * The entry for Workers and edge functions: the names of `mod.ts`, without the TCP client.
 *
 * @module
 */

import { upstash } from "../drivers/upstash.ts";
import type { CacheClient } from "./client/client.ts";
import type { DriverFactory } from "./client/driver_factory.ts";
import { entryPoint } from "./client/entry_point.ts";
import { memoryFactory } from "./client/memory_factory.ts";
import type { ClientOptions } from "./client/types.ts";
import type { Config } from "./config/options.ts";
import { readVariables } from "./runtime/environment.ts";
import type { FoodFastServices } from "./services/all.ts";
import type { ServiceOf } from "./services/service.ts";

const upstashFactory: DriverFactory = {
  numbered: false,
  open: (config) => upstash((config as Extract<Config, { driver: "upstash" }>).upstash),
};

// A client lives as long as its request there; the embedded store lives as long as the isolate. There are no files.
const factories = { memory: { ...memoryFactory, kept: true }, upstash: upstashFactory };
const edge = entryPoint(factories, ({ names }) => readVariables(names));

/** As in `mod.ts`; the drivers are memory and upstash. */
export const createCacheClient: (options?: ClientOptions) => CacheClient = edge.createCacheClient;
/** As in `mod.ts`. */
export const getCacheClient: () => CacheClient = edge.getCacheClient;
/** As in `mod.ts`. */
export const getCacheService: <N extends keyof FoodFastServices>(name: N) => ServiceOf<FoodFastServices[N]> =
  edge.getCacheService;

export * from "./client/public.ts";
