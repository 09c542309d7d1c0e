import { type Bulk, type ManagedClient, type StepOptions, type Target, unfinished } from "./target.ts";

/** Options of {@linkcode get}. */
export type GetOptions = Target &
  StepOptions & {
    /** The key below the prefix. */
    readonly key: Bulk;
  };

/** What is known of a stored entry beside its value. */
export interface EntryHead {
  /** The clock of its keyspace when it was loaded. */
  readonly born?: number;
  /** Its tags, as they stand in the store. */
  readonly tags?: readonly string[];
  /** When it was written, in milliseconds since 1970. */
  readonly at?: number;
  /** For how many milliseconds from then it is fresh. */
  readonly ttl?: number;
  /** The version of its schema. */
  readonly version?: number;
  /** Whether it says that there is nothing. */
  readonly none?: true;
  /** The id of the key that it is encrypted with. */
  readonly sealed?: string;
  /** Whether it is compressed. */
  readonly packed?: true;
}

/** A key, and its value. */
export interface KeyDetails {
  /** The type, as `list` has it. */
  readonly type: string;
  /** Milliseconds to live; `null` without expiry. */
  readonly ttl: number | null;
  /** Bytes, as `list` has them. */
  readonly size: number | null;
  /** What is known of it, where it is an entry of this library. */
  readonly entry?: EntryHead;
  /**
   * The value: of an entry what was stored (`undefined` where it is encrypted), of other strings the text; lists and sets as arrays, hashes and
   * sorted sets (member, score) as arrays of pairs, streams as arrays of id and fields. Bytes that are not UTF-8 are a Uint8Array.
   */
  readonly value: unknown;
  /** How many elements there are, where `value` holds only the first 1000 of them. */
  readonly length?: number;
}

/**
 * Reads a key of a service or a database, whatever its type. Encrypted values stay so.
 *
 * @param client The client.
 * @param options Whose key, and which.
 * @returns What is there; `undefined` when nothing is.
 * @throws {TypeError | RangeError} For a service or database that there is none of, or an empty key.
 * @throws {StoreError} When the store is away.
 */
export async function get(client: ManagedClient, options: GetOptions): Promise<KeyDetails | undefined> {
  return unfinished(client, options);
}
