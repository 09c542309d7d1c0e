/**
 * The entry for Workers and edge functions: the names of `mod.ts`, without the TCP client.
 *
 * @module
 */

import type { CacheClient } from "./client/client.ts";
import { memoryFactory, upstashFactory } from "./client/driver_factories.ts";
import { entryPoint } from "./client/entry_point.ts";
import type { ClientOptions } from "./client/types.ts";
import type { FoodFastServices } from "./services/all.ts";
import type { ServiceOf } from "./services/service.ts";

// A client lives as long as its request there; the embedded store lives as long as the isolate.
const edge = entryPoint({ memory: { ...memoryFactory, kept: true }, upstash: upstashFactory });

/** As in `mod.ts`; the drivers are memory and upstash. */
export const createCacheClient: (options?: ClientOptions) => CacheClient = edge.createCacheClient;
/** As in `mod.ts`. */
export const getCacheClient: () => CacheClient = edge.getCacheClient;
/** As in `mod.ts`. */
export const getCacheService: <N extends keyof FoodFastServices>(name: N) => ServiceOf<FoodFastServices[N]> =
  edge.getCacheService;

export * from "./client/public.ts";
