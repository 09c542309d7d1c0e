import { type RawCommand, type RawReply, StoreError } from "../../drivers/driver.ts";
import { EPOCH_KEY, MARKS } from "../base/own_keys.ts";
import { EVERYTHING, invalidate } from "../lua/entries.ts";
import { checkPattern, type ManagedConnection, openManagedConnection, word } from "./connection.ts";
import type { Bulk, ManagedClient, StepOptions, Target } from "./target.ts";

/**
 * The fewest and the most keys that a step looks at and deletes. Commands of other clients that come meanwhile wait for one step, and a step
 * costs a round trip: so a near store gets small ones.
 */
const LEAST = 60;
const MOST = 1000;
/** How many keys for a millisecond of a round trip: a store looks at and deletes about as many in a fifth of that. */
const KEYS_A_MS = 250;

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
  /**
   * Why the store refused to invalidate all first, in its own words; `null` where it did not. The keys are deleted all
   * the same, but a load of another process that is under way may bring one back.
   */
  readonly refused: string | null;
  /** Whether this is the end. */
  readonly done: boolean;
}

/**
 * Deletes the keys of a service or a database, or those that match a glob; never another's, and none of the library's own, by
 * which it is known what was invalidated. A whole service is invalidated first, so that no load of another process that is under way brings
 * anything back; other keys that come meanwhile may stay.
 *
 * @param client The client.
 * @param options Whose keys, and which.
 * @returns How far it has come, after each page of keys.
 * @throws {TypeError | RangeError} For a service or database that there is none of, or an empty pattern.
 * @throws {StoreError} When the store goes away: what was deleted until then is.
 */
export async function* clear(client: ManagedClient, options: ClearOptions): AsyncGenerator<ClearProgress, void, void> {
  const pattern = checkPattern(options.pattern ?? "*");
  const connection = await openManagedConnection(client, options);
  let keys = 0;
  let unreadable = 0;
  let refused: string | null = null;
  let cursor: string | undefined = "0";
  let unlink: RawCommand[] = [];
  try {
    if (options.service !== undefined && pattern === "*" && !options.dryRun) {
      const [epoch, marks] = [connection.physical(EPOCH_KEY), connection.physical(MARKS)];
      const [answer] = await connection.send([["EVAL", invalidate.lua, 1, epoch, marks, EVERYTHING]]);
      if (answer instanceof StoreError) refused = answer.message;
    }
    const count = await pageOf(connection);
    while (cursor !== undefined) {
      // One write and one round trip for the next page and the end of the last.
      const [page, deleted] = await connection.must([connection.scanCommand(cursor, pattern, count), ...unlink]);
      const [next, physical] = page as [RawReply, Bulk[]];
      const found = physical.filter((key) => !connection.isOwn(key));
      const known = connection.exact ? found : found.filter((key) => !connection.doubtful(key));
      cursor = word(next) === "0" ? undefined : word(next);
      unlink = known.length > 0 && !options.dryRun ? [["UNLINK", ...known]] : [];
      keys += options.dryRun ? known.length : Number(deleted ?? 0);
      unreadable += found.length - known.length;
      yield { keys, unreadable, refused, done: false };
    }
    for (const deleted of await connection.must(unlink)) keys += Number(deleted);
    yield { keys, unreadable, refused, done: true };
  } finally {
    await connection.close();
  }
}

async function pageOf(connection: ManagedConnection): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 3; i++) {
    const start = performance.now();
    await connection.ping();
    least = Math.min(least, performance.now() - start);
  }
  return Math.round(Math.min(Math.max(least * KEYS_A_MS, LEAST), MOST));
}
