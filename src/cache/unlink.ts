import { type CallOptions, settle, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";

/**
 * Deletes keys. A load in flight does not bring them back.
 *
 * @param context The parts of the cache.
 * @param operation The operation, for events.
 * @param logical The logical keys.
 * @param options Deadline and error handling.
 * @returns How many existed.
 */
export async function unlink(
  context: CacheContext,
  operation: string,
  logical: readonly string[],
  options: CallOptions | undefined,
): Promise<number> {
  const { batch, loads, nears, space, policy, counters } = context;
  const timeout = timeoutOf(context, options);
  const physical = logical.map((key) => space.key(key));
  for (const key of physical) loads.supersede(key);
  // Without its lock, a load of another process does not bring them back. The locks go first, because the write of
  // such a load may come in between.
  if (policy.lock) {
    const locks = logical.map((key) => space.of(key).lock(key));
    batch.unlink(locks, timeout).catch(() => {});
  }
  const count = (await settle(context, operation, batch.unlink(physical, timeout), options)) ?? 0;
  for (const key of physical) nears.forget(key);
  counters.deletes += count;
  return count;
}
