/**
 * The keyspaces of caches. Only this code builds or strips physical keys:
 *
 *     [CACHE_PREFIX:] [db{n}:] [service:] logical key
 *
 * In a keyspace of several shards, the tag of the key's shard stands in front of the logical key: see `shards.ts`.
 * In a prefix `:`, `%` and lone surrogates are percent-encoded; in an id everything but letters, digits and `_-.~@`. So
 * different parts never make the same key, and no id reaches the keys of another collection.
 */
import type { Reply, Script } from "../../drivers/driver.ts";
import { escapeGlob, globMatch } from "../../drivers/glob.ts";
import { invalid } from "../base/check.ts";
import { EPOCH_KEY, isOwnKey, MARKS, OWN } from "../base/own_keys.ts";
import { EVERYTHING, invalidate } from "../lua/entries.ts";
import { sha256 } from "../runtime/sha256.ts";

/** The longest id, in characters of its encoded form. */
export const MAX_ID_LENGTH = 1024;

/** The key patterns that are accepted, in words. */
const KEYS_ACCEPTED = 'a key such as "product:{id}", or "order:{tenant}:{id}" by collection()';

/** The longest tag, in characters of its encoded form. */
const MAX_TAG_LENGTH = 256;

/** Returns the logical key of the counts of rate limits for a logical key. */
export function limitKey(logical: string): string {
  return `${OWN}limit:${logical}`;
}

/** The epoch of a keyspace: its number, and the number at the last invalidation of everything. */
export interface Epoch {
  /** Its text; `null` if it does not exist, `undefined` if it was never seen. */
  readonly text: string | null | undefined;
  readonly seq: number;
  readonly all: number;
}

/** The knowledge of the marks of tags: see `marks.ts`. */
export interface KnownMarks {
  /** Returns whether it is known that no tag was invalidated after `born`. */
  covers(tags: readonly string[], born: number, epoch: string | null | undefined): boolean;
}

const UNSEEN: Epoch = { text: undefined, seq: 0, all: 0 };

/** The types of ids. Objects are hashed, whatever the order of their keys. */
export type Id = string | number | bigint | object;

/** The ids that `keys` yields: text, or objects of texts for ids of several placeholders. */
export type KeyOf<K> = [K] extends [string | number | bigint]
  ? string
  : [Id] extends [K]
    ? string
    : K extends string | number | bigint | readonly unknown[]
      ? never
      : { readonly [N in keyof K]: string };

/** The place of the keys of a service or of a database: one {@linkcode Shard}, or several that share the keys. */
export interface Keyspace {
  /** The database that commands are sent to. */
  readonly database: number;
  /** The start of every key. In a keyspace of several shards, the tag of the key's shard follows it. */
  readonly prefix: string;
  /** All its shards. */
  readonly shards: readonly Shard[];
  /** Returns the shard of a logical key. */
  of(logical: string): Shard;
  /** Returns the physical key. */
  key(logical: string): string;
  /** Returns the physical key of one of the library's own, other than those of a shard or of an entry. */
  own(name: string): string;
  /** Returns the logical key of a physical one. */
  strip(physical: string): string;
  /** Returns the glob that matches the physical keys of a logical glob. */
  match(glob: string): string;
}

/** Runs scripts: a batch. */
export interface Runner {
  /** Runs a script on some keys, and on further ones whose order does not matter. */
  run(
    script: Script,
    keys: readonly string[],
    args: readonly string[],
    timeout: number,
    idempotent: boolean,
    also?: readonly string[],
  ): Promise<Reply>;
}

/** Returns the start of the keys of a keyspace. */
export function prefixOf(options: { numbered: boolean; prefix: string; segment?: string }, database: number): string {
  const parts = [options.prefix, options.numbered ? "" : `db${database}`, options.segment ?? ""];
  return parts.map((part) => (part ? `${part.replace(/[%:]|\p{Surrogate}/gu, percent)}:` : "")).join("");
}

/**
 * A set of physical keys with one prefix in one database, whose entries have one epoch. It is a keyspace of its own, or
 * one of the shards of one.
 */
export class Shard implements Keyspace {
  readonly database: number;
  readonly prefix: string;
  /** The key of its epoch. */
  readonly epochKey: string;
  /** The start of the keys of tags' marks. */
  readonly marksPrefix: string;
  /** The epoch as it was last seen. */
  lastEpoch: Epoch = UNSEEN;
  /** The known marks of its tags, if the client keeps them. */
  marks: KnownMarks | undefined;

  /**
   * @param database The database that commands are sent to.
   * @param prefix The start of every key.
   */
  constructor(database: number, prefix: string) {
    this.database = database;
    this.prefix = prefix;
    this.epochKey = prefix + EPOCH_KEY;
    this.marksPrefix = prefix + MARKS;
  }

  get shards(): readonly Shard[] {
    return [this];
  }

  of(_logical: string): Shard {
    return this;
  }

  own(name: string): string {
    return this.prefix + OWN + name;
  }

  /** Returns the key of a key's lock. */
  lock(logical: string): string {
    return this.own(`lock:${logical}`);
  }

  /**
   * Reads the text of the epoch that a command brought, and remembers the latest one.
   *
   * @param text The text.
   * @param last The latest one when the command left. If the store has an earlier one, it has lost what came after it.
   */
  noteEpoch(text: unknown, last?: Epoch): Epoch {
    if (text === this.lastEpoch.text || (text !== null && typeof text !== "string")) return this.lastEpoch;
    const [value = 0, all = 0, first] = text?.split(" ").map(Number) ?? [];
    // A third number says that nothing was invalidated yet, so loads from before the epoch was made are valid.
    const seq = first === undefined ? value : 0;
    const epoch = { text, seq, all };
    // Replies of overlapping sends may come out of order.
    if (seq >= this.lastEpoch.seq || text === null || this.lastEpoch === last) this.lastEpoch = epoch;
    return epoch;
  }

  /** Returns the keys of the marks of tags; without tags, that of everything. */
  marksOf(tags: readonly string[] = [EVERYTHING]): string[] {
    return tags.map((tag) => this.marksPrefix + tag);
  }

  /**
   * Moves the epoch on and marks tags, or everything.
   *
   * @param runner The batch.
   * @param tags The encoded tags; `undefined` for everything.
   * @param timeout The milliseconds that it may take.
   * @returns The epoch.
   */
  invalidate(runner: Runner, tags: readonly string[] | undefined, timeout: number): Promise<Reply> {
    // What is stored before the reply came must not carry the epoch from before.
    if (!tags) this.lastEpoch = UNSEEN;
    return runner.run(invalidate, [this.epochKey], tags ? [] : [EVERYTHING], timeout, true, this.marksOf(tags));
  }

  key(logical: string): string {
    return this.prefix + logical;
  }

  strip(physical: string): string {
    return physical.slice(this.prefix.length);
  }

  match(glob: string): string {
    return escapeGlob(this.prefix) + glob;
  }
}

/** An id that was decoded from its key: text, or the texts of several placeholders by name. */
export type DecodedId = string | Readonly<Record<string, string>>;

/** The functions between ids and logical keys. */
export interface KeyShape {
  /** Returns an id of several parts as an object. Without it, ids have one part, and a list is several ids. */
  named?(id: Id): Id;
  /** Returns the logical key. @throws {TypeError} For an id that is empty, too long or of no accepted type. */
  encode(id: Id): string;
  /** Returns the id of a logical key. */
  decode(key: string): DecodedId;
  /** Returns a logical glob that matches at least all that `pattern` matches, and the test of ids that it needs. */
  match(pattern: string): { glob: string; test?: (id: DecodedId) => boolean };
}

/** Returns ids as a list. @throws {TypeError} For a string, whose characters would be taken for ids. */
export function idsOf<K>(ids: Iterable<K>): K[] {
  if (typeof ids === "string") throw invalid("use ids", ids, "a list");
  return [...ids];
}

/** Returns the values that exist, by id, in the order of the ids. */
export function foundOf<K, V>(ids: readonly K[], values: readonly (V | undefined)[]): Map<K, V> {
  const found = new Map<K, V>();
  ids.forEach((id, i) => {
    const value = values[i];
    if (value !== undefined) found.set(id, value);
  });
  return found;
}

/** Returns ids as a list. A single id becomes a list of one, also if it is itself a list of parts. */
export function listOf<K>({ named }: KeyShape, ids: K | readonly K[]): readonly K[] {
  return Array.isArray(ids) && !(named && ids.length > 0 && typeof ids[0] !== "object") ? ids : [ids as K];
}

/** The shape of a cache without collections, whose ids are the keys. */
export const rawKeys: KeyShape = {
  encode(id) {
    const key = Number.isFinite(id) || typeof id === "bigint" ? String(id) : id;
    if (typeof key !== "string" || key === "" || key.length > MAX_ID_LENGTH || !key.isWellFormed() || isOwnKey(key)) {
      const text = `a well-formed string of 1 to ${MAX_ID_LENGTH} characters that does not start with ${OWN}`;
      throw invalid("use a key", id, `a finite number or ${text}`, TypeError);
    }
    return key;
  },
  decode: (key) => key,
  match: (pattern) => ({ glob: checkPattern(pattern) }),
};

/**
 * Returns the shape of a collection's keys.
 *
 * @param pattern Such as `"product:{id}"`.
 * @param hashed Whether ids are always hashed: for ids that are long, structured or secret.
 * @returns The shape.
 * @throws {TypeError} For a pattern of another form, of several placeholders too: `severalParts` makes their shapes.
 */
export function collectionKeys(pattern: string, hashed = false): KeyShape {
  const prefix = /^([\w.-]+:)\{\w+\}$/.exec(pattern)?.[1];
  if (!prefix) throw invalid("declare a collection", pattern, KEYS_ACCEPTED);
  return {
    encode: (id) => prefix + (hashed || (typeof id === "object" && id !== null) ? hashId(id) : encodeId(id)),
    decode: (key) => decodeText(key.slice(prefix.length)),
    match(pattern) {
      const glob = prefix + idGlob(checkPattern(pattern));
      // Only a prefix means the same for encoded text as for ids.
      return /^[^\\[?*]*\*?$/.test(pattern) ? { glob } : { glob, test: (id) => globMatch(pattern, id as string) };
    },
  };
}

/** Returns the text that {@linkcode encodeId} encoded. */
export function decodeText(text: string): string {
  return text.replace(/%(?:u([0-9A-F]{4})|([0-9A-F]{2}))/g, (_, unit, byte) =>
    String.fromCharCode(Number.parseInt(unit ?? byte, 16)),
  );
}

/** Encodes a tag for keys and documents. @throws {TypeError} For one that is empty, too long or no string. */
export function encodeTag(tag: unknown): string {
  const text = typeof tag === "string" ? encodeText(tag) : "";
  if (text !== "" && text.length <= MAX_TAG_LENGTH) return text;
  throw invalid("use a tag", tag, `a string of 1 to ${MAX_TAG_LENGTH} characters once encoded`, TypeError);
}

/**
 * Percent-encodes the characters that have a meaning in keys or globs. Lone surrogates become `%uXXXX`, so that
 * different ids stay different.
 */
function encodeText(text: string): string {
  return text.replace(/[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]|[^\w.~@\u0080-\uffff-]/g, (char) => {
    return char.length === 2 ? char : percent(char);
  });
}

/** Returns a character in its percent-encoded form. */
export function percent(char: string): string {
  const code = char.charCodeAt(0);
  const hex = code.toString(16).toUpperCase();
  return code < 128 ? `%${hex.padStart(2, "0")}` : `%u${hex.padStart(4, "0")}`;
}

/** Encodes an id for a key. */
export function encodeId(id: unknown): string {
  if (Number.isSafeInteger(id)) return String(id);
  if (typeof id === "number" ? Number.isFinite(id) : typeof id === "string" || typeof id === "bigint") {
    const text = encodeText(String(id));
    if (text !== "" && text.length <= MAX_ID_LENGTH) return text;
  }
  const text = `a string of 1 to ${MAX_ID_LENGTH} characters once encoded`;
  throw invalid("use an id", id, `a finite number or ${text}`, TypeError);
}

/** Returns the hash of an id. Equal ids have the same hash. */
export function hashId(id: unknown): string {
  const type = typeof id;
  if ((id && (type === "object" || type === "string")) || type === "bigint" || Number.isFinite(id)) {
    return sha256(canonical(id)).slice(0, 40);
  }
  throw invalid("use an id", id, "a finite number, an object or a string that is not empty", TypeError);
}

/** Returns one text for equal values, whatever the order of their keys, and another one for every other value. */
function canonical(value: unknown): string {
  try {
    return JSON.stringify(sorted(value));
  } catch {
    return spelledOut(value);
  }
}

/** Returns the same text, written part by part: also that of parts for which JSON has none. */
function spelledOut(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "number") return `${value}`;
  if (typeof value === "string" || typeof value === "boolean" || value === null) return JSON.stringify(value);
  if (value instanceof Date) return `@${value.getTime()}`;
  if (Array.isArray(value)) return `[${value.map(spelledOut)}]`;
  if (isRecord(value)) {
    const keys = Object.keys(value).filter((key) => value[key] !== undefined);
    return `{${keys.sort().map((key) => `${JSON.stringify(key)}:${spelledOut(value[key])}`)}}`;
  }
  throw invalid("hash an id", value, "JSON values, Date and BigInt in it", TypeError);
}

/** Returns a copy with its keys in order. @throws For a part that JSON cannot tell from others, or would put first. */
function sorted(value: unknown): unknown {
  if (typeof value === "string" || typeof value === "boolean" || value === null || Number.isFinite(value)) return value;
  if (Array.isArray(value)) return Array.from(value, sorted);
  if (!isRecord(value)) throw value;
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value).sort()) {
    // Objects have digits ahead of other keys, and no key of the second name.
    if (key < ":" || key === "__proto__") throw key;
    if (value[key] !== undefined) copy[key] = sorted(value[key]);
  }
  return copy;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Returns a glob over encoded ids that matches at least what the pattern matches: `?` and classes become `*`. */
export function idGlob(pattern: string): string {
  // In a class, Redis takes any character as the end of a range, "]" and "\" too.
  return pattern.replace(/\\.|\[\^?(?:\\.|[^\]\\]-.|[^\]])*\]?|\?|\*|[^\\[?*]+|\\/gsu, (part) => {
    if (part === "*" || part === "?" || part.startsWith("[")) return "*";
    return encodeText(part.length > 1 && part.startsWith("\\") ? part.slice(1) : part);
  });
}

/** Returns a pattern. @throws {TypeError} If it is empty or not a string. */
export function checkPattern(pattern: unknown): string {
  if (typeof pattern !== "string" || pattern === "" || !pattern.isWellFormed()) {
    throw invalid("match keys", pattern, 'a glob that is not empty, such as "12*"', TypeError);
  }
  return pattern;
}
