import { type ManagedClient, type StepOptions, type Target, unfinished } from "./target.ts";

/** Options of {@linkcode list}. */
export type ListOptions = Target &
  StepOptions & {
    /** A glob over the keys below the prefix. @default "*" */
    readonly pattern?: string | undefined;
    /** The most keys. @default all */
    readonly limit?: number | undefined;
    /**
     * By what they are sorted: names from A on, sizes from the largest on, TTLs from the shortest on. Sorting holds `limit` keys in memory.
     * @default the store's own order
     */
    readonly sort?: "key" | "size" | "ttl" | undefined;
  };

/** A key and what the store says of it. */
export interface KeyEntry {
  /** The key, below the prefix; what is not UTF-8 in it is replaced by U+FFFD. */
  readonly key: string;
  /** The key where it is not UTF-8. */
  readonly bytes?: Uint8Array;
  /** Whether the wire cannot say what the key is: over REST, where it is not UTF-8. Then nothing else is known. */
  readonly unreadable?: true;
  /** `"string"`, `"hash"`, `"list"`, `"set"`, `"zset"`, `"stream"`, or what a module calls its own. */
  readonly type: string;
  /** Milliseconds to live; `null` without expiry. */
  readonly ttl: number | null;
  /** Bytes of memory; where the store cannot tell, of the value; `null` where it cannot tell either. */
  readonly size: number | null;
}

/**
 * Lists the keys of a service or a database.
 *
 * @param client The client.
 * @param options Whose keys, which, and in what order.
 * @returns The keys. Those that are gone before they were looked at are left out.
 * @throws {TypeError | RangeError} For a service or database that there is none of, an empty pattern, or a bad limit or order.
 * @throws {StoreError} When the store goes away.
 */
export async function* list(client: ManagedClient, options: ListOptions): AsyncGenerator<KeyEntry, void, void> {
  yield* unfinished(client, options);
}
