/** The data of the embedded store: databases, expiry and eviction. */

import { MARKS } from "../../src/base/own_keys.ts";
import { errorReply, type TwinnedScript } from "../driver.ts";
import type { StoreClock } from "./store_clock.ts";

/** The fields of a hash. */
export type Fields = Map<string, string>;

/** A key and its value. All of them form one list, ordered by use. */
export interface StoredValue {
  readonly key: string;
  /** Text, the UTF-8 of a text, or a hash. */
  value: string | Uint8Array | Fields;
  /** The moment of expiry by the store's own time in milliseconds, or Infinity. */
  expires: number;
  bytes: number;
  readonly database: Database;
  /** The number of the entry, counted from 1 in the order of creation. */
  readonly birth: number;
  alive: boolean;
  /** The neighbour that was used less recently. */
  older: StoredValue;
  newer: StoredValue;
}

/** One of the numbered databases. */
export interface Database {
  readonly entries: Map<string, StoredValue>;
  /** The entries in the order of creation, with some removed ones in between. */
  births: StoredValue[];
  /** The position of the search for expired entries. */
  hand: number;
}

/** An entry whose value is a hash. */
export type StoredHash = StoredValue & { value: Fields };

/** Fields of rate limits whose windows begin with their first request. Like texts, they expire. */
const WINDOW = /^[cf]\d+:/;
const ENTRY_BYTES = 128;
/** The bytes that a field of a hash counts besides its text. */
export const FIELD_BYTES = 64;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
/** Characters for which engines keep a whole text at two bytes a character. */
const WIDE = /[^\0-\xff]/;
/** The bytes by which an array of bytes must be shorter than the text, because it takes more memory itself. */
const ARRAY_BYTES = 200;

/** Returns a text in the form that takes the least memory. The search also joins the pieces that it was made of. */
function packed(text: string): string | Uint8Array {
  if (!WIDE.test(text) || text.length < ARRAY_BYTES || !text.isWellFormed()) return text;
  const bytes = encoder.encode(text);
  return bytes.length + ARRAY_BYTES < 2 * text.length ? bytes : text;
}

/** Returns the text of an entry; `undefined` if it is a hash. */
export function textOf({ value }: StoredValue): string | undefined {
  if (typeof value === "string") return value;
  return value instanceof Map ? undefined : decoder.decode(value);
}

/** Returns the length of a text in UTF-8. */
export function byteLength(text: string): number {
  // From about this length on, the encoder is faster.
  if (text.length > 128) return encoder.encode(text).length;
  let bytes = text.length;
  for (let i = text.length; i--; ) {
    const unit = text.charCodeAt(i);
    // A surrogate pair has four bytes, two for each half.
    if (unit > 0x7f) bytes += unit > 0x7ff && (unit & 0xf800) !== 0xd800 ? 2 : 1;
  }
  return bytes;
}

/** The entries of all databases: finds, writes, measures, expires and evicts them for the commands. */
export class MemoryStore {
  /** The store's own time during the current send. */
  now = 0;
  /** The time since 1970 during the current send. */
  wall = 0;
  /** The databases by their number. */
  databases!: Database[];
  /** The database of the current send. */
  current!: Database;
  /** The scripts that the store can run, by their SHA-1 and by their source. */
  readonly scripts: ReadonlyMap<string, TwinnedScript>;
  /** The SHA-1 of the scripts that EVALSHA knows. */
  readonly loaded: Set<string> = new Set();
  /** The keys that the current send changes: `null` for all keys, `undefined` if no tracker listens. */
  changed: string[] | null | undefined;
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  readonly #clock: StoreClock;
  #births = 0;
  #count = 0;
  #bytes = 0;
  /** Closes the list of entries to a ring: `older` is the most recently used entry, `newer` the next one to evict. */
  readonly #ring: StoredValue;

  constructor(maxEntries: number, maxBytes: number, clock: StoreClock, scripts: readonly TwinnedScript[]) {
    this.#maxEntries = maxEntries;
    this.#maxBytes = maxBytes;
    this.#clock = clock;
    this.scripts = new Map(
      scripts.flatMap((script) => [
        [script.sha1, script],
        [script.lua, script],
      ]),
    );
    this.#ring = {} as StoredValue;
    this.reset();
  }

  /** Removes everything. */
  reset(): void {
    this.databases = Array.from({ length: 16 }, () => ({ entries: new Map(), births: [], hand: 0 }));
    this.#ring.older = this.#ring.newer = this.#ring;
    this.#count = this.#bytes = 0;
  }

  /** Reads the clock. If the elapsed time is unknown, texts and windows that expire end. */
  readClock(): void {
    const known = this.#clock.read();
    this.now = this.#clock.now;
    this.wall = this.#clock.wall;
    if (known) return;
    const { current } = this;
    for (const database of this.databases) {
      this.current = database;
      for (const entry of database.entries.values()) {
        const { key, value, expires } = entry;
        if (expires === Infinity) continue;
        if (value instanceof Map)
          this.deleteFields(
            entry as StoredHash,
            [...value.keys()].filter((one) => WINDOW.test(one)),
          );
        else if (!key.includes(MARKS)) this.remove(entry);
      }
    }
    this.current = current;
  }

  /** Finds an entry that has not expired. */
  find(key: string): StoredValue | undefined {
    const entry = this.current.entries.get(key);
    if (entry && entry.expires < this.now) {
      this.remove(entry);
      return undefined;
    }
    return entry;
  }

  /** Finds an entry of a type, and marks it as used. @throws {StoreError} If the entry is of another type. */
  use(key: string, type: "string"): StoredValue | undefined;
  use(key: string, type: "hash"): StoredHash | undefined;
  use(key: string, type: "string" | "hash"): StoredValue | undefined {
    const entry = this.find(key);
    if (!entry) return undefined;
    if (typeOf(entry) !== type) {
      throw errorReply("WRONGTYPE Operation against a key holding the wrong kind of value");
    }
    this.touch(entry);
    return entry;
  }

  /** Returns the text at a key. @throws {StoreError} If the entry is of another type. */
  text(key: string): string | null {
    const entry = this.use(key, "string");
    return entry ? (textOf(entry) as string) : null;
  }

  /** Marks an entry as the most recently used one. */
  touch(entry: StoredValue): void {
    const ring = this.#ring;
    if (ring.older === entry) return;
    // A new entry is its own neighbour, so unlinking it does nothing.
    entry.newer.older = entry.older;
    entry.older.newer = entry.newer;
    entry.newer = ring;
    entry.older = ring.older;
    ring.older = ring.older.newer = entry;
  }

  /** Returns the bytes that an entry takes. @throws {StoreError} `OOM` if they are more than the store may have. */
  measure(key: string, value: string, more: number = ENTRY_BYTES): number {
    const bytes = byteLength(key) + byteLength(value) + more;
    if (bytes > this.#maxBytes) throw errorReply("OOM command not allowed when used memory > 'maxmemory'.");
    return bytes;
  }

  /** Writes text, or an empty hash. Evicts other entries if there is too little room. */
  write(
    key: string,
    value: string | Fields,
    expires: number = Infinity,
    bytes: number = this.measure(key, value as string),
  ): StoredValue {
    let entry = this.find(key);
    const kept = typeof value === "string" ? packed(value) : value;
    if (entry) {
      entry.value = kept;
    } else {
      const { entries, births } = this.current;
      entry = {
        key,
        value: kept,
        expires,
        bytes: 0,
        database: this.current,
        birth: ++this.#births,
        alive: true,
      } as StoredValue;
      entry.older = entry.newer = entry;
      entries.set(key, entry);
      births.push(entry);
      this.#count++;
    }
    entry.expires = expires;
    this.touch(entry);
    this.resize(entry, bytes);
    this.#reap();
    return entry;
  }

  /** Sets the bytes of the most recently used entry. Evicts other entries if there is too little room. */
  resize(entry: StoredValue, bytes: number): void {
    this.#bytes += bytes - entry.bytes;
    entry.bytes = bytes;
    this.changed?.push(entry.key);
    while (this.#count > this.#maxEntries || this.#bytes > this.#maxBytes) this.remove(this.#ring.newer);
  }

  /** Sets the expiry of an entry. */
  expire(entry: StoredValue, at: number): void {
    entry.expires = at;
    this.changed?.push(entry.key);
    if (at <= this.now) this.remove(entry);
  }

  /** Removes an entry. */
  remove(entry: StoredValue): void {
    const { database } = entry;
    this.changed?.push(entry.key);
    database.entries.delete(entry.key);
    entry.newer.older = entry.older;
    entry.older.newer = entry.newer;
    entry.alive = false;
    entry.value = "";
    this.#count--;
    this.#bytes -= entry.bytes;
    if (database.births.length > 2 * database.entries.size + 32) {
      database.births = database.births.filter((one) => one.alive);
    }
  }

  /** Removes expired entries of the current database among the next few, so that a write stays cheap. */
  #reap(): void {
    const { current } = this;
    for (let i = 0; i < 3; i++) {
      if (current.hand >= current.births.length) current.hand = 0;
      const entry = current.births[current.hand++];
      if (entry?.alive && entry.expires < this.now) this.remove(entry);
    }
  }

  /** Removes the expired entries of the current database. Returns the number of the others. */
  size(): number {
    for (const entry of this.current.entries.values()) if (entry.expires < this.now) this.remove(entry);
    return this.current.entries.size;
  }

  /** Removes fields of a hash, and the hash with its last field. Returns how many fields existed. */
  deleteFields(entry: StoredHash, fields: readonly string[]): number {
    const before = entry.value.size;
    let { bytes } = entry;
    for (const field of fields) {
      const value = entry.value.get(field);
      if (value === undefined) continue;
      bytes -= byteLength(field) + byteLength(value) + FIELD_BYTES;
      entry.value.delete(field);
    }
    const left = entry.value.size;
    this.resize(entry, bytes);
    if (!left) this.remove(entry);
    return before - left;
  }

  /** Removes the entries of a database. */
  flush(database: Database): void {
    if (this.changed) this.changed = null;
    for (const entry of database.entries.values()) this.remove(entry);
  }
}

/** Returns the type of an entry. */
export function typeOf(entry: StoredValue): "string" | "hash" {
  return entry.value instanceof Map ? "hash" : "string";
}
