import { isOwnKey } from "../base/own_keys.ts";
import { isStoreError } from "../base/store_error.ts";
import { type DecodedId, rawKeys } from "../entry/keyspace.ts";
import { type CallOptions, reportFailure, throws, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";
import { invalidateEntries } from "./invalidate.ts";
import { peekHead } from "./read.ts";
import { unlink } from "./unlink.ts";

/** The number of keys that a SCAN step looks at. */
const SCAN_COUNT = 1000;

/** Yields pages of the logical keys that match a pattern. Pages may be empty, and keys may come twice. */
async function* scan(
  context: CacheContext,
  operation: string,
  pattern: string,
  options: CallOptions | undefined,
): AsyncGenerator<string[]> {
  const { batch, space, shape } = context;
  const { glob, test } = shape.match(pattern);
  const timeout = timeoutOf(context, options);
  let cursor = "0";
  do {
    let page: readonly string[];
    try {
      const command = ["SCAN", cursor, "MATCH", space.match(glob), "COUNT", SCAN_COUNT] as const;
      [cursor, page] = (await batch.send(command, [], timeout, true)) as unknown as [string, string[]];
    } catch (error) {
      reportFailure(context, operation, error, options);
      return;
    }
    yield page.map((key) => space.strip(key)).filter((key) => !isOwnKey(key) && (!test || test(shape.decode(key))));
  } while (cursor !== "0");
}

/** Yields the keys, or a collection's ids, each once: see {@linkcode Cache.keys}. */
export async function* scanKeys(
  context: CacheContext,
  pattern: string,
  options: CallOptions | undefined,
): AsyncGenerator<DecodedId, void, undefined> {
  const { shape } = context;
  const seen = new Set<string>();
  for await (const page of scan(context, "keys", pattern, options)) {
    const fresh = page.filter((key) => !seen.has(key));
    for (const key of fresh) seen.add(key);
    // A key that `get` would not return is left out.
    const heads = await Promise.all(fresh.map((key) => peekHead(context, key, "keys", options)));
    for (const { key, state, document } of heads) {
      if (state === "fresh" && document?.none === undefined) yield shape.decode(key);
    }
  }
}

/** Deletes the keys that match a glob: see {@linkcode Cache.deletePattern}. */
export async function deletePattern(
  context: CacheContext,
  pattern: string,
  options: CallOptions | undefined,
): Promise<number> {
  const { loads, space, shape } = context;
  // A bad pattern must be refused before anything happens.
  shape.match(pattern);
  loads.supersedeAll(space);
  let count = 0;
  let unlinking: Promise<number> | undefined;
  for await (const page of scan(context, "deletePattern", pattern, options)) {
    count += (await unlinking) ?? 0;
    // Not awaited here, so that the next SCAN and this UNLINK leave in one send.
    unlinking = page.length > 0 ? unlink(context, "deletePattern", page, options) : undefined;
    unlinking?.catch(() => {});
  }
  return count + ((await unlinking) ?? 0);
}

/** Deletes every key of a cache or collection: see {@linkcode Cache.clear}. */
export async function clearAll(context: CacheContext, options: CallOptions | undefined): Promise<number> {
  timeoutOf(context, options);
  let refused: unknown;
  if (context.shape === rawKeys) {
    try {
      await invalidateEntries(context, undefined, { ...options, onError: "throw" });
    } catch (error) {
      refused = error;
      // A store that refuses this step to this user may still delete.
      if (!isStoreError(error) || (error.kind !== "command" && error.code !== "NOPERM")) {
        if (throws(context, options)) throw error;
        return 0;
      }
    }
  }
  const count = await deletePattern(context, "*", options);
  if (refused && throws(context, options)) throw refused;
  return count;
}
