/**
 * The lines of a backup:
 *
 *     {"larder":"backup","format":1,"service":"product","database":1,"created":"2026-01-01T00:00:00.000Z"}
 *     {"key":"product:1","type":"string","value":"{\"json\":1}","expires":1767225600000}
 *     {"key":"h","type":"hash","value":[["field","value"],[{"base64":"/w=="},""]]}
 *     {"key":"h","more":true,"value":[["another","value"]]}
 *     {"end":true,"keys":2,"sha256":"..."}
 *
 * Keys have no prefix, so that they fit any service or database. Text in UTF-8 is a string, any other
 * `{"base64":"..."}`. Lists and sets are arrays, sorted sets arrays of member and score. A stream is
 * `{"entries":[["1-1",[["field","value"]]]],"last":"1-1","groups":[...]}`. A key of more than 1000 elements continues
 * in further records with `"more"`.
 */
import { fromBase64, toBase64 } from "../base/base64.ts";
import { describe } from "../base/check.ts";
import { asText } from "./connection.ts";
import type { Bulk, Problem } from "./target.ts";

/** The version of the format. */
export const FORMAT = 1;
/**
 * That of files with shards, which readers of the first do not know: the header has the number as `shards`, and the
 * library's own keys start with the tag of their shard, such as `{c9q}#larder:clock`.
 */
export const SHARDED_FORMAT = 2;

/** The approximate limit of the elements in one record. */
export const CHUNK = 1000;

/** The types of keys that a backup can hold. */
export const KEY_TYPES = ["string", "hash", "list", "set", "zset", "stream"] as const;
/** A type of keys. */
export type KeyType = (typeof KEY_TYPES)[number];

/** A consumer group of a stream. */
export interface ConsumerGroup {
  readonly name: Bulk;
  /** The id of the last entry that was delivered. */
  readonly last: string;
  /** The number of entries it has read, if the store reports it. */
  readonly read?: number;
}

/** The state of a stream besides its entries. */
export interface StreamEnd {
  readonly last: string;
  /** The number of entries ever added, and the greatest id deleted; from Redis 7 on. */
  readonly added?: number;
  readonly deleted?: string;
  readonly groups: readonly ConsumerGroup[];
}

/** A part of a stream's entries, as id and fields with values. The last part has the stream's state. */
export interface StreamPart {
  readonly entries: readonly (readonly [id: string, fields: readonly Bulk[]])[];
  readonly end?: StreamEnd | undefined;
}

/** A key, or a part of one. */
export interface BackupRecord {
  /** The key, without the prefix. */
  readonly key: Bulk;
  readonly type: KeyType;
  /** The value. Hashes and sorted sets are flat lists of field and value, or member and score. */
  readonly value: Bulk | readonly Bulk[] | StreamPart;
  /** The time of expiry, in milliseconds since 1970. */
  readonly expires?: number | undefined;
  /** `true` if it continues the record before. */
  readonly more: boolean;
}

/** A page of records, and the keys that could not be read. */
export interface Page {
  readonly records: readonly BackupRecord[];
  readonly problems: readonly Problem[];
}

/** Returns a key or value as JSON. */
const toJson = (value: Bulk): unknown => asText(value) ?? { base64: toBase64(value as Uint8Array) };

function pairs(flat: readonly Bulk[]): unknown[] {
  const all: unknown[] = [];
  for (let i = 0; i < flat.length; i += 2) all.push([toJson(flat[i] as Bulk), toJson(flat[i + 1] as Bulk)]);
  return all;
}

/** Returns the line of a record, its line break included. */
export function toLine({ key, type, value, expires, more }: BackupRecord): string {
  let shape: unknown;
  if (type === "string") shape = toJson(value as Bulk);
  else if (type === "stream") {
    const { entries, end } = value as StreamPart;
    shape = {
      entries: entries.map(([id, fields]) => [id, pairs(fields)]),
      ...end,
      ...(end && { groups: end.groups.map((group) => ({ ...group, name: toJson(group.name) })) }),
    };
  } else
    shape = (type === "hash" || type === "zset" ? pairs : (all: readonly Bulk[]) => all.map(toJson))(value as Bulk[]);
  const head = more ? { more: true } : { type };
  return `${JSON.stringify({ key: toJson(key), ...head, value: shape, ...(expires !== undefined && { expires }) })}\n`;
}

/** Thrown for a line that is not a record; its message is the reason. */
export class Malformed extends Error {}

function must(holds: unknown, reason: string): asserts holds {
  if (!holds) throw new Malformed(reason);
}

function toBulk(value: unknown): Bulk {
  if (typeof value === "string") return value;
  const { base64 } = (value ?? {}) as { base64?: unknown };
  must(typeof base64 === "string", `received ${describe(value)}, expected text or base64`);
  try {
    return fromBase64(base64);
  } catch {
    throw new Malformed("its base64 is not valid");
  }
}

function list(value: unknown): readonly unknown[] {
  must(Array.isArray(value), `received ${describe(value)}, expected an array`);
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
    must(typeof text === "string" && ID.test(text), `received ${describe(text)}, expected the id of a stream's entry`);
    return text;
  };
  const count = (number: unknown): number => {
    must(Number.isSafeInteger(number), `received ${describe(number)}, expected a count`);
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
 * @param line The parsed line.
 * @param before The record before it.
 * @returns The record.
 * @throws {Malformed} For a line that is not a record.
 */
export function toRecord(line: Line, before: BackupRecord | undefined): BackupRecord {
  const key = toBulk(line.key);
  const more = line.more === true;
  must(!more || (before && same(before.key, key)), "it continues another key than the line before");
  const type = more ? (before as BackupRecord).type : (line.type as KeyType);
  must(KEY_TYPES.includes(type) && !(more && type === "string"), `received ${describe(type)}, expected a known type`);
  const { value, expires } = line;
  must(
    expires === undefined || (Number.isSafeInteger(expires) && !more),
    `received ${describe(expires)}, expected an expiry`,
  );
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

/** A parsed line. */
export interface Line {
  readonly key?: unknown;
  readonly more?: unknown;
  readonly type?: unknown;
  readonly value?: unknown;
  readonly expires?: unknown;
}

/** Returns whether two keys are equal. */
export function same(a: Bulk, b: Bulk): boolean {
  if (typeof a === "string" || typeof b === "string") return a === b;
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The command that returns the size of a key, for each type. */
export const SIZE_COMMANDS: Readonly<Record<KeyType, string>> = {
  string: "STRLEN",
  hash: "HLEN",
  list: "LLEN",
  set: "SCARD",
  zset: "ZCARD",
  stream: "XLEN",
};
