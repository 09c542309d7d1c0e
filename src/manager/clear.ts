import { type ManagedClient, type StepOptions, type Target, unfinished } from "./target.ts";

/** Options of {@linkcode clear}. */
export type ClearOptions = Target &
  StepOptions & {
    /** A glob over the keys below the prefix. @default "*" */
    readonly pattern?: string | undefined;
    /** Whether keys are only counted. @default false */
    readonly dryRun?: boolean | undefined;
  };

/** How far {@linkcode clear} has come. */
export interface ClearProgress {
  /** How many keys were deleted; with `dryRun`, found. */
  readonly keys: number;
  /** How many could not be deleted: over REST, keys that are not UTF-8. */
  readonly unreadable: number;
  /** Whether this is the end. */
  readonly done: boolean;
}

/**
 * Deletes the keys of a service or a database, or those that match a glob; never another's, and none of the library's own, by
 * which it is known what was invalidated. Keys that come meanwhile may stay.
 *
 * @param client The client.
 * @param options Whose keys, and which.
 * @returns How far it has come, after each page of keys.
 * @throws {TypeError | RangeError} For a service or database that there is none of, or an empty pattern.
 * @throws {StoreError} When the store goes away: what was deleted until then is.
 */
export async function* clear(client: ManagedClient, options: ClearOptions): AsyncGenerator<ClearProgress, void, void> {
  yield* unfinished(client, options);
}
