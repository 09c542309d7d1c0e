import type { Reply } from "../drivers/driver.ts";
import {
  type Cache,
  checkValue,
  contextOf,
  failed,
  readValue,
  throws,
  timeoutOf,
  ttlOf,
  type WriteOptions,
} from "./cache.ts";
import { encode } from "./codec.ts";
import { CacheConflictError } from "./errors.ts";
import type { Id } from "./keyspace.ts";
import { compareAndSet } from "./scripts.ts";

/** Options of {@linkcode update}. */
export interface UpdateOptions extends WriteOptions {
  /** How often the change may begin anew before it is given up. @default 10 */
  readonly attempts?: number;
}

/**
 * Reads, changes and writes a value atomically: the write takes place only when nobody else wrote in between, else it all
 * begins anew with what stands there then.
 *
 * @param cache The cache or collection.
 * @param id The key or id.
 * @param change Gives the new value for the current one (`undefined` for a miss); may run several times. `undefined` changes nothing.
 * @param options TTL, deadline of each step, error handling, and `attempts`.
 * @returns The value that stands there now; `undefined` when the store is away.
 * @throws {CacheConflictError} When other writers were faster every time.
 */
export async function update<K extends Id, Out, In>(
  cache: Cache<K, Out, In>,
  id: K,
  change: (current: Out | undefined) => In | undefined | Promise<In | undefined>,
  options?: UpdateOptions,
): Promise<Out | In | undefined> {
  const context = contextOf(cache);
  const { space, shape, batch, counters, target } = context;
  const logical = shape.encode(id);
  const ttl = ttlOf(context, options) ?? 0;
  const timeout = timeoutOf(context, options);
  const { attempts = 10 } = options ?? {};
  for (let attempt = 0; attempt < attempts; attempt++) {
    let text: Reply;
    try {
      text = await batch.get(space.key(logical), timeout);
    } catch (error) {
      return failed(context, "update", error, options);
    }
    const current = text === null ? undefined : ((await readValue(context, logical, text)) as Out | undefined);
    const next = await change(current);
    if (next === undefined) return current;
    const pending = checkValue(context, next);
    if (pending) await pending;
    const args = [text === null ? "0" : "1", String(text ?? ""), encode(next), ttl];
    try {
      if ((await cache.run(compareAndSet, id, args, options)) === 1) {
        counters.writes++;
        return next;
      }
    } catch (error) {
      if (throws(context, options)) throw error;
      return undefined;
    }
    if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * 2 ** Math.min(attempt, 6)));
  }
  const { service, collection } = target;
  throw new CacheConflictError(`cannot update ${service}.${collection}: other writers were faster ${attempts} times`);
}
