import type { Driver } from "../../drivers/driver.ts";
import { readAddressAtEdge } from "../base/address.ts";
import { invalidType } from "../base/check.ts";
import { Fleet } from "../cache/fleet.ts";
import { rateLimits } from "../cache/rate_limits.ts";
import type { AddressReaders } from "../config/settings.ts";
import { sealing } from "../entry/seal.ts";
import { shards } from "../entry/shards.ts";
import { NearCache } from "../near/near_cache.ts";
import { type FoodFastServices, services } from "../services/all.ts";
import { SERVICE_NAMES } from "../services/databases.ts";
import type { ServiceOf } from "../services/service.ts";
import { listenerOf, warnOnce } from "../telemetry/logger.ts";
import { CacheClient } from "./client.ts";
import type { DriverFactories } from "./driver_factory.ts";
import { EnvironmentConfigurations, type ReadEnvironment } from "./environment_configurations.ts";
import type { ServerParts } from "./server_parts.ts";
import type { ClientOptions } from "./types.ts";

// Last, because the scripts of entries and of rate limits compress better next to each other.

import { locks } from "../cache/locks.ts";

/** Copies of the package with the same number share a client. A change that breaks its callers raises the number. */
const COMPATIBLE = 2;

/** The readers of addresses without TCP. A host is that of a TCP store, whose driver is refused. */
const AT_EDGE: AddressReaders = { url: readAddressAtEdge, host: String, nodes: () => [] };

/** The functions of `mod.ts` and of the edge build, each with its own drivers. */
export interface EntryPoint {
  /** Makes a client. */
  createCacheClient(options?: ClientOptions): CacheClient;
  /** Returns the client that all copies of the package in this process share. */
  getCacheClient(): CacheClient;
  /** Returns a service on the shared client. */
  getCacheService<N extends keyof FoodFastServices>(name: N): ServiceOf<FoodFastServices[N]>;
}

/**
 * Makes the entry functions of a build.
 *
 * @param factories The drivers that can be opened by name.
 * @param readEnvironment Reads what the runtime has of variables and files.
 * @param parts The parts that only builds for servers have.
 * @returns The functions.
 */
export function entryPoint(
  factories: DriverFactories,
  readEnvironment: ReadEnvironment,
  { addresses = AT_EDGE, ...parts }: Partial<ServerParts> = {},
): EntryPoint {
  // On globalThis, because hot reload and bundlers make several copies of this module. Each build has its own client.
  const key = Symbol.for(`@foodfast/larder client ${COMPATIBLE} ${Object.keys(factories)}`);
  const copies = globalThis as { [key: symbol]: CacheClient | undefined };
  const kept = new Map<string, Driver | Promise<Driver>>();
  const createCacheClient = (options: ClientOptions = {}): CacheClient => {
    if (typeof options !== "object" || options === null) {
      throw invalidType("set the options of a client", options, 'an object such as { url: "redis://localhost:6379" }');
    }
    return new CacheClient({
      hooks: options,
      services,
      rateLimits,
      locks,
      fleetCounts: () => new Fleet(),
      shards: (database, prefix, config) => (config.shards ? shards(config.shards)(database, prefix) : undefined),
      nearCache: (setup) => new NearCache(setup),
      ...parts,
      sealing,
      listener: listenerOf(options.logger),
      warn: (message) => warnOnce(options.logger, message),
      reserved: SERVICE_NAMES,
      configurations: new EnvironmentConfigurations(options, factories, kept, readEnvironment, addresses),
    });
  };
  const getCacheClient = (): CacheClient => {
    let client = copies[key];
    if (!client || client.closed) {
      client = createCacheClient();
      copies[key] = client;
    }
    return client;
  };
  return { createCacheClient, getCacheClient, getCacheService: (name) => getCacheClient().service(name) };
}
