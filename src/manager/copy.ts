import type { OnConflict, RestoreProgress } from "./restore.ts";
import { type ManagedClient, type StepOptions, type Target, unfinished } from "./target.ts";

/** Options of {@linkcode copy}. */
export type CopyOptions = (
  | Target
  | { readonly service?: undefined; readonly database?: undefined; readonly all: true }
) &
  StepOptions & {
    /** What becomes of keys that are there already. @default "fail" */
    readonly onConflict?: OnConflict | undefined;
    /** Whether nothing is written. @default false */
    readonly dryRun?: boolean | undefined;
  };

/** How far {@linkcode copy} has come; the counts are of all databases. */
export interface CopyProgress extends RestoreProgress {
  /** The database that it is at, 0-15. */
  readonly database: number;
}

/**
 * Copies the keys of a service, a database, or all sixteen databases to the same in another store, in any database modes. They arrive as
 * {@linkcode restore} would bring them.
 *
 * @param from The client of the store to read.
 * @param to The client of the store to write.
 * @param options Whose keys, and what becomes of keys that are there.
 * @returns How far it has come.
 * @throws {TypeError | RangeError} For a service or database that there is none of.
 * @throws {ConflictError} For keys that are there already, with `"fail"`: nothing was written.
 * @throws {StoreError} When a store goes away: run it again.
 */
export async function* copy(
  from: ManagedClient,
  to: ManagedClient,
  options: CopyOptions,
): AsyncGenerator<CopyProgress, void, void> {
  yield* unfinished(from, to, options);
}
