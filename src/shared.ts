import { CacheClient, type ClientOptions, type Wires } from "./client.ts";
import type { ServiceOf } from "./service.ts";
import { type FoodFastServices, services } from "./services/mod.ts";

/** A client that knows the services of Food Fast by name. */
export type FoodFastClient = CacheClient<FoodFastServices>;

/** What `mod.ts` and the edge build give, each with its own wires. */
export interface Entry {
  createCacheClient(options?: ClientOptions): FoodFastClient;
  getCacheClient(): FoodFastClient;
  getCacheService<N extends keyof FoodFastServices>(name: N): ServiceOf<FoodFastServices[N]>;
}

/**
 * Makes the entry functions over the wires of a build.
 *
 * @param wires The wires that can be opened by name.
 * @returns The functions.
 */
export function entry(wires: Wires): Entry {
  let shared: FoodFastClient | undefined;
  const createCacheClient = (options: ClientOptions = {}): FoodFastClient => new CacheClient(options, wires, services);
  const getCacheClient = (): FoodFastClient => {
    if (!shared || shared.closed) shared = createCacheClient();
    return shared;
  };
  return { createCacheClient, getCacheClient, getCacheService: (name) => getCacheClient().service(name) };
}
