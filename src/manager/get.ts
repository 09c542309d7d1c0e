import type { RawCommand, RawReply } from "../../drivers/driver.ts";
import { invalid, invalidType } from "../base/check.ts";
import { fromDocument, parse } from "../entry/codec.ts";
import { open } from "../entry/seal.ts";
import { asText, openManagedConnection } from "./connection.ts";
import { entryReader } from "./list.ts";
import type { Bulk, ManagedClient, StepOptions, Target } from "./target.ts";

/** Options of {@linkcode get}. */
export type GetOptions = Target &
  StepOptions & {
    /** The key, without the prefix. */
    readonly key: Bulk;
    /**
     * The maximum number of bytes that are read of a string. Of a longer one, the beginning is returned as stored.
     * @default all
     */
    readonly maxBytes?: number | undefined;
  };

/** The metadata of a stored entry. */
export interface EntryHead {
  /** The epoch of its keyspace before it was loaded. */
  readonly born?: number;
  /** Its tags, encoded as in the store. */
  readonly tags?: readonly string[];
  /** The time of the write, in milliseconds since 1970. */
  readonly at?: number;
  /** The milliseconds after the write during which it is fresh. */
  readonly ttl?: number;
  /** The version of its schema. */
  readonly version?: number;
  /** Set if it records that a loader found nothing. */
  readonly none?: true;
  /** The id of the key that it is encrypted with. */
  readonly sealed?: string;
  /** Set if it is compressed. */
  readonly packed?: true;
}

/** A key's type, TTL, size and value. */
export interface KeyDetails {
  /** The type, as `list` returns it. */
  readonly type: string;
  /** Milliseconds to live; `null` without an expiry. */
  readonly ttl: number | null;
  /** Bytes, as `list` returns them. */
  readonly size: number | null;
  /** The metadata, if it is an entry of this library. */
  readonly entry?: EntryHead;
  /**
   * The value: of an entry the stored value (`undefined` if it is encrypted), of other strings the text; of lists and
   * sets an array; of hashes and sorted sets (member, score) an array of pairs; of streams an array of id and fields.
   * Bytes that are not UTF-8 are a Uint8Array.
   */
  readonly value: unknown;
  /** The number of elements if `value` holds only the first 1000; the number of bytes if it holds only `maxBytes`. */
  readonly length?: number;
  /** Set if `value` may hold bytes that are not UTF-8, which the driver cannot carry: over REST. */
  readonly unreadable?: true;
}

/**
 * Reads a key of a service or a database, of any type. Encrypted values stay encrypted.
 *
 * @param client The client.
 * @param options The service or database, and the key.
 * @returns The key's details; `undefined` if it does not exist.
 * @throws {TypeError | RangeError} For a service or database that does not exist, or an empty key.
 * @throws {StoreError} When the store does not answer.
 */
export async function get(client: ManagedClient, options: GetOptions): Promise<KeyDetails | undefined> {
  const { key, maxBytes = Number.POSITIVE_INFINITY } = options;
  if (!(maxBytes > 0)) throw invalid("read with maxBytes", maxBytes, "a number above 0", RangeError);
  const given = typeof key === "string" ? key.isWellFormed() : (key as unknown) instanceof Uint8Array;
  if (!given || key.length === 0) {
    throw invalid("read a key", key, "text or bytes that are not empty", TypeError);
  }
  const connection = await openManagedConnection(client, options);
  try {
    const physical = connection.physical(key);
    if (typeof physical !== "string" && !connection.location.driver.connect) {
      throw invalidType(`read a key over ${connection.location.driver.name}`, physical, "text");
    }
    const [entry] = await entryReader(connection)([physical]);
    if (!entry) return undefined;
    const { type, ttl, size } = entry;
    const read = READS[type];
    if (!read) return { type, ttl, size, value: undefined };
    if (type === "string" && maxBytes < Number.POSITIVE_INFINITY) {
      const [length] = await connection.must([["STRLEN", physical]]);
      if (Number(length) > maxBytes) {
        const [start] = await connection.send([["GETRANGE", physical, 0, maxBytes - 1]]);
        // The embedded store lacks this command, but reading the whole value from it is cheap.
        if (!(start instanceof Error)) {
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

/** The maximum number of elements of a collection. */
const MOST = 1000;

/** The commands that read a type: its number of elements, all elements, and the first elements. */
interface Reading {
  readonly count?: string;
  readonly whole: (key: Bulk) => RawCommand;
  readonly part?: (key: Bulk) => RawCommand;
  /** Set if the reply to `part` starts with a cursor. */
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

/** Returns a reply with text instead of bytes that are UTF-8. */
function withText(reply: RawReply): unknown {
  if (reply instanceof Uint8Array) return asText(reply) ?? Uint8Array.from(reply);
  return Array.isArray(reply) ? reply.map(withText) : reply;
}

/** Returns the beginning of a string, as text if it is UTF-8. Its last character may be cut. */
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

/** Parses a score, of which Redis writes infinity as `inf`. */
const toScore = (text: string): number => Number(text.replace("inf", "Infinity"));

function shape(type: string, reply: RawReply): unknown {
  const all = withText(reply);
  if (!Array.isArray(all)) return undefined;
  if (type === "hash") return pairs(all).slice(0, MOST);
  if (type === "zset") return pairs(all).map(([member, score]) => [member, toScore(String(score))]);
  if (type === "stream") return all.map(([id, fields]) => [id, pairs(fields)]);
  return all.slice(0, MOST);
}

/** Returns the value of a string: of an entry the stored value, otherwise the text or the bytes. */
async function stored(bulk: Bulk): Promise<{ value: unknown; entry?: EntryHead }> {
  const text = asText(bulk);
  if (text === undefined) return { value: withText(bulk) };
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
