import { describe } from "../base/check.ts";
import { isStoreError } from "../base/store_error.ts";
import { parseTimeout, type Timeout, type Ttl } from "../base/ttl.ts";
import type { Signal } from "../base/web_types.ts";
import type { Cache } from "../cache/cache.ts";
import type { Id } from "../entry/keyspace.ts";

/** A value to write. */
export interface WarmItem {
  /** Its id in the collection. */
  readonly id: unknown;
  /** The value. */
  readonly value: unknown;
  /** Its TTL. @default the collection's */
  readonly ttl?: Ttl | undefined;
  /** Tags beside the collection's. */
  readonly tags?: readonly string[] | undefined;
  /** The line of the file that it comes from, to be told with a reject. @default its place in the sequence, from 1 */
  readonly line?: number | undefined;
}

/** Options of {@linkcode warm}. */
export interface WarmOptions {
  /** How many are written at a time, 1 to 10,000. @default 64 */
  readonly concurrency?: number | undefined;
  /** The deadline of a write: milliseconds, or `"10s"`. @default 10_000 */
  readonly timeout?: Timeout | undefined;
  /** Stops it: no further item is begun, and the signal's reason is thrown. */
  readonly signal?: Signal | undefined;
}

/** How far {@linkcode warm} has come. */
export interface WarmProgress {
  /** How many were written. */
  readonly written: number;
  /** How many were rejected. */
  readonly rejected: number;
  /** What was rejected since the last progress. */
  readonly rejects: readonly WarmReject[];
  /** Whether this is the end. */
  readonly done: boolean;
}

/** An item that was not written. */
export interface WarmReject {
  /** Its line. */
  readonly line: number;
  /** Why: what the schema says, or what the collection does not take. No values. */
  readonly error: Error;
}

/**
 * Writes values through a collection, so that its schema, TTL and tags apply.
 *
 * @param collection The collection, such as `client.service("product").products`.
 * @param items The values.
 * @param options How many at a time.
 * @returns How far it has come.
 * @throws {StoreError} When the store is away.
 * @throws {Error} What `items` throws.
 */
export async function* warm(
  collection: Pick<Cache<Id>, "set">,
  items: AsyncIterable<WarmItem> | Iterable<WarmItem>,
  options: WarmOptions = {},
): AsyncGenerator<WarmProgress, void, void> {
  const { concurrency = 64, signal } = options;
  const timeout = parseTimeout(options.timeout ?? 10_000, "timeout");
  if (!(Number.isInteger(concurrency) && concurrency >= 1 && concurrency <= 10_000)) {
    throw new RangeError(`cannot use concurrency ${describe(concurrency)}: accepted are 1 to 10000`);
  }
  let written = 0;
  let rejected = 0;
  let line = 0;
  const write = async (items: readonly WarmItem[]): Promise<WarmProgress> => {
    const from = line - items.length;
    const rejects: WarmReject[] = [];
    // All in one tick: they leave together.
    const settled = await Promise.allSettled(items.map((item) => put(collection, item, timeout)));
    let away: unknown;
    settled.forEach((result, i) => {
      if (result.status === "fulfilled") written++;
      else if (isStoreError(result.reason)) away ??= result.reason;
      else rejects.push({ line: items[i]?.line ?? from + i + 1, error: result.reason });
    });
    rejected += rejects.length;
    if (away) throw away;
    return { written, rejected, rejects, done: false };
  };
  let batch: WarmItem[] = [];
  signal?.throwIfAborted();
  try {
    for await (const item of items) {
      signal?.throwIfAborted();
      line++;
      if (batch.push(item) < concurrency) continue;
      const full = batch;
      batch = [];
      yield await write(full);
      signal?.throwIfAborted();
    }
  } catch (error) {
    // What came before a source that fails is written; a store that fails, or a signal, ends it at once.
    if (!isStoreError(error) && !signal?.aborted && batch.length > 0) yield await write(batch);
    throw error;
  }
  if (batch.length > 0) yield await write(batch);
  yield { written, rejected, rejects: [], done: true };
}

async function put(collection: Pick<Cache<Id>, "set">, item: WarmItem, timeout: number): Promise<void> {
  if (Object(item) !== item) throw new TypeError(`cannot write ${describe(item)}: accepted are an id and a value`);
  const { id, value, ttl, tags } = item;
  await collection.set(id as Id, value, {
    onError: "throw",
    timeout,
    ...(ttl !== undefined && { ttl }),
    ...(tags !== undefined && { tags }),
  });
}
