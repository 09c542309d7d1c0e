import type { Cache } from "../cache.ts";
import type { Id } from "../keyspace.ts";
import type { Ttl } from "../ttl.ts";
import { unfinished } from "./target.ts";

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
  /** Stops it: no further item is begun, and the signal's reason is thrown. */
  readonly signal?: AbortSignal | undefined;
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
  yield* unfinished(collection, items, options);
}
