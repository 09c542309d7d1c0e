/**
 * Near caches, an option of clients of the core. The other clients include them.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder/core";
 * import { memory } from "@foodfast/larder/drivers/memory";
 * import { nearCache } from "@foodfast/larder/near-cache";
 *
 * await using client = createCacheClient({ driver: memory(), nearCache, near: { ttl: "5s" } });
 * const cache = client.cache<string>();
 * await cache.set("dish", "pho");
 * await cache.get("dish"); // keeps it
 * console.log(await cache.get("dish"), cache.stats().nearHits); // "pho" 1
 * ```
 *
 * @module
 */
import type { NearSetup } from "./near_cache.ts";
import { trackedNearCache } from "./near_tracking.ts";

/**
 * Makes near caches: the option `nearCache` of clients of the core, which call it.
 *
 * @param setup The cache or collection that the near cache belongs to.
 * @returns The near cache.
 */
export function nearCache(setup: never): object {
  return trackedNearCache(setup as NearSetup);
}
