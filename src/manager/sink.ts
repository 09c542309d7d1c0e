/**
 * Records, written to a place. Each key appears in one step, with its expiry: strings by SET, others are built under a key of the library's own
 * and renamed.
 *
 * Where the place has an epoch already, entries cannot be written as they are: by its epoch they would be older than invalidations that came after
 * them, or younger than such that hit them. So an entry that held where it comes from is written as one that is written now, and one that did
 * not is left out. Where the place has none, entries, marks and epoch are written as they were.
 */
import { type RawCommand, type RawReply, StoreError } from "../../drivers/driver.ts";
import { EPOCH_KEY, MARKS } from "../base/own_keys.ts";
import { asText, displayText, isOwnBulk, type ManagedConnection, word } from "./connection.ts";
import type { Rec, StreamPart } from "./record.ts";
import type { Bulk, Problem } from "./target.ts";

/** The most elements of one command. */
const ELEMENTS = 1000;
/** A day: how long what is being built may stay when nobody ends it. */
const DAY_MS = 864e5;

/** A record, and whether its key ends with it. */
export interface Item {
  readonly record: Rec;
  readonly last: boolean;
}

/** What invalidations say where the entries come from. */
export interface Past {
  /** The epoch at the last invalidation of everything. */
  all(): Promise<number>;
  /** The marks of tags, as far as there are some. */
  marks(tags: readonly string[]): Promise<ReadonlyMap<string, number>>;
}

/** Options of {@linkcode Sink}. */
export interface SinkOptions {
  /** Whether keys that are there are replaced; otherwise they stay. */
  readonly replace: boolean;
  /** Whether nothing is written. */
  readonly dryRun: boolean;
  /** Given where entries are written as of now. */
  readonly past: Past | undefined;
  /** What is being built stands under a key of this name. */
  readonly name: string;
}

/** What was done. */
export interface Counts {
  /** Keys that were dealt with, those of the library aside. */
  keys: number;
  written: number;
  skipped: number;
  expired: number;
  invalidated: number;
  unreadable: number;
}

/** The head of an entry: its epoch and tags, and what follows them. */
const ENTRY =
  /^\{(?:"born":(\d+),(?:"tags":\[([^\]]*)\],)?)?((?:"(?:at|ttl|load|version|none)":\d+(?:\.\d+)?,)*"(?:json|sealed|packed)":)/;

/** A command, and what its reply says of a key. */
interface Sent {
  readonly command: RawCommand;
  readonly judge?: (reply: RawReply) => void;
}

/** Writes records. */
export class Sink {
  /** What was done. */
  readonly counts: Counts;
  /** What could not be written since it was last asked. */
  problems: Problem[] = [];
  readonly #connection: ManagedConnection;
  readonly #options: SinkOptions;
  readonly #nx: boolean;
  /** Whether a send is one step, and the store has no RENAME: the embedded one. */
  readonly #atomic: boolean;
  readonly #temporary: string;
  /** The rest of this key's records are passed over. */
  #passing = false;
  /** What an embedded store's key is made of, until it is whole. */
  #parts: RawCommand[] = [];
  /** The store's clock less ours, in milliseconds. */
  #skew: number | undefined;

  constructor(connection: ManagedConnection, options: SinkOptions, counts: Partial<Counts> = {}) {
    this.#connection = connection;
    this.#options = options;
    this.#nx = !options.replace;
    this.#atomic = connection.location.driver.capabilities.transactions === "atomic";
    this.#temporary = connection.own(options.name);
    this.counts = { keys: 0, written: 0, skipped: 0, expired: 0, invalidated: 0, unreadable: 0, ...counts };
  }

  /** What stood in {@linkcode Sink.problems}, which is empty then. */
  takeProblems(): Problem[] {
    return this.problems.splice(0);
  }

  /** The store's time in milliseconds since 1970. */
  async now(): Promise<number> {
    if (this.#skew === undefined) {
      const [reply] = await this.#connection.send([["TIME"]]);
      const [seconds, micros] = Array.isArray(reply) ? (reply as RawReply[]).map(word) : [];
      const theirs = Number(seconds) * 1000 + Number(micros) / 1000;
      this.#skew = Number.isFinite(theirs) ? theirs - Date.now() : 0;
    }
    return Date.now() + this.#skew;
  }

  /**
   * Writes records.
   *
   * @param items The records; a key's follow each other, over calls too.
   * @param before Commands that go in front of them.
   * @throws {StoreError} When the store goes away or refuses one.
   */
  async write(items: readonly Item[], before: readonly RawCommand[] = []): Promise<void> {
    const now = await this.now();
    const made = await this.#entries(items, now);
    const sent: Sent[] = before.map((command) => ({ command }));
    for (const { command, judge } of made.commands) sent.push(judge ? { command, judge } : { command });
    const there = await this.#there(items);
    items.forEach((item, i) => void sent.push(...this.#key(item, made.values[i], now, there)));
    const marks: { key: string; value: string; expires: number | undefined }[] = [];
    for (const { record } of items) {
      if (this.#options.past || this.#options.dryRun || typeof record.key !== "string") continue;
      if (!record.key.startsWith(MARKS) || (record.expires ?? Number.POSITIVE_INFINITY) <= now) continue;
      const mark = {
        key: this.#connection.location.prefix + record.key,
        value: displayText(record.value as Bulk),
        expires: record.expires,
      };
      const judge = (reply: RawReply): void => {
        if (reply === null) marks.push(mark);
      };
      sent.push({ command: ["SET", mark.key, mark.value, "NX", ...until(mark.expires)], judge });
    }
    const replies = await this.#connection.send(sent.map(({ command }) => command));
    sent.forEach(({ judge }, i) => {
      const reply = replies[i] as RawReply;
      if (judge) judge(reply);
      else if (reply instanceof StoreError) throw reply;
    });
    for (const mark of marks) await this.#raise(mark);
  }

  /** A mark that is there already: the later one holds, and for the longer time. */
  async #raise({ key, value, expires }: { key: string; value: string; expires: number | undefined }): Promise<void> {
    const [found] = await this.#connection.must([["GET", key]]);
    const commands: RawCommand[] = [];
    if (Number(word(found)) < Number(value)) commands.push(["SET", key, value, "XX", "KEEPTTL"]);
    commands.push(expires === undefined ? ["PERSIST", key] : ["PEXPIREAT", key, expires, "GT"]);
    await this.#connection.must(commands);
  }

  /** What the texts of strings become, and the commands for the marks of their tags. */
  async #entries(
    items: readonly Item[],
    now: number,
  ): Promise<{ values: (string | null | undefined)[]; commands: Sent[] }> {
    const { past, dryRun } = this.#options;
    const values: (string | null | undefined)[] = items.map(() => undefined);
    if (!past) return { values, commands: [] };
    const heads = items.map(({ record: { key, type, value, expires = Number.POSITIVE_INFINITY } }) => {
      if (type !== "string" || isOwnBulk(key) || expires <= now) return undefined;
      const text = asText(value as Bulk);
      const found = text === undefined ? null : ENTRY.exec(text);
      if (!found) return undefined;
      const [, born = "0", list = "", rest = ""] = found;
      const tags = list.match(/"[^"]*"/g)?.map((tag) => tag.slice(1, -1)) ?? [];
      return { born: Number(born), list, tags, text: rest + (text as string).slice(found[0].length), expires };
    });
    const tags = [...new Set(heads.flatMap((head) => head?.tags ?? []))];
    const [all, marks] = [await past.all(), await past.marks(tags)];
    const holds = heads.map(
      (head) =>
        head && head.born >= all && head.tags.every((tag) => (marks.get(tag) ?? Number.POSITIVE_INFINITY) <= head.born),
    );
    /** How long the marks of tags must last, as a moment. */
    const lasts = new Map<string, number>();
    heads.forEach((head, i) => {
      if (!head || !holds[i]) return;
      for (const tag of head.tags) lasts.set(tag, Math.max(lasts.get(tag) ?? 0, head.expires));
    });
    const wanted = [...lasts.keys()];
    const mark = (tag: string): string => this.#connection.own(`tag:${tag}`);
    const [epoch, ...lefts] = await this.#connection.must([
      ["GET", this.#connection.own("clock")],
      ...wanted.map((tag): RawCommand => ["PTTL", mark(tag)]),
    ]);
    const seq = /^\d+/.exec(word(epoch))?.[0] ?? "0";
    const commands: RawCommand[] = [];
    wanted.forEach((tag, i) => {
      const left = Number(lefts[i]);
      const until = lasts.get(tag) as number;
      const key = mark(tag);
      if (left === -2) commands.push(["SET", key, seq, "NX"]);
      if (until === Number.POSITIVE_INFINITY) {
        if (left !== -1) commands.push(["PERSIST", key]);
      } else if (left !== -1 && left < until - now) {
        // As long as a write of the entry would have it.
        commands.push(["PEXPIRE", key, Math.ceil((until - now) * 2)]);
      }
    });
    heads.forEach((head, i) => {
      if (!head) return;
      const own = head.list ? `"born":${seq},"tags":[${head.list}],` : seq === "0" ? "" : `"born":${seq},`;
      values[i] = holds[i] ? `{${own}${head.text}` : null;
    });
    return { values, commands: dryRun ? [] : commands.map((command) => ({ command })) };
  }

  /** Which keys are there, where that must be known beforehand. */
  async #there(items: readonly Item[]): Promise<ReadonlySet<Rec>> {
    const { dryRun } = this.#options;
    if (!this.#nx || !(dryRun || this.#atomic)) return new Set();
    const asked = items
      .map(({ record }) => record)
      .filter(({ more, key }) => !more && !isOwnBulk(key) && this.#connection.carries(key));
    const replies = await this.#connection.must(asked.map(({ key }) => ["EXISTS", this.#connection.physical(key)]));
    return new Set(asked.filter((_, i) => replies[i] === 1));
  }

  /** The commands for a record. */
  #key({ record, last }: Item, value: string | null | undefined, now: number, there: ReadonlySet<Rec>): Sent[] {
    const { key, more, expires = Number.POSITIVE_INFINITY } = record;
    if (isOwnBulk(key)) return [];
    const { counts } = this;
    if (!more) {
      counts.keys++;
      this.#passing = true;
      if (expires <= now) counts.expired++;
      else if (value === null) counts.invalidated++;
      else if (there.has(record)) counts.skipped++;
      else this.#passing = false;
    }
    if (!this.#passing && !this.#carries(record)) {
      counts.unreadable++;
      this.problems.push({
        key: displayText(key),
        reason: `it is not UTF-8, which ${this.#connection.location.driver.name} cannot carry`,
      });
      this.#passing = true;
      this.#parts = [];
      // What was built of it goes at once.
      return more && !this.#options.dryRun && !this.#atomic ? [{ command: ["UNLINK", this.#temporary] }] : [];
    }
    if (this.#passing) return [];
    if (this.#options.dryRun) {
      if (last) counts.written++;
      return [];
    }
    const physical = this.#connection.physical(key);
    if (record.type === "string") {
      const text = value ?? (record.value as Bulk);
      const command = ["SET", physical, text, ...until(record.expires), ...(this.#nx ? ["NX"] : [])];
      return [{ command, judge: this.#judge }];
    }
    return this.#atomic ? this.#collected(record, last, physical) : this.#built(record, last, physical);
  }

  /** Builds a collection under a name of its own, and renames it. */
  #built(record: Rec, last: boolean, physical: Bulk): Sent[] {
    const key = this.#temporary;
    const sent: Sent[] = record.more ? [] : [{ command: ["UNLINK", key] }];
    for (const command of pushes(key, record, last)) {
      sent.push({ command });
      if (sent.length === 2 && !record.more) sent.push({ command: ["PEXPIRE", key, DAY_MS] });
    }
    // The moment stands in a key's first record.
    if (!record.more) this.#expires = record.expires;
    if (!last) return sent;
    sent.push({ command: this.#expires === undefined ? ["PERSIST", key] : ["PEXPIREAT", key, this.#expires] });
    sent.push({ command: [this.#nx ? "RENAMENX" : "RENAME", key, physical], judge: this.#judge });
    if (this.#nx) sent.push({ command: ["UNLINK", key] });
    return sent;
  }
  #expires: number | undefined;

  /** Gathers a collection, and writes it in one send. */
  #collected(record: Rec, last: boolean, physical: Bulk): Sent[] {
    if (!record.more) {
      this.#parts = this.#nx ? [] : [["UNLINK", physical]];
      this.#expires = record.expires;
    }
    this.#parts.push(...pushes(physical, record, last));
    if (!last) return [];
    if (this.#expires !== undefined) this.#parts.push(["PEXPIREAT", physical, this.#expires]);
    this.counts.written++;
    return this.#parts.splice(0).map((command) => ({ command }));
  }

  /** Counts what became of a key. */
  readonly #judge = (reply: RawReply): void => {
    const { counts } = this;
    if (!(reply instanceof StoreError)) {
      if (reply === null || reply === 0) counts.skipped++;
      else counts.written++;
    } else if (/no such key/i.test(reply.message)) {
      // It expired while it was built.
      counts.expired++;
    } else {
      throw reply;
    }
  };

  /** Whether the connection can carry a record. */
  #carries({ key, type, value }: Rec): boolean {
    const text = (bulk: Bulk): boolean => this.#connection.carries(bulk);
    if (!text(key)) return false;
    if (type === "string") return text(value as Bulk);
    if (type !== "stream") return (value as readonly Bulk[]).every(text);
    const { entries, end } = value as StreamPart;
    return entries.every(([, fields]) => fields.every(text)) && (end?.groups ?? []).every(({ name }) => text(name));
  }
}

const until = (expires: number | undefined): (string | number)[] => (expires === undefined ? [] : ["PXAT", expires]);

const PUSH: Readonly<Record<string, string>> = { hash: "HSET", list: "RPUSH", set: "SADD", zset: "ZADD" };

/** The commands that add a record's elements to a key. */
function pushes(key: Bulk, { type, value }: Rec, last: boolean): RawCommand[] {
  if (type === "stream") return stream(key, value as StreamPart, last);
  const flat = value as readonly Bulk[];
  // Of a sorted set's pairs the score comes first here.
  const args = type === "zset" ? flat.map((_, i) => flat[i ^ 1] as Bulk) : flat;
  const commands: RawCommand[] = [];
  for (let from = 0; from < args.length; from += 2 * ELEMENTS) {
    commands.push([PUSH[type] as string, key, ...args.slice(from, from + 2 * ELEMENTS)]);
  }
  return commands;
}

function stream(key: Bulk, { entries, end }: StreamPart, last: boolean): RawCommand[] {
  const commands: RawCommand[] = entries.map(([id, fields]) => ["XADD", key, id, ...fields]);
  if (!last || !end) return commands;
  // A stream may be empty, and is there nevertheless.
  commands.push(["XGROUP", "CREATE", key, "larder", "$", "MKSTREAM"], ["XGROUP", "DESTROY", key, "larder"]);
  const { last: id, added, deleted, groups } = end;
  const more = added !== undefined && deleted !== undefined ? ["ENTRIESADDED", added, "MAXDELETEDID", deleted] : [];
  commands.push(["XSETID", key, id, ...more]);
  for (const { name, last: delivered, read } of groups) {
    commands.push(["XGROUP", "CREATE", key, name, delivered, ...(read === undefined ? [] : ["ENTRIESREAD", read])]);
  }
  return commands;
}

/** The epoch of a place: its text, its value, and that at the last invalidation of everything. */
export interface EpochText {
  readonly text: string;
  readonly seq: number;
  readonly all: number;
}

/** Reads an epoch's text; `undefined` for none. */
export function toEpoch(reply: Bulk | null | undefined): EpochText | undefined {
  if (reply === null || reply === undefined) return undefined;
  const text = displayText(reply);
  const [seq = Number.NaN, all = Number.NaN] = text.split(" ").map(Number);
  return Number.isSafeInteger(seq) && Number.isSafeInteger(all) ? { text, seq, all } : undefined;
}

/** The epoch of a place, read. */
export async function readEpoch(connection: ManagedConnection): Promise<EpochText | undefined> {
  const [reply] = await connection.send([["GET", connection.location.prefix + EPOCH_KEY]]);
  return typeof reply === "string" || reply instanceof Uint8Array ? toEpoch(reply) : undefined;
}

/**
 * Gives a place without an epoch one.
 *
 * @param connection The place.
 * @param epoch The epoch.
 * @returns Whether the place's epoch is this one: it had none, or got it in an earlier run.
 */
export async function claimEpoch(connection: ManagedConnection, epoch: EpochText): Promise<boolean> {
  const [reply] = await connection.must([["SET", connection.location.prefix + EPOCH_KEY, epoch.text, "NX"]]);
  return reply !== null || (await readEpoch(connection))?.text === epoch.text;
}
