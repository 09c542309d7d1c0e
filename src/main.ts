/** The entry for servers, with every driver. */

import type { CacheClient } from "./client/client.ts";
import { clusterFactory } from "./client/cluster_factory.ts";
import { entryPoint } from "./client/entry_point.ts";
import { memoryFactory } from "./client/memory_factory.ts";
import { restFactory } from "./client/rest_factory.ts";
import { sentinelFactory } from "./client/sentinel_factory.ts";
import { serverParts } from "./client/server_parts.ts";
import { tcpFactory } from "./client/tcp_factory.ts";
import type { ClientOptions } from "./client/types.ts";
import { readEnvironment } from "./runtime/environment.ts";
import type { FoodFastServices } from "./services/all.ts";
import type { ServiceOf } from "./services/service.ts";

const factories = {
  memory: memoryFactory,
  "node-redis": tcpFactory,
  cluster: clusterFactory,
  sentinel: sentinelFactory,
  upstash: restFactory,
};
const main = entryPoint(factories, readEnvironment, serverParts);

/**
 * Makes a client. Options beat the environment, which beats `.env.cache`. With nothing set it holds everything in
 * memory. No I/O takes place before the first operation.
 *
 * @param options The options, each with its variable.
 * @returns The client.
 * @throws {CacheConfigError} With every problem of the configuration.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 *
 * await using client = createCacheClient({ driver: "memory", prefix: "shop" });
 * const product = client.service("product");
 * await product.products.set(123, { id: 123, name: "Pho", price: 9.5 }, { ttl: "1h" });
 * console.log((await product.products.get(123))?.name); // "Pho"
 * ```
 */
export const createCacheClient: (options?: ClientOptions) => CacheClient = main.createCacheClient;

/**
 * Returns the client that this process shares. It is made from the environment on the first call, and again after it
 * was closed. Modules that are evaluated more than once get the same one, as do several copies of this
 * package: hot reload and the layers of Next.js open no further connections.
 *
 * @returns The client.
 * @throws {CacheConfigError} With every problem of the configuration.
 */
export const getCacheClient: () => CacheClient = main.getCacheClient;

/**
 * Returns a Food Fast service on the shared client.
 *
 * @param name The service's name, such as `"product"`.
 * @returns The service.
 * @throws {CacheConfigError} With every problem of the configuration.
 * @throws {TypeError} For an unknown name.
 *
 * @example
 * ```ts
 * import { getCacheClient, getCacheService } from "@foodfast/larder";
 *
 * const auth = getCacheService("auth");
 * const { count } = await auth.incrementRateLimit("api:203.0.113.7");
 * console.log(count >= 1); // true
 * await getCacheClient().close();
 * ```
 */
export const getCacheService: <N extends keyof FoodFastServices>(name: N) => ServiceOf<FoodFastServices[N]> =
  main.getCacheService;
