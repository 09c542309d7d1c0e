import { invalid } from "../base/check.ts";
import { encodeTag } from "../entry/keyspace.ts";
import { type CallOptions, settle, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";

/** Options of invalidations. */
export interface InvalidateOptions extends CallOptions {
  /**
   * `"replicas"` also waits until a replica of each master has the invalidation, which then outlives the death of a
   * master's machine. Needs a driver with TCP connections, and replicas. @default the masters alone
   */
  readonly confirm?: "replicas";
}

/** Makes every entry with one of the tags a miss: see {@linkcode Cache.invalidateTags}. */
export async function invalidateTags(
  context: CacheContext,
  tags: string | readonly string[],
  options: InvalidateOptions | undefined,
): Promise<boolean> {
  // Otherwise the second of several tags would be taken as the options.
  if (typeof options === "string" || Array.isArray(options)) {
    throw invalid("invalidate tags", options, "a tag or a list of tags, then options");
  }
  const list: readonly string[] = Array.isArray(tags) ? tags : [tags];
  return list.length === 0 || invalidateEntries(context, list, options);
}

/**
 * Moves the epochs of a keyspace's shards on.
 *
 * @param context The parts of the cache.
 * @param tags The tags whose entries become misses; `undefined` for all entries.
 * @param options Deadline and error handling.
 * @returns Whether the store confirmed it for all shards.
 */
export async function invalidateEntries(
  context: CacheContext,
  tags: readonly string[] | undefined,
  options: InvalidateOptions | undefined,
): Promise<boolean> {
  const { batch, invalidator, loads, nears, space, events, target } = context;
  const names = tags?.map(encodeTag);
  const timeout = timeoutOf(context, options);
  const { confirm } = options ?? {};
  if (confirm !== undefined) {
    if (!invalidator) throw invalid("confirm an invalidation", confirm, "a client for servers");
    await invalidator.admit(confirm);
  }
  loads.supersedeAll(space, names);
  const moves = space.shards.map(async (shard) => {
    const moved = invalidator?.run(batch, shard, names, timeout) ?? shard.invalidate(batch, names, timeout);
    shard.noteEpoch(await moved);
  });
  // No number of one shard is compared with one of another, so each is on its own. The promise is that of all.
  let sent: Promise<unknown> = Promise.all(moves);
  if (confirm && invalidator) sent = invalidator.confirm(sent, space.shards, names, timeout);
  if (!(await settle(context, "invalidate", sent, options))) return false;
  // A near cache may have kept an old value in between.
  nears.invalidate(space, names);
  events.emit({ type: "invalidate", service: target.service, ...(tags && { tags }) });
  return true;
}
