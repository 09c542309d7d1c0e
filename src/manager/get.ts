import { type RawCommand, type RawReply, StoreError } from "../../drivers/driver.ts";
import { describe } from "../base/check.ts";
import { fromDocument, parse } from "../entry/codec.ts";
import { open } from "../entry/seal.ts";
import { asText, openManagedConnection } from "./connection.ts";
import { looker } from "./list.ts";
import type { Bulk, ManagedClient, StepOptions, Target } from "./target.ts";

/** Options of {@linkcode get}. */
export type GetOptions = Target &
  StepOptions & {
    /** The key below the prefix. */
    readonly key: Bulk;
    /** The most bytes of a string that are read; of a longer one its beginning, as it is stored. @default all */
    readonly maxBytes?: number | undefined;
  };

/** What is known of a stored entry beside its value. */
export interface EntryHead {
  /** The clock of its keyspace when it was loaded. */
  readonly born?: number;
  /** Its tags, as they stand in the store. */
  readonly tags?: readonly string[];
  /** When it was written, in milliseconds since 1970. */
  readonly at?: number;
  /** For how many milliseconds from then it is fresh. */
  readonly ttl?: number;
  /** The version of its schema. */
  readonly version?: number;
  /** Whether it says that there is nothing. */
  readonly none?: true;
  /** The id of the key that it is encrypted with. */
  readonly sealed?: string;
  /** Whether it is compressed. */
  readonly packed?: true;
}

/** A key, and its value. */
export interface KeyDetails {
  /** The type, as `list` has it. */
  readonly type: string;
  /** Milliseconds to live; `null` without expiry. */
  readonly ttl: number | null;
  /** Bytes, as `list` has them. */
  readonly size: number | null;
  /** What is known of it, where it is an entry of this library. */
  readonly entry?: EntryHead;
  /**
   * The value: of an entry what was stored (`undefined` where it is encrypted), of other strings the text; lists and sets as arrays, hashes and
   * sorted sets (member, score) as arrays of pairs, streams as arrays of id and fields. Bytes that are not UTF-8 are a Uint8Array.
   */
  readonly value: unknown;
  /** How many elements there are, where `value` holds only the first 1000 of them; how many bytes, where it holds only those of `maxBytes`. */
  readonly length?: number;
  /** Whether `value` holds what may be bytes that are not UTF-8, which the connection cannot carry: over REST. */
  readonly unreadable?: true;
}

/**
 * Reads a key of a service or a database, whatever its type. Encrypted values stay so.
 *
 * @param client The client.
 * @param options Whose key, and which.
 * @returns What is there; `undefined` when nothing is.
 * @throws {TypeError | RangeError} For a service or database that there is none of, or an empty key.
 * @throws {StoreError} When the store is away.
 */
export async function get(client: ManagedClient, options: GetOptions): Promise<KeyDetails | undefined> {
  const { key, maxBytes = Number.POSITIVE_INFINITY } = options;
  if (!(maxBytes > 0)) throw new RangeError(`cannot use maxBytes ${describe(maxBytes)}: accepted are numbers above 0`);
  const given = typeof key === "string" ? key.isWellFormed() : (key as unknown) instanceof Uint8Array;
  if (!given || key.length === 0) {
    throw new TypeError(`cannot read ${describe(key)}: accepted are keys of text or bytes that are not empty`);
  }
  const connection = await openManagedConnection(client, options);
  try {
    const physical = connection.physical(key);
    if (typeof physical !== "string" && !connection.location.driver.connect) {
      throw new TypeError(`cannot read a key of bytes over ${connection.location.driver.name}: accepted is text`);
    }
    const [entry] = await looker(connection)([physical]);
    if (!entry) return undefined;
    const { type, ttl, size } = entry;
    const read = READS[type];
    if (!read) return { type, ttl, size, value: undefined };
    if (type === "string" && maxBytes < Number.POSITIVE_INFINITY) {
      const [length] = await connection.must([["STRLEN", physical]]);
      if (Number(length) > maxBytes) {
        const [start] = await connection.send([["GETRANGE", physical, 0, maxBytes - 1]]);
        // Where there is no such command, in the embedded store, nobody is held up by reading it all.
        if (!(start instanceof StoreError)) {
          return { type, ttl, size, value: beginning(start as Bulk), length: Number(length) };
        }
      }
    }
    const [count] = read.count ? await connection.must([[read.count, physical]]) : [0];
    const long = Number(count) > MOST;
    const [answer] = await connection.must([(long && read.part ? read.part : read.whole)(physical)]);
    const reply = long && read.part && read.scans ? (answer as RawReply[])[1] : answer;
    if (reply === null || (Array.isArray(reply) && reply.length === 0 && type !== "stream")) return undefined;
    const found = type === "string" ? await stored(reply as Bulk) : { value: shape(type, reply as RawReply) };
    const doubtful = holds(reply as RawReply, (bulk) => connection.doubtful(bulk));
    return { type, ttl, size, ...found, ...(long && { length: Number(count) }), ...(doubtful && { unreadable: true }) };
  } finally {
    await connection.close();
  }
}

/** The most elements of a collection. */
const MOST = 1000;

/** How a type is read: how many elements it has, all of them, and the first. */
interface Reading {
  readonly count?: string;
  readonly whole: (key: Bulk) => RawCommand;
  readonly part?: (key: Bulk) => RawCommand;
  /** Whether `part` answers a cursor first. */
  readonly scans?: true;
}

const READS: Readonly<Record<string, Reading>> = {
  string: { whole: (key) => ["GET", key] },
  hash: {
    count: "HLEN",
    whole: (key) => ["HGETALL", key],
    part: (key) => ["HSCAN", key, 0, "COUNT", MOST],
    scans: true,
  },
  list: { count: "LLEN", whole: (key) => ["LRANGE", key, 0, MOST - 1] },
  set: {
    count: "SCARD",
    whole: (key) => ["SMEMBERS", key],
    part: (key) => ["SSCAN", key, 0, "COUNT", MOST],
    scans: true,
  },
  zset: { count: "ZCARD", whole: (key) => ["ZRANGE", key, 0, MOST - 1, "WITHSCORES"] },
  stream: { count: "XLEN", whole: (key) => ["XRANGE", key, "-", "+", "COUNT", MOST] },
};

function holds(reply: RawReply, test: (bulk: Bulk) => boolean): boolean {
  if (typeof reply === "string" || reply instanceof Uint8Array) return test(reply);
  return Array.isArray(reply) && reply.some((item) => holds(item, test));
}

/** Replies as they are to be shown: text where it is text. */
function plain(reply: RawReply): unknown {
  if (reply instanceof Uint8Array) return asText(reply) ?? Uint8Array.from(reply);
  return Array.isArray(reply) ? reply.map(plain) : reply;
}

/** The beginning of a string as text, where it is text: its last character may be cut. */
function beginning(bulk: Bulk): unknown {
  if (typeof bulk === "string") return bulk;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bulk, { stream: true });
  } catch {
    return Uint8Array.from(bulk);
  }
}

function pairs(flat: readonly unknown[]): unknown[][] {
  return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);
}

/** Redis writes `inf`. */
const toScore = (text: string): number => Number(text.replace("inf", "Infinity"));

function shape(type: string, reply: RawReply): unknown {
  const all = plain(reply);
  if (!Array.isArray(all)) return undefined;
  if (type === "hash") return pairs(all).slice(0, MOST);
  if (type === "zset") return pairs(all).map(([member, score]) => [member, toScore(String(score))]);
  if (type === "stream") return all.map(([id, fields]) => [id, pairs(fields)]);
  return all.slice(0, MOST);
}

/** The value of a string: of an entry what was stored. */
async function stored(bulk: Bulk): Promise<{ value: unknown; entry?: EntryHead }> {
  const text = asText(bulk);
  if (text === undefined) return { value: plain(bulk) };
  try {
    const document = parse(text);
    if (typeof document === "number") return { value: text };
    const { json: _, meta: __, size: ___, sealed, packed, none, ...head } = document;
    const id = typeof sealed === "string" ? /^([\w-]{1,40})[.~]/.exec(sealed)?.[1] : undefined;
    const entry: EntryHead = {
      ...head,
      ...(none && { none: true }),
      ...(id && { sealed: id }),
      ...(packed !== undefined && { packed: true }),
    };
    if (sealed !== undefined) return { value: undefined, entry };
    if (packed === undefined) return { value: fromDocument(document), entry };
    const inner = parse(await open(document, {}, ""));
    return { value: typeof inner === "number" ? inner : fromDocument(inner), entry };
  } catch {
    return { value: text };
  }
}
