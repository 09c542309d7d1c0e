/** Reads the records of a service or a database page by page, so that memory stays bounded. */
import type { RawCommand, RawReply, StoreError } from "../../drivers/driver.ts";
import { asText, displayText, type ManagedConnection, word } from "./connection.ts";
import {
  type BackupRecord,
  CHUNK,
  type ConsumerGroup,
  KEY_TYPES,
  type KeyType,
  type Page,
  SIZE_COMMANDS,
  type StreamEnd,
} from "./record.ts";
import type { Bulk, Problem } from "./target.ts";

/** The number of keys that one step reads. */
const PAGE = 500;
/** The approximate number of bytes of values that one step reads. */
const STEP_BYTES = 2 ** 18;
/** The estimated bytes of an element of a collection. */
const ELEMENT_BYTES = 128;
/** The number of further attempts for a key whose type changes while it is read. */
const TRIES = 5;

/** The commands that read a whole key. */
const WHOLE: Readonly<Record<KeyType, (key: Bulk) => RawCommand[]>> = {
  string: (key) => [["GET", key]],
  hash: (key) => [["HGETALL", key]],
  list: (key) => [["LRANGE", key, 0, -1]],
  set: (key) => [["SMEMBERS", key]],
  zset: (key) => [["ZRANGE", key, 0, -1, "WITHSCORES"]],
  stream: (key) => [["XRANGE", key, "-", "+"], ...ends(key)],
};

const ends = (key: Bulk): RawCommand[] => [
  ["XINFO", "STREAM", key],
  ["XINFO", "GROUPS", key],
];

/** Reads records over a connection. */
export class Source {
  readonly #connection: ManagedConnection;
  /** `true` if the store reports the time of an expiry. Otherwise it is computed from the clock and the TTL. */
  #absolute: boolean | undefined;

  constructor(connection: ManagedConnection) {
    this.#connection = connection;
  }

  /**
   * Reads the keys that match a logical glob and a test.
   *
   * @param pattern The glob.
   * @param wanted The test of a physical key.
   * @returns Pages of records. The records of a key follow each other.
   */
  async *read(pattern: string, wanted: (physical: Bulk) => boolean): AsyncGenerator<Page, void, void> {
    for await (const page of this.#connection.scan(pattern, PAGE)) yield* this.keys(page.filter(wanted));
  }

  /** Reads the records of keys. */
  async *keys(keys: readonly Bulk[], tries: number = TRIES): AsyncGenerator<Page, void, void> {
    const connection = this.#connection;
    const problems: Problem[] = [];
    const report = (key: Bulk, reason: string): void =>
      void problems.push({ key: displayText(connection.logical(key)), reason });
    const known = keys.filter((key) => {
      const doubtful = connection.doubtful(key);
      if (doubtful) report(key, this.#doubt("key"));
      return !doubtful;
    });
    const types = (await connection.must(known.map((key) => ["TYPE", key]))).map(word);
    const found: { key: Bulk; type: KeyType }[] = [];
    known.forEach((key, i) => {
      const type = types[i] as string;
      if ((KEY_TYPES as readonly string[]).includes(type)) found.push({ key, type: type as KeyType });
      else if (type !== "none") report(key, `its type ${type} is not supported`);
    });
    const sizes = await connection.send(found.map(({ key, type }) => [SIZE_COMMANDS[type], key]));
    /** The keys whose type has changed since it was read. */
    const again: Bulk[] = [];
    let group: typeof found = [];
    let bytes = 0;
    for (const [i, one] of found.entries()) {
      const size = sizes[i];
      if (size instanceof Error) {
        again.push(one.key);
        continue;
      }
      if (one.type !== "string" && Number(size) > CHUNK) {
        yield* this.#large(one.key, one.type, report);
        continue;
      }
      const weight = one.type === "string" ? Number(size) : Number(size) * ELEMENT_BYTES;
      if (bytes + weight > STEP_BYTES && group.length > 0) {
        yield { records: await this.#small(group, again, report), problems: problems.splice(0) };
        group = [];
        bytes = 0;
      }
      group.push(one);
      bytes += weight;
    }
    yield { records: await this.#small(group, again, report), problems: problems.splice(0) };
    if (again.length === 0) return;
    if (tries > 0) yield* this.keys(again, tries - 1);
    else {
      for (const key of again) report(key, "its type keeps changing");
      yield { records: [], problems };
    }
  }

  /** Reads whole keys, each value with its expiry. */
  async #small(
    keys: readonly { key: Bulk; type: KeyType }[],
    again: Bulk[],
    report: (key: Bulk, reason: string) => void,
  ): Promise<BackupRecord[]> {
    if (keys.length === 0) return [];
    this.#absolute ??= !(
      (await this.#connection.send([["PEXPIRETIME", this.#connection.own("none")]]))[0] instanceof Error
    );
    const time: RawCommand[] = this.#absolute ? [] : [["TIME"]];
    const reads = keys.map(({ key, type }) => [...WHOLE[type](key), this.#left(key)]);
    const replies = await this.#connection.send([...time, ...reads.flat()]);
    const now = this.#absolute ? 0 : toMilliseconds(replies.shift());
    const records: BackupRecord[] = [];
    let at = 0;
    for (const [i, { key, type }] of keys.entries()) {
      const count = (reads[i] as RawCommand[]).length;
      const [value, ...rest] = replies.slice(at, at + count);
      at += count;
      const left = Number(rest.at(-1));
      if (value instanceof Error) {
        if (value.code !== "WRONGTYPE") throw value;
        again.push(key);
        continue;
      }
      const made = this.#record(key, type, value, type === "stream" ? rest : undefined, report);
      // Empty collections do not exist in a store, except streams.
      const empty = value === null || (Array.isArray(value) && value.length === 0 && type !== "stream");
      if (!made || empty || left === -2) continue;
      records.push(left >= 0 ? { ...made, expires: now + left } : made);
    }
    return records;
  }

  /** Reads a key with many elements in parts. */
  async *#large(
    key: Bulk,
    type: KeyType,
    report: (key: Bulk, reason: string) => void,
  ): AsyncGenerator<Page, void, void> {
    const connection = this.#connection;
    this.#absolute ??= !((await connection.send([["PEXPIRETIME", connection.own("none")]]))[0] instanceof Error);
    const [leftReply, time] = await connection.must([this.#left(key), ...(this.#absolute ? [] : [["TIME"]])]);
    const left = Number(leftReply);
    const expires = left >= 0 ? (this.#absolute ? 0 : toMilliseconds(time)) + left : undefined;
    let more = false;
    const waiting: BackupRecord[] = [];
    for await (const [value, end] of this.#parts(key, type)) {
      const made = this.#record(key, type, value, end, report);
      if (!made) return;
      waiting.push(more ? { ...made, more } : { ...made, expires });
      more = true;
      // If a later part may be unreadable, no part may be handed out before all are read.
      if (connection.exact) yield { records: waiting.splice(0), problems: [] };
    }
    yield { records: waiting, problems: [] };
  }

  /** Reads the elements of a key in parts. The last part of a stream comes with the stream's state. */
  async *#parts(key: Bulk, type: KeyType): AsyncGenerator<[RawReply, RawReply[]?], void, void> {
    const connection = this.#connection;
    if (type === "list") {
      for (let from = 0; ; from += CHUNK) {
        const [part] = (await connection.must([["LRANGE", key, from, from + CHUNK - 1]])) as [RawReply[]];
        if (part.length > 0) yield [part];
        if (part.length < CHUNK) return;
      }
    }
    if (type === "stream") {
      for (let from = "-"; ; ) {
        const [part] = (await connection.must([["XRANGE", key, from, "+", "COUNT", CHUNK]])) as [RawReply[][]];
        if (part.length === CHUNK) yield [part];
        else {
          yield [part, await connection.send(ends(key))];
          return;
        }
        from = `(${word(part.at(-1)?.[0])}`;
      }
    }
    const verb = { hash: "HSCAN", set: "SSCAN", zset: "ZSCAN" }[type as string] as string;
    let cursor = "0";
    do {
      const [reply] = (await connection.must([[verb, key, cursor, "COUNT", CHUNK]])) as [[RawReply, RawReply[]]];
      cursor = word(reply[0]);
      if (reply[1].length > 0) yield [reply[1]];
    } while (cursor !== "0");
  }

  /** Makes a record of a value, or reports why it cannot be one. */
  #record(
    physical: Bulk,
    type: KeyType,
    value: RawReply | undefined,
    end: readonly RawReply[] | undefined,
    report: (key: Bulk, reason: string) => void,
  ): BackupRecord | undefined {
    const key = this.#connection.inFile(physical);
    const base = { key: asText(key) ?? key, type, expires: undefined, more: false };
    if (!this.#connection.bytes && this.#doubtful(value as RawReply)) {
      report(physical, this.#doubt("value"));
      return undefined;
    }
    if (type !== "stream") return { ...base, value: value as Bulk | Bulk[] };
    const entries = (value as [RawReply, Bulk[]][]).map(([id, fields]) => [word(id), fields] as const);
    if (!end) return { ...base, value: { entries } };
    const [info, groups] = end as [RawReply, RawReply];
    if (info instanceof Error || groups instanceof Error) {
      const { message } = (info instanceof Error ? info : groups) as StoreError;
      // A key that no longer exists is left out without a report.
      if (!/no such key/i.test(message)) report(physical, `its consumer groups cannot be read: ${message}`);
      return undefined;
    }
    return { ...base, value: { entries, end: streamEnd(info as RawReply[], groups as RawReply[][]) } };
  }

  #doubtful(reply: RawReply): boolean {
    return Array.isArray(reply)
      ? reply.some((item) => this.#doubtful(item))
      : typeof reply === "string" && this.#connection.doubtful(reply);
  }

  #doubt(part: string): string {
    return `its ${part} may not be UTF-8, which ${this.#connection.location.driver.name} cannot carry`;
  }

  #left(key: Bulk): RawCommand {
    return [this.#absolute ? "PEXPIRETIME" : "PTTL", key];
  }
}

/** Returns the milliseconds since 1970 of a reply to TIME. */
function toMilliseconds(reply: RawReply | undefined): number {
  const [seconds, micros] = (reply as RawReply[]).map(word);
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}

/** Returns a flat reply of names and values as a map. */
function fields(flat: readonly RawReply[]): Map<string, RawReply> {
  return new Map(Array.from({ length: flat.length / 2 }, (_, i) => [word(flat[2 * i]), flat[2 * i + 1] as RawReply]));
}

/** Returns the state of a stream, from the replies to XINFO. */
function streamEnd(info: readonly RawReply[], groups: readonly RawReply[][]): StreamEnd {
  const of = fields(info);
  const added = of.get("entries-added");
  const deleted = of.get("max-deleted-entry-id");
  return {
    last: word(of.get("last-generated-id")),
    ...(typeof added === "number" && { added }),
    ...(deleted !== undefined && { deleted: word(deleted) }),
    groups: groups.map((group): ConsumerGroup => {
      const its = fields(group);
      const read = its.get("entries-read");
      return {
        name: its.get("name") as Bulk,
        last: word(its.get("last-delivered-id")),
        ...(typeof read === "number" && { read }),
      };
    }),
  };
}
