import { type ManagedClient, type Problem, type StepOptions, type Target, unfinished } from "./target.ts";

/** Options of {@linkcode backup}. */
export type BackupOptions = Target &
  StepOptions & {
    /** Takes the file's bytes in their order. The next come when its promise has resolved. */
    readonly write: (chunk: Uint8Array) => Promise<void> | void;
    /** Whether the bytes are compressed. @default false */
    readonly gzip?: boolean | undefined;
  };

/** How far {@linkcode backup} has come. */
export interface BackupProgress {
  /** How many keys were written. */
  readonly keys: number;
  /** How many bytes the file has, before compression. */
  readonly bytes: number;
  /** How many keys could not be read as they are, and are not in the file. */
  readonly unreadable: number;
  /** Those of them that were found since the last progress. */
  readonly problems: readonly Problem[];
  /** Whether this is the end: the file is whole. */
  readonly done: boolean;
}

/**
 * Writes the keys of a service or a database as JSON Lines: a header, a line a key with its type, value and expiry, a trailer with their
 * count and the SHA-256 of all before it. With them goes what says which entries were invalidated; locks and counts do not.
 *
 * Each value of up to 1000 elements is read in one step, those of larger ones a thousand at a time: what changes meanwhile may be in the file or
 * not. Consumer groups of streams are written without what their consumers have pending.
 *
 * @param client The client.
 * @param options Whose keys, and where to.
 * @returns How far it has come, after each page of keys.
 * @throws {TypeError | RangeError} For a service or database that there is none of.
 * @throws {StoreError} When the store goes away: the file is of no use then.
 * @throws {Error} What `write` throws.
 */
export async function* backup(
  client: ManagedClient,
  options: BackupOptions,
): AsyncGenerator<BackupProgress, void, void> {
  yield* unfinished(client, options);
}
