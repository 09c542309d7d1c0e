/**
 * Locks, an option of clients of the core. The other clients include them.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder/core";
 * import { memory } from "@foodfast/larder/drivers/memory";
 * import { locks } from "@foodfast/larder/locks";
 *
 * await using client = createCacheClient({ driver: memory(), locks });
 * const dish = await client.cache().withLock("menu", () => "pho");
 * console.log(dish); // "pho"
 * ```
 *
 * @module
 */
import { awaitTurn } from "./load_lock.ts";
import { withLock } from "./with_lock.ts";

/**
 * Takes locks: the option `locks` of clients of the core, which call it.
 *
 * @returns The functions that take them.
 */
export function locks(): object {
  return { awaitTurn, withLock };
}
