import { needed } from "../base/check.ts";
import type { CallOptions } from "./call.ts";
import type { CacheContext } from "./context.ts";
import type { Fleet, FleetStats } from "./fleet.ts";

/**
 * Reads the counts of all processes, as {@linkcode Fleet.read} does.
 *
 * @throws {TypeError} If the client was not made with the part that does it.
 */
export async function readFleet(
  contexts: readonly CacheContext[],
  options?: CallOptions,
): Promise<FleetStats | undefined> {
  const make = contexts[0]?.fleetCounts as (() => Fleet) | undefined;
  return needed(make, "read fleetStats", "fleetCounts")().read(contexts, options);
}
