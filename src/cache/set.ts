import { invalid, invalidType } from "../base/check.ts";
import { isCacheError } from "../base/errors.ts";
import { type EntryOptions, policyOf } from "../config/policy.ts";
import type { Id } from "../entry/keyspace.ts";
import { type CallOptions, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";
import { entryOf } from "./make_entry.ts";
import { start, type Write, write } from "./write.ts";

/** Options of writes. */
export interface WriteOptions extends CallOptions, EntryOptions {}

/** Writes a value: see {@linkcode Cache.set}. */
export function set(
  context: CacheContext,
  id: Id,
  value: unknown,
  options: WriteOptions | undefined,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const key = context.shape.encode(id);
    const timeout = timeoutOf(context, options);
    const policy = policyOf(context.policy, options, true);
    checkStored(value);
    const entry = entryOf(context, id, key, value, policy);
    const request: Write = { key, entry, policy, operation: "set", timeout, options };
    start(context, request, (written) => resolve(written ?? false), reject);
  });
}

/** Writes several values, all of which are made before the first is written: see {@linkcode Cache.setMany}. */
export async function setMany(
  context: CacheContext,
  entries: Iterable<readonly [Id, unknown]>,
  options: WriteOptions | undefined,
): Promise<number> {
  const operation = "setMany";
  const timeout = timeoutOf(context, options);
  const policy = policyOf(context.policy, options, true);
  const writes: Write[] = [];
  if (typeof entries?.[Symbol.iterator] !== "function") {
    throw invalidType("set entries", entries, "a Map, or a list of [id, value]");
  }
  for (const pair of entries) {
    let key: string | undefined;
    try {
      if (!Array.isArray(pair)) throw invalidType("set an entry", pair, "a pair [id, value]");
      const [id, value] = pair;
      key = context.shape.encode(id);
      checkStored(value);
      let entry = entryOf(context, id, key, value, policy);
      if (context.schema && entry instanceof Promise) entry = await entry;
      writes.push({ key, entry, policy, operation, timeout, options });
    } catch (error) {
      throw named(error, `entry ${writes.length} of setMany${key === undefined ? "" : `, ${key}`}`);
    }
  }
  const written = await Promise.all(writes.map((one) => write(context, one)));
  return written.filter(Boolean).length;
}

/** Adds the name of the entry to an error of this library. */
function named(error: unknown, which: string): unknown {
  if (error instanceof TypeError || error instanceof RangeError || isCacheError(error)) error.message += ` (${which})`;
  return error;
}

/** Throws for `undefined`, which means a miss. */
function checkStored(value: unknown): void {
  if (value === undefined) throw invalid("store a value", value, "any other value, because undefined is a miss");
}
