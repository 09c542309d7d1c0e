import { type ManagedClient, type Problem, type StepOptions, type Target, unfinished } from "./target.ts";

/** What becomes of keys that are there already: they stay, they are replaced, or nothing is written at all. */
export type OnConflict = "skip" | "replace" | "fail";

/** Options of {@linkcode restore}. */
export type RestoreOptions = Target &
  StepOptions & {
    /** Gives the file's bytes from their beginning, compressed or not. Called twice: nothing is written before all was seen once. */
    readonly read: () => AsyncIterable<Uint8Array>;
    /** What becomes of keys that are there already. @default "fail" */
    readonly onConflict?: OnConflict | undefined;
    /** Whether nothing is written. @default false */
    readonly dryRun?: boolean | undefined;
  };

/** How far {@linkcode restore} or {@linkcode copy} has come. */
export interface RestoreProgress {
  /** What goes on: the file is verified, then keys are looked for that are there already (with `"fail"`), then keys are written. */
  readonly phase: "verify" | "check" | "write";
  /** How many keys of the source the phase has dealt with, those of an interrupted run included. */
  readonly keys: number;
  /** How many keys there are, where that is known. */
  readonly total?: number;
  /** How many were written; with `dryRun`, would be. */
  readonly written: number;
  /** How many were there already, and stayed. */
  readonly skipped: number;
  /** How many had expired meanwhile. */
  readonly expired: number;
  /** How many had been invalidated before they were backed up, and were left out for that. */
  readonly invalidated: number;
  /** How many could not be read or written as they are. */
  readonly unreadable: number;
  /** Those of them that were found since the last progress. */
  readonly problems: readonly Problem[];
  /** Whether the run goes on where an earlier one was interrupted. */
  readonly resumed: boolean;
  /** Whether this is the end. */
  readonly done: boolean;
}

/**
 * Writes the keys of a backup to a service or a database of any store, in any database mode. Expiries stay the moments that they were; entries
 * that an invalidation had made misses are not brought back by it, and the others hold also where everything was invalidated since.
 *
 * The file is verified first. Each key is written in one step with its expiry. A run of the same file within a day after one that was interrupted
 * goes on where that one came to.
 *
 * @param client The client.
 * @param options Whose keys they become, the file, and what becomes of keys that are there.
 * @returns How far it has come.
 * @throws {TypeError | RangeError} For a service or database that there is none of.
 * @throws {BackupError} For a file that is damaged or no backup: nothing was written.
 * @throws {ConflictError} For keys that are there already, with `"fail"`: nothing was written.
 * @throws {StoreError} When the store goes away: run it again.
 */
export async function* restore(
  client: ManagedClient,
  options: RestoreOptions,
): AsyncGenerator<RestoreProgress, void, void> {
  yield* unfinished(client, options);
}
