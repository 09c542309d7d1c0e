import type { RawReply } from "../../drivers/driver.ts";
import { invalid } from "../base/check.ts";
import { EPOCH_KEY, MARKS } from "../base/own_keys.ts";
import type { LocationOf } from "../client/types.ts";
import { inOrder } from "./backup.ts";
import { type ManagedConnection, openManagedConnection, word } from "./connection.ts";
import { claimEpochs, type Epochs, ensureEpochs, readEpochs, toEpoch } from "./epoch.ts";
import { refuseOtherShards } from "./other_shards.ts";
import type { BackupRecord } from "./record.ts";
import {
  batches,
  Conflicts,
  checkOnConflict,
  isEmpty,
  modeOf,
  type OnConflict,
  progress,
  type RestoreProgress,
} from "./restore.ts";
import { type Counts, type Past, Sink } from "./sink.ts";
import {
  type Bulk,
  checkStepNames,
  type ManagedClient,
  type Problem,
  type StepOptions,
  type Target,
} from "./target.ts";

/** Options of {@linkcode copy}. */
export type CopyOptions = (
  | Target
  | { readonly service?: undefined; readonly database?: undefined; readonly all: true }
) &
  StepOptions & {
    /** The treatment of keys that already exist. @default "fail" */
    readonly onConflict?: OnConflict | undefined;
    /** Writes nothing. @default false */
    readonly dryRun?: boolean | undefined;
  };

/** The progress of {@linkcode copy}, with the counts of all databases. */
export interface CopyProgress extends RestoreProgress {
  /** The current database, 0-15. */
  readonly database: number;
}

/**
 * Copies the keys of a service, a database, or all sixteen databases to the same service or database of another store.
 * The stores may keep databases apart in different ways. Services that share a database are copied one by one, each by
 * its own record of invalidations. Keys are written as {@linkcode restore} writes them.
 *
 * @param from The client of the store to read.
 * @param to The client of the store to write.
 * @param options The keys to copy, and the treatment of keys that already exist.
 * @returns The progress.
 * @throws {TypeError | RangeError} For a service or database that does not exist, and for a store to read whose keys
 * are of another number of shards than its client has.
 * @throws {ConflictError} For keys that already exist, with `"fail"`. Nothing was written.
 * @throws {StoreError} When a store does not answer. The operation can be repeated.
 */
export async function* copy(
  from: ManagedClient,
  to: ManagedClient,
  options: CopyOptions,
): AsyncGenerator<CopyProgress, void, void> {
  checkStepNames(options, ["all", "onConflict", "dryRun"], "copy");
  const { service, database, onConflict = "fail", dryRun = false } = options;
  checkOnConflict(onConflict);
  const all = service === undefined && database === undefined && "all" in options && options.all;
  const targets = all ? Array.from({ length: 16 }, (_, database) => ({ database })) : [{ service, database }];
  const { signal, timeout } = options;
  const sums = { keys: 0, written: 0, skipped: 0, expired: 0, invalidated: 0, unreadable: 0 };
  let at = 0;
  for (const phase of onConflict === "fail" ? (["check", "write"] as const) : (["write"] as const)) {
    let checked = 0;
    for (const target of targets) {
      const ways = await openBoth(from, to, { ...target, signal, timeout });
      if (!ways) continue;
      const { source, sink: connection } = ways;
      try {
        at = source.location.number;
        const names = new Set([...(await source.findShared()), ...(await connection.findShared())]);
        const [parts, sinks] = [source.split([...names]), connection.split([...names])];
        for (const part of parts) await refuseOtherShards(part, `copy ${part.name}`);
        if (phase === "check") {
          const conflicts = new Conflicts(connection);
          for (const [i, part] of parts.entries()) {
            const sink = sinks[i] as ManagedConnection;
            for await (const page of part.scan("*", PAGE)) {
              const keys = page.filter((key) => !part.isOwn(key) && !part.doubtful(key));
              await conflicts.find(keys.map((key) => sink.physical(part.logical(key))));
              checked += keys.length;
              yield { ...progress({ phase, keys: checked }), database: at };
            }
          }
          conflicts.refuse();
          continue;
        }
        for (const [i, part] of parts.entries()) {
          const start = { ...sums };
          const below = part.location.prefix.slice(source.location.prefix.length);
          const steps = copyLocation(part, sinks[i] as ManagedConnection, onConflict === "replace", dryRun);
          for await (const { counts, problems: found } of steps) {
            for (const name of Object.keys(sums) as (keyof Counts)[]) sums[name] = start[name] + counts[name];
            const problems = found.map(({ key, reason }) => ({ key: below + key, reason }));
            yield { ...progress({ phase, ...sums, problems }), database: at };
          }
        }
      } finally {
        await Promise.all([source.close(), connection.close()]);
      }
    }
  }
  yield { ...progress({ phase: "write", ...sums, done: true }), database: at };
}

/** The number of keys that one step looks for. */
const PAGE = 500;

/** Opens both connections; `undefined` if the store to read does not have the database, so that nothing is copied. */
async function openBoth(
  from: ManagedClient,
  to: ManagedClient,
  options: LocationOf & StepOptions,
): Promise<{ source: ManagedConnection; sink: ManagedConnection } | undefined> {
  let source: ManagedConnection;
  try {
    source = await openManagedConnection(from, options);
    await source.size();
  } catch (error) {
    if (NO_DATABASE.test(String((error as Error).message))) return undefined;
    throw error;
  }
  try {
    const sink = await openManagedConnection(to, options);
    const [a, b] = [source.location, sink.location];
    if (a.driver === b.driver && a.database === b.database && a.prefix === b.prefix) {
      await sink.close();
      throw invalid(`copy ${source.name}`, sink, "two stores", TypeError, "the same store twice");
    }
    return { source, sink };
  } catch (error) {
    const none = NO_DATABASE.test(String((error as Error).message)) && (await isEmpty(source));
    await source.close();
    if (none) return undefined;
    throw error;
  }
}

const NO_DATABASE = /DB index is out of range/i;

async function* copyLocation(
  source: ManagedConnection,
  connection: ManagedConnection,
  replace: boolean,
  dryRun: boolean,
): AsyncGenerator<{ counts: Counts; problems: Problem[] }, void, void> {
  const epochs = await readEpochs(source);
  let mode = await modeOf(connection, await isEmpty(connection), epochs, source.layout);
  if (!dryRun && mode === "as-is" && !(await claimEpochs(connection, epochs))) mode = "now";
  if (!dryRun && mode === "now") await ensureEpochs(connection, epochs);
  const sink = new Sink(connection, {
    replace,
    dryRun,
    past: mode === "now" ? pastOf(source) : undefined,
    from: source.layout,
    name: `copy:${Math.random().toString(36).slice(2, 14)}`,
  });
  const problems: Problem[] = [];
  let unreadable = 0;
  const records = async function* (): AsyncGenerator<readonly BackupRecord[], void, void> {
    for await (const page of inOrder(source)) {
      problems.push(...page.problems);
      unreadable += page.problems.length;
      yield page.records;
    }
  };
  const counted = (): { counts: Counts; problems: Problem[] } => ({
    counts: { ...sink.counts, unreadable: sink.counts.unreadable + unreadable },
    problems: [...problems.splice(0), ...sink.takeProblems()],
  });
  let writing: Promise<void> | undefined;
  for await (const items of batches(records(), 0)) {
    await writing;
    writing = sink.write(items);
    writing.catch(() => {});
    yield counted();
  }
  await writing;
  // Where the epoch moved on during the copy, so did marks.
  if (!dryRun && mode === "as-is" && source.layout.equals(connection.layout)) await follow(source, connection, epochs);
  yield counted();
}

/** Sets the epochs that have moved on at the source, where the destination still has the earlier one. */
async function follow(source: ManagedConnection, connection: ManagedConnection, before: Epochs): Promise<void> {
  const [after, now] = [await readEpochs(source), await readEpochs(connection)];
  const commands = after.flatMap((epoch, shard) => {
    const moved = epoch !== undefined && epoch.text !== before[shard]?.text;
    return moved && now[shard]?.text === before[shard]?.text
      ? [["SET", connection.start(shard) + EPOCH_KEY, epoch.text]]
      : [];
  });
  await connection.must(commands);
}

/** Reads the current record of invalidations of a store. */
function pastOf(connection: ManagedConnection): Past {
  const get = async (keys: readonly string[]): Promise<(RawReply | undefined)[]> =>
    keys.length === 0 ? [] : await connection.must(keys.map((key) => ["GET", key]));
  return {
    async all(shard) {
      const [reply] = await get([connection.start(shard) + EPOCH_KEY]);
      return toEpoch(reply as Bulk | null)?.all ?? 0;
    },
    async marks(shard, tags) {
      const replies = await get(tags.map((tag) => connection.start(shard) + MARKS + tag));
      return new Map(tags.flatMap((tag, i) => (replies[i] === null ? [] : [[tag, Number(word(replies[i]))]])));
    },
  };
}
