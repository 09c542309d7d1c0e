import type { RawCommand, RawReply } from "../../drivers/driver.ts";
import { invalid } from "../base/check.ts";
import { EPOCH_KEY, MARKS, OWN } from "../base/own_keys.ts";
import { displayText, type ManagedConnection, openManagedConnection, word } from "./connection.ts";
import { claimEpochs, type Epochs, type EpochText, ensureEpochs, isNew, readEpochs, toEpoch } from "./epoch.ts";
import { BackupError, ConflictError } from "./errors.ts";
import { readBackup, type Trailer } from "./file.ts";
import { Layout } from "./layout.ts";
import { type BackupRecord, type KeyType, SIZE_COMMANDS, type StreamPart } from "./record.ts";
import { type Counts, type Item, type Past, Sink } from "./sink.ts";
import {
  type Bulk,
  checkStepNames,
  type ManagedClient,
  type Problem,
  type StepOptions,
  type Target,
} from "./target.ts";

/** The treatment of keys that already exist: they stay, they are replaced, or nothing is written at all. */
export type OnConflict = "skip" | "replace" | "fail";

/** Options of {@linkcode restore}. */
export type RestoreOptions = Target &
  StepOptions & {
    /** Returns the bytes of the file from the start, compressed or not. Called twice: the file is verified first. */
    readonly read: () => AsyncIterable<Uint8Array>;
    /** The treatment of keys that already exist. @default "fail" */
    readonly onConflict?: OnConflict | undefined;
    /** Writes nothing. @default false */
    readonly dryRun?: boolean | undefined;
  };

/** The progress of {@linkcode restore} or {@linkcode copy}. */
export interface RestoreProgress {
  /** The phase: the file is verified, then existing keys are searched (with `"fail"`), then keys are written. */
  readonly phase: "verify" | "check" | "write";
  /** The number of keys processed in this phase, those of an interrupted run included. */
  readonly keys: number;
  /** The number of all keys, if it is known. */
  readonly total?: number;
  /** The number of keys written; with `dryRun`, those that would be. */
  readonly written: number;
  /** The number of keys that already existed and stayed. */
  readonly skipped: number;
  /** The number of keys that have expired since the backup. */
  readonly expired: number;
  /** The number of entries left out because they were invalidated before the backup. */
  readonly invalidated: number;
  /** The number of keys that could not be read or written unchanged. */
  readonly unreadable: number;
  /** Those of them that were found since the last progress. */
  readonly problems: readonly Problem[];
  /** `true` if the operation continues an interrupted one. */
  readonly resumed: boolean;
  /** `true` in the last progress. */
  readonly done: boolean;
}

/**
 * Writes the keys of a backup to a service or a database of any store, in any database mode. The times of expiry stay
 * the same. Entries that were invalid in the backup stay misses; the others are valid, even if everything was
 * invalidated since the backup.
 *
 * The file is verified first. Each key is written in one step with its expiry. If the operation is interrupted, a run
 * with the same file within a day continues it.
 *
 * @param client The client.
 * @param options The service or database, the file, and the treatment of keys that already exist.
 * @returns The progress.
 * @throws {TypeError | RangeError} For a service or database that does not exist. Also for a whole database if services
 * that share it are in the file, with invalidations, and in the store. Nothing was written.
 * @throws {BackupError} For a file that is damaged or is not a backup. Nothing was written.
 * @throws {ConflictError} For keys that already exist, with `"fail"`. Nothing was written.
 * @throws {StoreError} When the store does not answer. The operation can be repeated.
 */
export async function* restore(
  client: ManagedClient,
  options: RestoreOptions,
): AsyncGenerator<RestoreProgress, void, void> {
  checkStepNames(options, ["read", "onConflict", "dryRun"], "restore");
  const { read, onConflict = "fail", dryRun = false } = options;
  checkOnConflict(onConflict);
  const connection = await openManagedConnection(client, options);
  try {
    const survey = new Survey(connection, onConflict === "fail");
    const empty = await isEmpty(connection);
    const left = readMarker(await connection.must([["GET", connection.own(MARKER)]]));
    // Marks take memory, so they are kept only if entries are judged by them.
    const judges = left ? left.mode === "now" : !empty || !isNew(await readEpochs(connection));
    for await (const page of readBackup(read(), survey.begin, survey.end)) {
      await survey.see(page, judges);
      yield progress({ phase: "verify", keys: survey.keys });
    }
    const { sha256, keys: total } = survey.trailer as Trailer;
    await checkTypes(connection, survey.types);
    const marker = !dryRun && left?.sha256 === sha256 && left.onConflict === onConflict ? left : undefined;
    if (!marker) {
      await survey.refuseShared();
      survey.refuseConflicts();
    }
    const { epochs, layout } = survey;
    let mode: Mode = marker?.mode ?? (await modeOf(connection, empty, epochs, layout));
    const name = `${MARKER}:${sha256.slice(0, 8)}${Math.random().toString(36).slice(2, 10)}`;
    let position = marker?.position ?? 0;
    const note = (counts: Partial<Counts>): RawCommand => {
      const text = JSON.stringify({ sha256, onConflict, mode, position, counts, name } satisfies Marker);
      return ["SET", connection.own(MARKER), text, "PX", MARKER_MS];
    };
    if (!dryRun) {
      // Each run has its own name, because in-flight commands of the last run may still arrive.
      const rest = left
        ? connection.layout.tags.map((_, i): RawCommand => ["UNLINK", connection.start(i) + OWN + left.name])
        : [];
      await connection.must([...rest, note(marker?.counts ?? {})]);
      if (mode === "as-is" && !(await claimEpochs(connection, epochs)) && !marker) mode = "now";
      if (mode === "now") await ensureEpochs(connection, epochs);
    }
    if (mode === "now" && !survey.marks) {
      const again = new Survey(connection, false);
      for await (const page of readBackup(read(), again.begin, again.end)) await again.see(page, true);
      survey.marks = again.marks;
    }
    const marks: Marks = survey.marks ?? new Map();
    const past: Past = {
      all: async (shard) => epochs[shard]?.all ?? 0,
      marks: async (shard) => marks.get(shard) ?? new Map(),
    };
    const how = {
      replace: onConflict === "replace",
      dryRun,
      past: mode === "now" ? past : undefined,
      from: layout,
      name,
    };
    const sink = new Sink(connection, how, marker?.counts);
    const resumed = marker !== undefined;
    let changed = true;
    const verified = readBackup(
      read(),
      () => {},
      (trailer) => {
        changed = trailer.sha256 !== sha256;
      },
    );
    let writing: Promise<void> | undefined;
    let ended = 0;
    for await (const items of batches(verified, position)) {
      await writing;
      position += ended;
      ended = items.filter(({ last }) => last).length;
      // Not awaited here, so that the next records are read at the same time.
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

/** The name of the key in which a run records its position. */
const MARKER = "restore";
/** The TTL of this key: a day. */
const MARKER_MS = 864e5;
/** The approximate numbers of keys, and of characters of values, that one step writes. */
const STEP_KEYS = 500;
const STEP_LENGTH = 2 ** 18;

/** Matches the library's own keys below the name of a service, and a tag. */
const OWN_BELOW = new RegExp(`^([\\w-]+):(\\{\\w+\\})?${OWN}`);

/** The marks of tags, by shard. */
type Marks = ReadonlyMap<number, ReadonlyMap<string, number>>;

/** The way entries are written: unchanged, or with the current epoch of the destination. */
type Mode = "as-is" | "now";

/** The record of a run's position, by which it can be continued. */
interface Marker {
  readonly sha256: string;
  readonly onConflict: OnConflict;
  readonly mode: Mode;
  /** The number of keys of the file that were processed, the library's own included. */
  readonly position: number;
  readonly counts: Partial<Counts>;
  /** The name of the key under which collections are built. */
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

/** Returns a progress, with defaults for the fields that are not given. */
export function progress(given: Partial<RestoreProgress> & Pick<RestoreProgress, "phase">): RestoreProgress {
  const none = { keys: 0, written: 0, skipped: 0, expired: 0, invalidated: 0, unreadable: 0 };
  return { ...none, problems: [], resumed: false, done: false, ...given };
}

/** Checks the option `onConflict`. @throws {TypeError} If it is not one of its values. */
export function checkOnConflict(onConflict: OnConflict): void {
  if (["skip", "replace", "fail"].includes(onConflict)) return;
  throw invalid("set onConflict", onConflict, "skip, replace or fail", TypeError);
}

/** The facts about a file that are collected before anything is written. */
class Survey {
  keys = 0;
  layout: Layout = new Layout([""]);
  readonly epochs: (EpochText | undefined)[] = [];
  marks: Map<number, Map<string, number>> | undefined;
  trailer: Trailer | undefined;
  readonly types: Set<KeyType> = new Set();
  readonly #connection: ManagedConnection;
  /** The services in the file that share the database and have an epoch of their own. */
  readonly #services: Set<string> = new Set();
  readonly #conflicts: Conflicts | undefined;

  constructor(connection: ManagedConnection, conflicts: boolean) {
    this.#connection = connection;
    this.#conflicts = conflicts ? new Conflicts(connection) : undefined;
  }

  readonly begin = (layout: Layout): void => {
    this.layout = layout;
    this.epochs.length = layout.tags.length;
    this.epochs.fill(undefined);
  };

  readonly end = (trailer: Trailer): void => {
    this.trailer = trailer;
  };

  async see(records: readonly BackupRecord[], marks: boolean): Promise<void> {
    const keys: Bulk[] = [];
    for (const { key, type, value, expires = Number.POSITIVE_INFINITY, more } of records) {
      this.types.add(type);
      if (more) continue;
      const own = this.layout.ownOf(key);
      if (!own) {
        this.keys++;
        if (this.#connection.shared && displayText(key).endsWith(EPOCH_KEY)) {
          const name = this.#owner(key);
          if (name !== undefined) this.#services.add(name);
        }
        if (expires > Date.now()) keys.push(key);
      } else if (own.name === EPOCH_KEY) {
        this.epochs[own.shard] = toEpoch(value as Bulk);
      } else if (marks && own.name.startsWith(MARKS)) {
        this.marks ??= new Map();
        const those = this.marks.get(own.shard) ?? new Map<string, number>();
        this.marks.set(own.shard, those.set(own.name.slice(MARKS.length), Number(value)));
      }
    }
    if (marks) this.marks ??= new Map();
    await this.#conflicts?.find(keys.map((key) => this.#connection.physical(key)));
  }

  /** Returns the name of the service that one of the library's own keys of the file belongs to. */
  #owner(key: Bulk): string | undefined {
    const [, name, tag = ""] = OWN_BELOW.exec(displayText(key)) ?? [];
    return tag.length === this.layout.length ? name : undefined;
  }

  /** Throws if a service would get the epoch of the file, by which its keys in the store would be judged wrongly. */
  async refuseShared(): Promise<void> {
    if (this.#services.size === 0) return;
    if (!this.layout.equals(this.#connection.layout)) {
      const expected = `a backup of each service: ${[...this.#services].join(", ")}`;
      throw invalid(
        `restore ${this.#connection.name}`,
        0,
        expected,
        TypeError,
        "services with another number of shards",
      );
    }
    const existing = new Set<string>();
    for await (const page of this.#connection.scan("*:*", STEP_KEYS)) {
      for (const key of page) {
        const text = displayText(this.#connection.logical(key));
        const [name = ""] = text.split(":", 1);
        // Statistics and locks do not depend on the epoch.
        const counts = this.#connection.ownerOf(text) === undefined || text.endsWith(EPOCH_KEY);
        if (counts && this.#services.has(name)) existing.add(name);
      }
      if (existing.size === this.#services.size) break;
    }
    if (existing.size === 0) return;
    const action = `restore ${this.#connection.name} as a whole`;
    const expected = `each service by its name: ${[...existing].join(", ")}`;
    throw invalid(action, existing, expected, TypeError, "services that are in the store already");
  }

  /** Throws if keys exist that must not. @throws {ConflictError} With the first of them. */
  refuseConflicts(): void {
    this.#conflicts?.refuse();
  }
}

/** Collects the keys that already exist. */
export class Conflicts {
  readonly #connection: ManagedConnection;
  #count = 0;
  readonly #first: string[] = [];

  constructor(connection: ManagedConnection) {
    this.#connection = connection;
  }

  /** Looks up physical keys. */
  async find(keys: readonly Bulk[]): Promise<void> {
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

  /** Throws if any key existed. @throws {ConflictError} With the first of them. */
  refuse(): void {
    if (this.#count > 0) throw new ConflictError(this.#count, this.#first);
  }
}

/** Returns whether a service or database has no keys besides the library's own. */
export async function isEmpty(connection: ManagedConnection): Promise<boolean> {
  for await (const page of connection.scan("*", 1000)) if (page.some((key) => !connection.isOwn(key))) return false;
  return true;
}

/** Returns the way entries must be written to a service or database. */
export async function modeOf(
  connection: ManagedConnection,
  empty: boolean,
  epochs: Epochs,
  layout: Layout,
): Promise<Mode> {
  if (!isNew(await readEpochs(connection))) return "now";
  // Without epochs, nothing was invalidated, and entries have no numbers to compare.
  if (isNew(epochs)) return "as-is";
  // Epochs of different shards cannot be compared.
  if (!layout.equals(connection.layout)) return "now";
  // Entries that exist must not become older than invalidations of the source.
  return empty ? "as-is" : "now";
}

/** Checks that the store has the types. @throws {TypeError} If it does not. */
async function checkTypes(connection: ManagedConnection, types: ReadonlySet<KeyType>): Promise<void> {
  const { name, capabilities } = connection.location.driver;
  const wanted = [...types].filter((type) => type !== "string");
  const probes = wanted.map((type): RawCommand => [SIZE_COMMANDS[type], connection.own("none")]);
  if (wanted.length > 0 && capabilities.transactions !== "atomic") {
    probes.push(["RENAME", connection.own("none"), connection.own("none")]);
  }
  const replies = await connection.send(probes);
  replies.forEach((reply, i) => {
    if (!(reply instanceof Error) || /no such key/i.test(reply.message)) return;
    const what = wanted[i] ?? (wanted[0] as KeyType);
    const expected = `types that ${name} supports: ${reply.message}`;
    throw invalid("restore keys", what, expected, TypeError, `type ${what}`);
  });
}

/**
 * Groups records into steps.
 *
 * @param pages The records.
 * @param done The number of keys to skip.
 * @returns The steps.
 */
export async function* batches(
  pages: AsyncIterable<readonly BackupRecord[]>,
  done: number,
): AsyncGenerator<Item[], void, void> {
  let items: Item[] = [];
  let length = 0;
  let before: BackupRecord | undefined;
  let key = 0;
  for await (const page of pages) {
    for (const record of page) {
      if (!record.more) key++;
      if (key <= done) continue;
      if (before) {
        items.push({ record: before, last: !record.more });
        length += lengthOf(before);
        if (items.length >= STEP_KEYS || length >= STEP_LENGTH) {
          yield items;
          items = [];
          length = 0;
        }
      }
      before = record;
    }
  }
  if (before) items.push({ record: before, last: true });
  if (items.length > 0) yield items;
}

function lengthOf({ type, value }: BackupRecord): number {
  if (type === "string") return (value as Bulk).length;
  const elements =
    type === "stream" ? (value as StreamPart).entries.flatMap(([, fields]) => fields) : (value as readonly Bulk[]);
  return elements.reduce((sum, bulk) => sum + bulk.length + 16, 0);
}
