import { invalid } from "../base/check.ts";
import { encodeTag } from "../entry/keyspace.ts";
import { EVERYTHING, invalidate as script } from "../lua/entries.ts";
import { type CallOptions, settle, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";

/** Makes every entry with one of the tags a miss: see {@linkcode Cache.invalidateTags}. */
export async function invalidateTags(
  context: CacheContext,
  tags: string | readonly string[],
  options: CallOptions | undefined,
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
  options: CallOptions | undefined,
): Promise<boolean> {
  const { batch, loads, nears, space, events, target } = context;
  const names = tags?.map(encodeTag);
  loads.supersedeAll(space, names);
  const timeout = timeoutOf(context, options);
  const sent = space.shards.map(async (shard) => {
    if (!names) shard.forgetEpoch();
    const marks = (names ?? [EVERYTHING]).map((name) => shard.marksPrefix + name);
    const args = names ? [] : [EVERYTHING];
    const reply = batch.run(script, [shard.epochKey], args, timeout, true, marks);
    shard.noteEpoch(await (space.byKey?.(batch, reply, shard, marks, args, timeout) ?? reply));
  });
  // No number of one shard is compared with one of another, so each is on its own. The promise is that of all.
  if (!(await settle(context, "invalidate", Promise.all(sent), options))) return false;
  // A near cache may have kept an old value in between.
  nears.invalidate(space, names);
  events.emit({ type: "invalidate", service: target.service, ...(tags && { tags }) });
  return true;
}
