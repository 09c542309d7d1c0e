import type { RawReply } from "../../drivers/driver.ts";
import type { ManagedClient, StepOptions, Target } from "./target.ts";
import { checkPattern, openWire } from "./wire.ts";

/** How many keys a step looks at and deletes: those of another client's commands that come meanwhile wait for one step. */
const PAGE = 500;

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
  const pattern = checkPattern(options.pattern ?? "*");
  const wire = await openWire(client, options);
  let keys = 0;
  let unreadable = 0;
  let unlinking: Promise<RawReply[]> | undefined;
  try {
    for await (const page of wire.scan(pattern, PAGE)) {
      const found = page.filter((key) => !wire.isOwn(key));
      const known = wire.exact ? found : found.filter((key) => !wire.doubtful(key));
      unreadable += found.length - known.length;
      if (known.length > 0 && !options.dryRun) {
        keys += deleted(await unlinking);
        // Awaited with the next page: the store is never without work, and never has much of it.
        unlinking = wire.must([["UNLINK", ...known]]);
        unlinking.catch(() => {});
      } else {
        keys += known.length;
      }
      yield { keys, unreadable, done: false };
    }
    keys += deleted(await unlinking);
    yield { keys, unreadable, done: true };
  } finally {
    await wire.close();
  }
}

const deleted = (replies: RawReply[] | undefined): number => Number(replies?.[0] ?? 0);
