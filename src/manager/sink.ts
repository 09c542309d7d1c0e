/**
 * Writes records to a service or a database. Each key appears in one step, with its expiry: strings by SET; other types
 * are built under a key of the library's own, which is renamed.
 *
 * If the destination has an epoch, entries cannot be written unchanged, because their epochs come from another count:
 * they could appear older than invalidations that came later, or newer than those that hit them. So an entry that was
 * valid at its source is written with the destination's current epoch, and one that was not valid is left out. If the
 * destination has no epoch, entries, marks and epoch are written unchanged.
 */
import type { RawCommand, RawReply } from "../../drivers/driver.ts";
import { EPOCH_KEY, MARKS, OWN } from "../base/own_keys.ts";
import { asText, displayText, type ManagedConnection, word } from "./connection.ts";
import type { Layout } from "./layout.ts";
import type { BackupRecord, StreamPart } from "./record.ts";
import type { Bulk, Problem } from "./target.ts";

/** The maximum number of elements of one command. */
const ELEMENTS = 1000;
/** The TTL of a key that is being built, in case the operation is interrupted: a day. */
const DAY_MS = 864e5;

/** A record, with the information whether it is the last one of its key. */
export interface Item {
  readonly record: BackupRecord;
  readonly last: boolean;
}

/** The record of invalidations at the source of the entries, by its shards. */
export interface Past {
  /** Returns the epoch of the last invalidation of everything in a shard. */
  all(shard: number): Promise<number>;
  /** Returns the marks of those tags that have one in a shard. */
  marks(shard: number, tags: readonly string[]): Promise<ReadonlyMap<string, number>>;
}

/** Options of {@linkcode Sink}. */
export interface SinkOptions {
  /** Replaces keys that exist; otherwise they stay. */
  readonly replace: boolean;
  /** Writes nothing. */
  readonly dryRun: boolean;
  /** The record of invalidations, if entries are written with the current epoch. */
  readonly past: Past | undefined;
  /** The layout of the source. */
  readonly from: Layout;
  /** The name of the key under which collections are built, in the shard of each. */
  readonly name: string;
}

/** The counts of keys by their outcome. */
export interface Counts {
  /** Keys processed, without the library's own. */
  keys: number;
  written: number;
  skipped: number;
  expired: number;
  invalidated: number;
  unreadable: number;
}

/** Matches the head of an entry: its epoch, its tags, and the fields after them. */
const ENTRY =
  /^\{(?:"born":(\d+),(?:"tags":\[([^\]]*)\],)?)?((?:"(?:at|ttl|load|version|none)":\d+(?:\.\d+)?,)*"(?:json|sealed|packed)":)/;

/** A command, with a function that counts the outcome for a key by the reply. */
interface Sent {
  readonly command: RawCommand;
  readonly judge?: (reply: RawReply) => void;
}

/** A mark that is there already. */
interface RaisedMark {
  readonly key: string;
  readonly value: string;
  readonly expires: number | undefined;
}

/** The facts of an entry by which it is judged. */
interface Head {
  readonly born: number;
  readonly tags: readonly string[];
  /** The shard at its source. */
  readonly shard: number;
}

/** Writes records. */
export class Sink {
  /** The counts of keys by their outcome. */
  readonly counts: Counts;
  /** The keys that could not be written, since the last `takeProblems`. */
  problems: Problem[] = [];
  readonly #connection: ManagedConnection;
  readonly #options: SinkOptions;
  readonly #nx: boolean;
  /** `true` for the embedded store: each send is atomic there, and RENAME does not exist. */
  readonly #atomic: boolean;
  /** `true` while the records of the current key are skipped. */
  #passing = false;
  /** The commands that make the current key of an embedded store, until it is complete. */
  #parts: RawCommand[] = [];
  /** The store's clock minus the local clock, in milliseconds. */
  #skew: number | undefined;

  constructor(connection: ManagedConnection, options: SinkOptions, counts: Partial<Counts> = {}) {
    this.#connection = connection;
    this.#options = options;
    this.#nx = !options.replace;
    this.#atomic = connection.location.driver.capabilities.transactions === "atomic";
    this.counts = { keys: 0, written: 0, skipped: 0, expired: 0, invalidated: 0, unreadable: 0, ...counts };
  }

  /** Returns and clears {@linkcode Sink.problems}. */
  takeProblems(): Problem[] {
    return this.problems.splice(0);
  }

  /** Returns the store's time in milliseconds since 1970. */
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
   * @param items The records. Those of a key follow each other, also across calls.
   * @param before Commands to send first.
   * @throws {StoreError} When the store does not answer, or refuses a command.
   */
  async write(items: readonly Item[], before: readonly RawCommand[] = []): Promise<void> {
    const now = await this.now();
    const made = await this.#entries(items, now);
    const sent: Sent[] = before.map((command) => ({ command }));
    for (const { command, judge } of made.commands) sent.push(judge ? { command, judge } : { command });
    const there = await this.#there(items);
    items.forEach((item, i) => void sent.push(...this.#key(item, made.values[i], now, there)));
    const marks: RaisedMark[] = [];
    for (const { record } of items) {
      if (this.#options.past || this.#options.dryRun || typeof record.key !== "string") continue;
      if (!this.#own(record.key)?.name.startsWith(MARKS) || (record.expires ?? Number.POSITIVE_INFINITY) <= now)
        continue;
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
      else if (reply instanceof Error) throw reply;
    });
    for (const mark of marks) await this.#raise(mark, now);
  }

  #own(key: Bulk): ReturnType<Layout["ownOf"]> {
    return this.#options.from.ownOf(key);
  }

  /** Returns the key under which a collection is built: RENAME needs it in the shard of the collection's own. */
  #temporary(logical: Bulk): string {
    const connection = this.#connection;
    return `${connection.start(connection.layout.shardOf(logical))}${OWN}${this.#options.name}`;
  }

  /** Updates a mark that exists: the later epoch and the later expiry hold. */
  async #raise({ key, value, expires }: RaisedMark, now: number): Promise<void> {
    const [found, left] = await this.#connection.must([
      ["GET", key],
      ["PTTL", key],
    ]);
    const commands: RawCommand[] = [];
    if (Number(word(found)) < Number(value)) commands.push(["SET", key, value, "XX", "KEEPTTL"]);
    if (expires === undefined) commands.push(["PERSIST", key]);
    // Redis 6.2 has no PEXPIREAT with GT.
    else if (Number(left) >= 0 && Number(left) < expires - now) commands.push(["PEXPIREAT", key, expires]);
    await this.#connection.must(commands);
  }

  /** Returns the texts to write for entries, and the commands for the marks of their tags. */
  async #entries(
    items: readonly Item[],
    now: number,
  ): Promise<{ values: (string | null | undefined)[]; commands: Sent[] }> {
    const { past, dryRun } = this.#options;
    const values: (string | null | undefined)[] = items.map(() => undefined);
    if (!past) return { values, commands: [] };
    const connection = this.#connection;
    /** The start of the shard's keys of each mark. */
    const marked = new Map<string, string>();
    const heads = items.map(({ record: { key, type, value, expires = Number.POSITIVE_INFINITY } }) => {
      if (type !== "string" || this.#own(key) || expires <= now) return undefined;
      const text = asText(value as Bulk);
      const found = text === undefined ? null : ENTRY.exec(text);
      if (!found) return undefined;
      const [, born = "0", list = "", rest = ""] = found;
      const tags = list.match(/"[^"]*"/g)?.map((tag) => tag.slice(1, -1)) ?? [];
      const shard = this.#options.from.shardOf(key);
      const start = connection.start(connection.layout.shardOf(key));
      return {
        born: Number(born),
        list,
        tags,
        text: rest + (text as string).slice(found[0].length),
        expires,
        shard,
        start,
      };
    });
    const holds = await this.#judgeHeads(heads, past);
    /** The latest expiry among the entries of each tag in a shard, by its mark's key. The mark must last as long. */
    const lasts = new Map<string, number>();
    /** The starts of the shards' keys, whose epochs are needed. */
    const starts = new Map<string, string>();
    heads.forEach((head, i) => {
      if (!head || !holds[i]) return;
      starts.set(head.start, "0");
      for (const tag of head.tags) {
        const mark = head.start + MARKS + tag;
        lasts.set(mark, Math.max(lasts.get(mark) ?? 0, head.expires));
        marked.set(mark, head.start);
      }
    });
    const wanted = [...lasts.keys()];
    const places = [...starts.keys()];
    const replies = await connection.must([
      ...places.map((start): RawCommand => ["GET", start + EPOCH_KEY]),
      ...wanted.map((key): RawCommand => ["PTTL", key]),
    ]);
    places.forEach((start, i) => void starts.set(start, /^\d+/.exec(word(replies[i]))?.[0] ?? "0"));
    const commands: RawCommand[] = [];
    wanted.forEach((key, i) => {
      const left = Number(replies[places.length + i]);
      const until = lasts.get(key) as number;
      if (left === -2) commands.push(["SET", key, starts.get(marked.get(key) as string) as string, "NX"]);
      if (until === Number.POSITIVE_INFINITY) {
        if (left !== -1) commands.push(["PERSIST", key]);
      } else if (left !== -1 && left < until - now) {
        // The same TTL as after a write of the entry.
        commands.push(["PEXPIRE", key, Math.ceil((until - now) * 2)]);
      }
    });
    heads.forEach((head, i) => {
      if (!head) return;
      const seq = starts.get(head.start) ?? "0";
      const own = head.list ? `"born":${seq},"tags":[${head.list}],` : seq === "0" ? "" : `"born":${seq},`;
      values[i] = holds[i] ? `{${own}${head.text}` : null;
    });
    return { values, commands: dryRun ? [] : commands.map((command) => ({ command })) };
  }

  /** Returns whether each entry was valid at its source, by the epoch and the marks of its own shard. */
  async #judgeHeads(heads: readonly (Head | undefined)[], past: Past): Promise<boolean[]> {
    const holds = heads.map(() => false);
    for (const shard of new Set(heads.flatMap((head) => head?.shard ?? []))) {
      const here = heads.map((head) => (head?.shard === shard ? head : undefined));
      const tags = [...new Set(here.flatMap((head) => head?.tags ?? []))];
      const [all, marks] = [await past.all(shard), await past.marks(shard, tags)];
      here.forEach((head, i) => {
        if (!head || head.born < all) return;
        holds[i] = head.tags.every((tag) => (marks.get(tag) ?? Number.POSITIVE_INFINITY) <= head.born);
      });
    }
    return holds;
  }

  /** Returns the records whose keys exist, if that must be known before writing. */
  async #there(items: readonly Item[]): Promise<ReadonlySet<BackupRecord>> {
    const { dryRun } = this.#options;
    if (!this.#nx || !(dryRun || this.#atomic)) return new Set();
    const asked = items
      .map(({ record }) => record)
      .filter(({ more, key }) => !more && !this.#own(key) && this.#connection.carries(key));
    const replies = await this.#connection.must(asked.map(({ key }) => ["EXISTS", this.#connection.physical(key)]));
    return new Set(asked.filter((_, i) => replies[i] === 1));
  }

  /** Returns the commands that write a record. */
  #key(
    { record, last }: Item,
    value: string | null | undefined,
    now: number,
    there: ReadonlySet<BackupRecord>,
  ): Sent[] {
    const { key, more, expires = Number.POSITIVE_INFINITY } = record;
    if (this.#own(key)) return [];
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
      // Deletes the part that is already built.
      return more && !this.#options.dryRun && !this.#atomic ? [{ command: ["UNLINK", this.#temporary(key)] }] : [];
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
  #built(record: BackupRecord, last: boolean, physical: Bulk): Sent[] {
    const key = this.#temporary(record.key);
    const sent: Sent[] = record.more ? [] : [{ command: ["UNLINK", key] }];
    for (const command of pushes(key, record, last)) {
      sent.push({ command });
      if (sent.length === 2 && !record.more) sent.push({ command: ["PEXPIRE", key, DAY_MS] });
    }
    // Only the first record of a key has its expiry.
    if (!record.more) this.#expires = record.expires;
    if (!last) return sent;
    sent.push({ command: this.#expires === undefined ? ["PERSIST", key] : ["PEXPIREAT", key, this.#expires] });
    sent.push({ command: [this.#nx ? "RENAMENX" : "RENAME", key, physical], judge: this.#judge });
    if (this.#nx) sent.push({ command: ["UNLINK", key] });
    return sent;
  }
  #expires: number | undefined;

  /** Collects the commands of a collection, and returns all of them with its last record. */
  #collected(record: BackupRecord, last: boolean, physical: Bulk): Sent[] {
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

  /** Counts the outcome for a key. */
  readonly #judge = (reply: RawReply): void => {
    const { counts } = this;
    if (!(reply instanceof Error)) {
      if (reply === null || reply === 0) counts.skipped++;
      else counts.written++;
    } else if (/no such key/i.test(reply.message)) {
      // The key expired while it was built.
      counts.expired++;
    } else {
      throw reply;
    }
  };

  /** Returns whether the driver can carry a record. */
  #carries({ key, type, value }: BackupRecord): boolean {
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

/** Returns the commands that add a record's elements to a key. */
function pushes(key: Bulk, { type, value }: BackupRecord, last: boolean): RawCommand[] {
  if (type === "stream") return stream(key, value as StreamPart, last);
  const flat = value as readonly Bulk[];
  // ZADD takes the score before the member.
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
  // MKSTREAM creates the stream even if it has no entries.
  commands.push(["XGROUP", "CREATE", key, "larder", "$", "MKSTREAM"], ["XGROUP", "DESTROY", key, "larder"]);
  const { last: id, added, deleted, groups } = end;
  const more = added !== undefined && deleted !== undefined ? ["ENTRIESADDED", added, "MAXDELETEDID", deleted] : [];
  commands.push(["XSETID", key, id, ...more]);
  for (const { name, last: delivered, read } of groups) {
    commands.push(["XGROUP", "CREATE", key, name, delivered, ...(read === undefined ? [] : ["ENTRIESREAD", read])]);
  }
  return commands;
}
