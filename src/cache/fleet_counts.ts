/**
 * Counts of all processes together, an option of clients of the core. The other clients include them.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder/core";
 * import { memory } from "@foodfast/larder/drivers/memory";
 * import { fleetCounts } from "@foodfast/larder/fleet-counts";
 *
 * await using client = createCacheClient({ driver: memory(), fleetCounts, fleetStats: true });
 * await client.cache().set("dish", "pho");
 * ```
 *
 * @module
 */
import { Fleet } from "./fleet.ts";

/**
 * Adds the counts of a process to the store's: the option `fleetCounts` of clients of the core, which call it.
 *
 * @returns The part that adds them.
 */
export function fleetCounts(): object {
  return new Fleet();
}
