/**
 * The lines of a backup:
 *
 *     {"larder":"backup","format":1,"service":"product","database":1,"created":"2026-01-01T00:00:00.000Z"}
 *     {"key":"product:1","type":"string","value":"{\"json\":1}","expires":1767225600000}
 *     {"key":"h","type":"hash","value":[["field","value"],[{"base64":"/w=="},""]]}
 *     {"key":"h","more":true,"value":[["another","value"]]}
 *     {"end":true,"keys":2,"sha256":"..."}
 *
 * Keys stand below the prefix, so any place can take them. Text is a string where it is UTF-8, otherwise `{"base64":"..."}`. Lists and sets are
 * arrays, sorted sets arrays of member and score. A stream is `{"entries":[["1-1",[["field","value"]]]],"last":"1-1","groups":[...]}`. What follows
 * a key's first record, because it has more than 1000 elements, goes on with `"more"`.
 */
import { fromBase64, toBase64 } from "../base/base64.ts";
import { describe } from "../base/check.ts";
import { asText } from "./connection.ts";
import type { Bulk, Problem } from "./target.ts";

/** The number of the format. */
export const FORMAT = 1;

/** The most elements of a collection in one record, or nearly so. */
export const CHUNK = 1000;

/** The types that are known. */
export const KEY_TYPES = ["string", "hash", "list", "set", "zset", "stream"] as const;
/** One of them. */
export type KeyType = (typeof KEY_TYPES)[number];

/** A consumer group of a stream. */
export interface ConsumerGroup {
  readonly name: Bulk;
  /** The id of the last entry that was delivered. */
  readonly last: string;
  /** How many entries it has read, where that is known. */
  readonly read?: number;
}

/** What is known of a stream beside its entries. */
export interface StreamEnd {
  readonly last: string;
  /** How many entries were ever added, and the greatest id that was deleted; from Redis 7 on. */
  readonly added?: number;
  readonly deleted?: string;
  readonly groups: readonly ConsumerGroup[];
}

/** Some of a stream's entries, as id and fields with values; with the last of them, its end. */
export interface StreamPart {
  readonly entries: readonly (readonly [id: string, fields: readonly Bulk[]])[];
  readonly end?: StreamEnd | undefined;
}

/** A key, or some of one. */
export interface Rec {
  /** The key below the prefix. */
  readonly key: Bulk;
  readonly type: KeyType;
  /** Hashes and sorted sets in a flat list: field and value, member and score. */
  readonly value: Bulk | readonly Bulk[] | StreamPart;
  /** When the key expires, in milliseconds since 1970. */
  readonly expires?: number | undefined;
  /** Whether it goes on with the record before. */
  readonly more: boolean;
}

/** Records, and what could not be read. */
export interface Page {
  readonly records: readonly Rec[];
  readonly problems: readonly Problem[];
}

const bulk = (value: Bulk): unknown => asText(value) ?? { base64: toBase64(value as Uint8Array) };

function pairs(flat: readonly Bulk[]): unknown[] {
  const all: unknown[] = [];
  for (let i = 0; i < flat.length; i += 2) all.push([bulk(flat[i] as Bulk), bulk(flat[i + 1] as Bulk)]);
  return all;
}

/** The line of a record, with its end. */
export function toLine({ key, type, value, expires, more }: Rec): string {
  let shape: unknown;
  if (type === "string") shape = bulk(value as Bulk);
  else if (type === "stream") {
    const { entries, end } = value as StreamPart;
    shape = {
      entries: entries.map(([id, fields]) => [id, pairs(fields)]),
      ...end,
      ...(end && { groups: end.groups.map((group) => ({ ...group, name: bulk(group.name) })) }),
    };
  } else
    shape = (type === "hash" || type === "zset" ? pairs : (all: readonly Bulk[]) => all.map(bulk))(value as Bulk[]);
  const head = more ? { more: true } : { type };
  return `${JSON.stringify({ key: bulk(key), ...head, value: shape, ...(expires !== undefined && { expires }) })}\n`;
}

/** What a line says that cannot be; its message is the reason. */
export class Malformed extends Error {}

function must(holds: unknown, reason: string): asserts holds {
  if (!holds) throw new Malformed(reason);
}

function toBulk(value: unknown): Bulk {
  if (typeof value === "string") return value;
  const { base64 } = (value ?? {}) as { base64?: unknown };
  must(typeof base64 === "string", `${describe(value)} stands where text or base64 is expected`);
  try {
    return fromBase64(base64);
  } catch {
    throw new Malformed("what should be base64 is none");
  }
}

function list(value: unknown): readonly unknown[] {
  must(Array.isArray(value), `${describe(value)} stands where an array is expected`);
  return value;
}

function flat(value: unknown): Bulk[] {
  return list(value).flatMap((pair) => {
    must(list(pair).length === 2, "a pair does not have two parts");
    return (pair as unknown[]).map(toBulk);
  });
}

const ID = /^\d{1,20}-\d{1,20}$/;

function toStream(value: unknown): StreamPart {
  const { entries, last, added, deleted, groups } = (value ?? {}) as Record<string, unknown>;
  const id = (text: unknown): string => {
    must(typeof text === "string" && ID.test(text), `${describe(text)} is no id of a stream's entry`);
    return text;
  };
  const count = (number: unknown): number => {
    must(Number.isSafeInteger(number), `${describe(number)} is no count`);
    return number as number;
  };
  return {
    entries: list(entries).map((entry) => [id(list(entry)[0]), flat((entry as unknown[])[1])] as const),
    end:
      last === undefined
        ? undefined
        : {
            last: id(last),
            ...(added !== undefined && { added: count(added) }),
            ...(deleted !== undefined && { deleted: id(deleted) }),
            groups: list(groups).map((group) => {
              const { name, last: delivered, read } = (group ?? {}) as Record<string, unknown>;
              return { name: toBulk(name), last: id(delivered), ...(read !== undefined && { read: count(read) }) };
            }),
          },
  };
}

/**
 * Reads a line.
 *
 * @param line What it says.
 * @param before The record before it.
 * @returns The record.
 * @throws {Malformed} For what is no record.
 */
export function toRecord(line: Line, before: Rec | undefined): Rec {
  const key = toBulk(line.key);
  const more = line.more === true;
  must(!more || (before && same(before.key, key)), "it goes on with a key that is not the one before it");
  const type = more ? (before as Rec).type : (line.type as KeyType);
  must(KEY_TYPES.includes(type) && !(more && type === "string"), `${describe(type)} is no type that is known`);
  const { value, expires } = line;
  must(expires === undefined || (Number.isSafeInteger(expires) && !more), `${describe(expires)} is no expiry`);
  const shape =
    type === "string"
      ? toBulk(value)
      : type === "stream"
        ? toStream(value)
        : type === "hash" || type === "zset"
          ? flat(value)
          : list(value).map(toBulk);
  return { key, type, value: shape, expires: expires as number | undefined, more };
}

/** A line as it was parsed. */
export interface Line {
  readonly key?: unknown;
  readonly more?: unknown;
  readonly type?: unknown;
  readonly value?: unknown;
  readonly expires?: unknown;
}

/** Whether two keys are one. */
export function same(a: Bulk, b: Bulk): boolean {
  if (typeof a === "string" || typeof b === "string") return a === b;
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The command that tells how much is in a key of each type. */
export const SIZES: Readonly<Record<KeyType, string>> = {
  string: "STRLEN",
  hash: "HLEN",
  list: "LLEN",
  set: "SCARD",
  zset: "ZCARD",
  stream: "XLEN",
};
