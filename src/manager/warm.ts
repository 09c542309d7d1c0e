import { invalid } from "../base/check.ts";
import { isStoreError } from "../base/store_error.ts";
import { parseTimeout, type Timeout, type Ttl } from "../base/ttl.ts";
import type { Signal } from "../base/web_types.ts";
import type { Cache } from "../cache/cache.ts";
import type { Id } from "../entry/keyspace.ts";
import { TIMEOUT_MS } from "./connection.ts";

/** A value to write. */
export interface WarmItem {
  /** Its id in the collection. */
  readonly id: unknown;
  /** The value. */
  readonly value: unknown;
  /** Its TTL. @default the collection's */
  readonly ttl?: Ttl | undefined;
  /** Tags in addition to the collection's. */
  readonly tags?: readonly string[] | undefined;
  /** Its line in the file, for the report of a reject. @default its position in the sequence, from 1 */
  readonly line?: number | undefined;
}

/** The default of {@linkcode WarmOptions.concurrency}. */
export const CONCURRENCY = 64;

/** Options of {@linkcode warm}. */
export interface WarmOptions {
  /** The number of concurrent writes, 1 to 10,000. @default 64 */
  readonly concurrency?: number | undefined;
  /** The deadline of a write: milliseconds, or `"10s"`. @default 10_000 */
  readonly timeout?: Timeout | undefined;
  /** Stops the operation before the next item. The operation then throws the signal's reason. */
  readonly signal?: Signal | undefined;
}

/** The progress of {@linkcode warm}. */
export interface WarmProgress {
  /** The number of values written. */
  readonly written: number;
  /** The number of items rejected. */
  readonly rejected: number;
  /** The items rejected since the last progress. */
  readonly rejects: readonly WarmReject[];
  /** `true` in the last progress. */
  readonly done: boolean;
}

/** An item that was not written. */
export interface WarmReject {
  /** The line of the item. */
  readonly line: number;
  /** The reason: the issues of the schema, or an argument that the collection does not take. It shows no values. */
  readonly error: Error;
}

/**
 * Writes values through a collection, so that its schema, TTL and tags apply.
 *
 * @param collection The collection, such as `client.service("product").products`.
 * @param items The values.
 * @param options The number of concurrent writes, their deadline, and a signal.
 * @returns The progress after each round of writes.
 * @throws {StoreError} When the store does not answer.
 * @throws {Error} Any error that `items` throws.
 */
export async function* warm(
  collection: Pick<Cache<Id>, "set">,
  items: AsyncIterable<WarmItem> | Iterable<WarmItem>,
  options: WarmOptions = {},
): AsyncGenerator<WarmProgress, void, void> {
  const { concurrency = CONCURRENCY, signal } = options;
  const timeout = parseTimeout(options.timeout ?? TIMEOUT_MS, "timeout");
  if (!(Number.isInteger(concurrency) && concurrency >= 1 && concurrency <= 10_000)) {
    throw invalid("set concurrency", concurrency, "a whole number from 1 to 10000", RangeError);
  }
  let written = 0;
  let rejected = 0;
  let line = 0;
  const write = async (items: readonly WarmItem[]): Promise<WarmProgress> => {
    const from = line - items.length;
    const rejects: WarmReject[] = [];
    // All in one tick, so that they leave in one round trip.
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
    // If the source fails, the items before are still written. A failing store or a signal ends the operation at once.
    if (!isStoreError(error) && !signal?.aborted && batch.length > 0) yield await write(batch);
    throw error;
  }
  if (batch.length > 0) yield await write(batch);
  yield { written, rejected, rejects: [], done: true };
}

async function put(collection: Pick<Cache<Id>, "set">, item: WarmItem, timeout: number): Promise<void> {
  if (Object(item) !== item) throw invalid("write an item", item, "an object with an id and a value", TypeError);
  const { id, value, ttl, tags } = item;
  await collection.set(id as Id, value, {
    onError: "throw",
    timeout,
    ...(ttl !== undefined && { ttl }),
    ...(tags !== undefined && { tags }),
  });
}
