import { type RawCommand, type RawReply, StoreError } from "../../drivers/driver.ts";
import { describe } from "../base/check.ts";
import { EPOCH_KEY, MARKS } from "../base/own_keys.ts";
import { displayText, isOwnBulk, type ManagedConnection, openManagedConnection, word } from "./connection.ts";
import { BackupError, ConflictError } from "./errors.ts";
import { readBackup, type Trailer } from "./file.ts";
import { type KeyType, type Rec, SIZES, type StreamPart } from "./record.ts";
import { type Counts, claimEpoch, type EpochText, type Item, type Past, readEpoch, Sink, toEpoch } from "./sink.ts";
import type { Bulk, ManagedClient, Problem, StepOptions, Target } from "./target.ts";

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
  const { read, onConflict = "fail", dryRun = false } = options;
  checkOnConflict(onConflict);
  const connection = await openManagedConnection(client, options);
  try {
    const survey = new Survey(connection, onConflict === "fail");
    const empty = await isEmpty(connection);
    const left = readMarker(await connection.must([["GET", connection.own(MARKER)]]));
    // Marks take memory: they are kept only where entries are judged by them.
    const judges = left ? left.mode === "now" : !empty || (await readEpoch(connection)) !== undefined;
    for await (const page of readBackup(read(), isKey, survey.end)) {
      await survey.see(page, judges);
      yield progress({ phase: "verify", keys: survey.keys });
    }
    const { sha256, keys: total } = survey.trailer as Trailer;
    await checkTypes(connection, survey.types);
    const marker = !dryRun && left?.sha256 === sha256 && left.onConflict === onConflict ? left : undefined;
    if (!marker) survey.refuseConflicts();
    const { epoch } = survey;
    let mode: Mode = marker?.mode ?? (await modeOf(connection, empty, epoch));
    const name = `${MARKER}:${sha256.slice(0, 8)}${Math.random().toString(36).slice(2, 10)}`;
    let position = marker?.position ?? 0;
    const note = (counts: Partial<Counts>): RawCommand => {
      const text = JSON.stringify({ sha256, onConflict, mode, position, counts, name } satisfies Marker);
      return ["SET", connection.own(MARKER), text, "PX", MARKER_MS];
    };
    if (!dryRun) {
      // A name of its own for each run: what the last one sent may still be under way.
      const rest: RawCommand[] = left ? [["UNLINK", connection.own(left.name)]] : [];
      await connection.must([...rest, note(marker?.counts ?? {})]);
      if (mode === "as-is" && epoch && !(await claimEpoch(connection, epoch)) && !marker) mode = "now";
      if (mode === "now") await ensureEpoch(connection, epoch);
    }
    if (mode === "now" && !survey.marks) {
      const again = new Survey(connection, false);
      for await (const page of readBackup(read(), isKey, again.end)) await again.see(page, true);
      survey.marks = again.marks;
    }
    const marks: ReadonlyMap<string, number> = survey.marks ?? new Map();
    const past: Past | undefined =
      mode === "now" ? { all: async () => epoch?.all ?? 0, marks: async () => marks } : undefined;
    const sink = new Sink(connection, { replace: onConflict === "replace", dryRun, past, name }, marker?.counts);
    const resumed = marker !== undefined;
    let changed = true;
    const verified = readBackup(read(), isKey, (trailer) => {
      changed = trailer.sha256 !== sha256;
    });
    let writing: Promise<void> | undefined;
    let ended = 0;
    for await (const items of batches(verified, position)) {
      await writing;
      position += ended;
      ended = items.filter(({ last }) => last).length;
      // Not awaited here: the next records are read meanwhile.
      writing = sink.write(items, dryRun ? [] : [note(sink.counts)]);
      writing.catch(() => {});
      yield progress({ phase: "write", total, ...sink.counts, problems: sink.takeProblems(), resumed });
    }
    await writing;
    if (changed) throw new BackupError(0, "it changed while it was restored");
    if (!dryRun) await connection.must([["UNLINK", connection.own(MARKER)]]);
    yield progress({ phase: "write", total, ...sink.counts, problems: sink.takeProblems(), resumed, done: true });
  } finally {
    await connection.close();
  }
}

/** The key of what an interrupted run leaves. */
const MARKER = "restore";
/** A day: how long it is known. */
const MARKER_MS = 864e5;
/** How many keys, and characters of values, are written in a step, or nearly so. */
const STEP_KEYS = 500;
const STEP_LENGTH = 2 ** 18;

/** Whether entries are written as they were, or as of now. */
type Mode = "as-is" | "now";

/** What an interrupted run leaves. */
interface Marker {
  readonly sha256: string;
  readonly onConflict: OnConflict;
  readonly mode: Mode;
  /** How many keys of the file were dealt with, those of the library included. */
  readonly position: number;
  readonly counts: Partial<Counts>;
  /** What was being built stands under a key of this name. */
  readonly name: string;
}

function readMarker([reply]: RawReply[]): Marker | undefined {
  if (reply === null || reply === undefined) return undefined;
  try {
    return JSON.parse(word(reply));
  } catch {
    return undefined;
  }
}

const isKey = ({ key }: Rec): boolean => !isOwnBulk(key);

/** Progress with what is not said at its beginning. */
export function progress(said: Partial<RestoreProgress> & Pick<RestoreProgress, "phase">): RestoreProgress {
  const none = { keys: 0, written: 0, skipped: 0, expired: 0, invalidated: 0, unreadable: 0 };
  return { ...none, problems: [], resumed: false, done: false, ...said };
}

/** @throws {TypeError} For what is no way to deal with conflicts. */
export function checkOnConflict(onConflict: OnConflict): void {
  if (["skip", "replace", "fail"].includes(onConflict)) return;
  throw new TypeError(`cannot use onConflict ${describe(onConflict)}: accepted are skip, replace and fail`);
}

/** What is learnt of a file before anything is written. */
class Survey {
  keys = 0;
  epoch: EpochText | undefined;
  marks: Map<string, number> | undefined;
  trailer: Trailer | undefined;
  readonly types: Set<KeyType> = new Set();
  readonly #connection: ManagedConnection;
  readonly #conflicts: Conflicts | undefined;

  constructor(connection: ManagedConnection, conflicts: boolean) {
    this.#connection = connection;
    this.#conflicts = conflicts ? new Conflicts(connection) : undefined;
  }

  readonly end = (trailer: Trailer): void => {
    this.trailer = trailer;
  };

  async see(records: readonly Rec[], marks: boolean): Promise<void> {
    const keys: Bulk[] = [];
    for (const { key, type, value, expires = Number.POSITIVE_INFINITY, more } of records) {
      this.types.add(type);
      if (more) continue;
      if (!isOwnBulk(key)) {
        this.keys++;
        if (expires > Date.now()) keys.push(key);
      } else if (key === EPOCH_KEY) {
        this.epoch = toEpoch(value as Bulk);
      } else if (marks && typeof key === "string" && key.startsWith(MARKS)) {
        this.marks ??= new Map();
        this.marks.set(key.slice(MARKS.length), Number(value));
      }
    }
    if (marks) this.marks ??= new Map();
    await this.#conflicts?.look(keys.map((key) => this.#connection.physical(key)));
  }

  /** @throws {ConflictError} When keys are there that must not be. */
  refuseConflicts(): void {
    this.#conflicts?.refuse();
  }
}

/** Keys that are there already. */
export class Conflicts {
  readonly #connection: ManagedConnection;
  #count = 0;
  readonly #first: string[] = [];

  constructor(connection: ManagedConnection) {
    this.#connection = connection;
  }

  /** Looks for physical keys. */
  async look(keys: readonly Bulk[]): Promise<void> {
    for (let from = 0; from < keys.length; from += STEP_KEYS) {
      const part = keys.slice(from, from + STEP_KEYS).filter((key) => this.#connection.carries(key));
      const replies = await this.#connection.must(part.map((key) => ["EXISTS", key]));
      part.forEach((key, i) => {
        if (replies[i] !== 1) return;
        this.#count++;
        if (this.#first.length < 10) this.#first.push(displayText(this.#connection.logical(key)));
      });
    }
  }

  /** @throws {ConflictError} When there were some. */
  refuse(): void {
    if (this.#count > 0) throw new ConflictError(this.#count, this.#first);
  }
}

/** Whether a place has no keys, those of the library itself aside. */
export async function isEmpty(connection: ManagedConnection): Promise<boolean> {
  for await (const page of connection.scan("*", 1000)) if (page.some((key) => !connection.isOwn(key))) return false;
  return true;
}

/** How entries must be written to a place. */
export async function modeOf(
  connection: ManagedConnection,
  empty: boolean,
  epoch: EpochText | undefined,
): Promise<Mode> {
  if ((await readEpoch(connection)) !== undefined) return "now";
  // What is there must not become older than invalidations of elsewhere.
  return empty || !epoch ? "as-is" : "now";
}

/** Gives a place without an epoch its first, where tags are going to need one. */
export async function ensureEpoch(connection: ManagedConnection, theirs: EpochText | undefined): Promise<void> {
  if (!theirs) return;
  await connection.must([["SET", connection.own("clock"), `${Date.now() * 1000} 0 0`, "NX"]]);
}

/** @throws {TypeError} For types that the store does not have. */
async function checkTypes(connection: ManagedConnection, types: ReadonlySet<KeyType>): Promise<void> {
  const { name, capabilities } = connection.location.driver;
  const wanted = [...types].filter((type) => type !== "string");
  const probes = wanted.map((type): RawCommand => [SIZES[type], connection.own("none")]);
  if (wanted.length > 0 && capabilities.transactions !== "atomic") {
    probes.push(["RENAME", connection.own("none"), connection.own("none")]);
  }
  const replies = await connection.send(probes);
  replies.forEach((reply, i) => {
    if (!(reply instanceof StoreError) || /no such key/i.test(reply.message)) return;
    const what = wanted[i] ?? (wanted[0] as KeyType);
    throw new TypeError(`cannot restore a key of type ${what} over ${name}: ${reply.message}`);
  });
}

/**
 * Makes steps of records.
 *
 * @param pages The records.
 * @param done How many keys to pass over.
 * @returns Steps, each record with whether its key ends there.
 */
export async function* batches(pages: AsyncIterable<readonly Rec[]>, done: number): AsyncGenerator<Item[], void, void> {
  let items: Item[] = [];
  let length = 0;
  let held: Rec | undefined;
  let key = 0;
  for await (const page of pages) {
    for (const record of page) {
      if (!record.more) key++;
      if (key <= done) continue;
      if (held) {
        items.push({ record: held, last: !record.more });
        length += lengthOf(held);
        if (items.length >= STEP_KEYS || length >= STEP_LENGTH) {
          yield items;
          items = [];
          length = 0;
        }
      }
      held = record;
    }
  }
  if (held) items.push({ record: held, last: true });
  if (items.length > 0) yield items;
}

function lengthOf({ type, value }: Rec): number {
  if (type === "string") return (value as Bulk).length;
  const elements =
    type === "stream" ? (value as StreamPart).entries.flatMap(([, fields]) => fields) : (value as readonly Bulk[]);
  return elements.reduce((sum, bulk) => sum + bulk.length + 16, 0);
}
