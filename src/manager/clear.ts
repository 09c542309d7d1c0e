import type { RawCommand, RawReply } from "../../drivers/driver.ts";
import { EPOCH_KEY, MARKS } from "../base/own_keys.ts";
import { checkPattern } from "../entry/keyspace.ts";
import { EVERYTHING, invalidate } from "../lua/entries.ts";
import { type ManagedConnection, openManagedConnection } from "./connection.ts";
import { checkStepNames, type ManagedClient, type StepOptions, type Target } from "./target.ts";

/**
 * The minimum and maximum number of keys that one step scans and deletes. Commands of other clients wait while the
 * store runs a step, and each step costs a round trip. So the steps for a store nearby are small.
 */
const LEAST = 60;
const MOST = 1000;
/** The keys per step for each millisecond of a round trip. A store handles them in a fifth of that time. */
const KEYS_A_MS = 250;

/** Options of {@linkcode clear}. */
export type ClearOptions = Target &
  StepOptions & {
    /** A glob over the keys, without the prefix. @default "*" */
    readonly pattern?: string | undefined;
    /** Only counts the keys. @default false */
    readonly dryRun?: boolean | undefined;
  };

/** The progress of {@linkcode clear}. */
export interface ClearProgress {
  /** The number of keys deleted; with `dryRun`, found. */
  readonly keys: number;
  /** The number of keys that could not be deleted: over REST, those that are not UTF-8. */
  readonly unreadable: number;
  /**
   * The store's error if it refused to invalidate the service first; otherwise `null`. The keys are deleted anyway, but
   * an in-flight load of another process may store one of them again.
   */
  readonly refused: string | null;
  /** `true` in the last progress. */
  readonly done: boolean;
}

/**
 * Deletes the keys of a service or a database, or those of them that match a glob. It never deletes keys of another
 * service, nor the library's own keys, which record invalidations. A whole service is invalidated first, so that
 * in-flight loads of other processes bring no value back. Other keys that are written at the same time may stay.
 *
 * @param client The client.
 * @param options The service or database, and the glob.
 * @returns The progress after each page of keys.
 * @throws {TypeError | RangeError} For a service or database that does not exist, and for an empty pattern.
 * @throws {StoreError} When the store does not answer. Keys deleted before stay deleted.
 */
export async function* clear(client: ManagedClient, options: ClearOptions): AsyncGenerator<ClearProgress, void, void> {
  checkStepNames(options, ["pattern", "dryRun"], "clear");
  const pattern = checkPattern(options.pattern ?? "*");
  const connection = await openManagedConnection(client, options);
  let keys = 0;
  let unreadable = 0;
  let refused: string | null = null;
  let deleting: Promise<RawReply[]> = Promise.resolve([]);
  const count = async (): Promise<void> => {
    for (const deleted of await deleting) keys += Number(deleted);
  };
  try {
    if (options.service !== undefined && pattern === "*" && !options.dryRun) refused = await invalidateAll(connection);
    for await (const page of connection.scan(pattern, await pageSizeOf(connection))) {
      const found = page.filter((key) => connection.isEntry(key));
      const known = connection.exact ? found : found.filter((key) => !connection.doubtful(key));
      unreadable += found.length - known.length;
      await count();
      if (options.dryRun) keys += known.length;
      // Not awaited here, so that the next page is read at the same time.
      deleting = connection.must(options.dryRun ? [] : connection.unlinks(known));
      deleting.catch(() => {});
      yield { keys, unreadable, refused, done: false };
    }
    await count();
    yield { keys, unreadable, refused, done: true };
  } finally {
    await connection.close();
  }
}

/** Invalidates all shards. Returns the error of the first one that refused; `null` if none did. */
async function invalidateAll(connection: ManagedConnection): Promise<string | null> {
  const commands = connection.layout.tags.map((_, shard): RawCommand => {
    const start = connection.start(shard);
    return ["EVAL", invalidate.lua, 2, start + EPOCH_KEY, start + MARKS + EVERYTHING, EVERYTHING];
  });
  const answers = await connection.send(commands);
  return answers.find((answer) => answer instanceof Error)?.message ?? null;
}

/** Returns the number of keys per step, from the shortest of three round trips. */
async function pageSizeOf(connection: ManagedConnection): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 3; i++) {
    const start = performance.now();
    await connection.ping();
    least = Math.min(least, performance.now() - start);
  }
  return Math.round(Math.min(Math.max(least * KEYS_A_MS, LEAST), MOST));
}
