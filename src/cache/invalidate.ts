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
 * Moves the keyspace's epoch on.
 *
 * @param context The parts of the cache.
 * @param tags The tags whose entries become misses; `undefined` for all entries.
 * @param options Deadline and error handling.
 * @returns Whether the store confirmed it.
 */
export async function invalidateEntries(
  context: CacheContext,
  tags: readonly string[] | undefined,
  options: CallOptions | undefined,
): Promise<boolean> {
  const { batch, loads, nears, space, events, target } = context;
  const names = tags?.map(encodeTag);
  loads.supersedeAll(space, names);
  if (!names) space.forgetEpoch();
  const args = [space.marksPrefix, ...(names ?? [EVERYTHING])];
  const sent = batch.run(script, [space.epochKey], args, timeoutOf(context, options), true);
  const epoch = await settle(context, "invalidate", sent, options);
  if (epoch === undefined) return false;
  space.noteEpoch(epoch);
  // A near cache may have kept an old value in between.
  nears.invalidate(space, names);
  events.emit({ type: "invalidate", service: target.service, ...(tags && { tags }) });
  return true;
}
