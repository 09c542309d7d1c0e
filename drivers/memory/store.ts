/** The data of the embedded store: databases, expiry and eviction. */

import { MARKS } from "../../src/base/own_keys.ts";
import { errorReply, type TwinnedScript } from "../driver.ts";
import type { StoreClock } from "./store_clock.ts";

export type Fields = Map<string, string>;

/** A key and its value, a link in the list of all entries by use. */
export interface StoredValue {
  readonly key: string;
  /** Text, or a hash. */
  value: string | Fields;
  /** When it expires, by the store's own time in milliseconds; or Infinity. */
  expires: number;
  bytes: number;
  readonly database: Database;
  /** Entries are numbered from 1 in the order in which they came to be. */
  readonly birth: number;
  alive: boolean;
  /** The next one that was used less recently. */
  older: StoredValue;
  newer: StoredValue;
}

export interface Database {
  readonly entries: Map<string, StoredValue>;
  /** The entries by birth, with some dead ones in between. */
  births: StoredValue[];
  /** Where the search for expired entries has come to. */
  hand: number;
}

/** An entry that is a hash. */
export type StoredHash = StoredValue & { value: Fields };

/** Fields of rate limits whose windows begin with their first request, and end as texts do. */
const WINDOW = /^[cf]\d+:/;
const ENTRY_BYTES = 128;
export const FIELD_BYTES = 64;

const encoder = new TextEncoder();

/** The length in UTF-8. */
export function byteLength(text: string): number {
  // The encoder is the faster one from about here.
  if (text.length > 128) return encoder.encode(text).length;
  let bytes = text.length;
  for (let i = text.length; i--; ) {
    const unit = text.charCodeAt(i);
    // Each half of a surrogate pair stands for two of its four bytes.
    if (unit > 0x7f) bytes += unit > 0x7ff && (unit & 0xf800) !== 0xd800 ? 2 : 1;
  }
  return bytes;
}

/** Databases, expiry and eviction; what the commands stand on. */
export class MemoryStore {
  /** The store's own time of the commands that are being run. */
  now = 0;
  /** The time since 1970 of the commands that are being run. */
  wall = 0;
  databases!: Database[];
  /** The database of the commands that are being run. */
  current!: Database;
  /** The scripts that the store can run, by their SHA-1 and by their source. */
  readonly scripts: ReadonlyMap<string, TwinnedScript>;
  /** SHA-1 of the scripts that EVALSHA knows. */
  readonly loaded: Set<string> = new Set();
  /** The keys that the commands being run change: `null` for all of them, `undefined` where nobody wants to know. */
  changed: string[] | null | undefined;
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  readonly #clock: StoreClock;
  #births = 0;
  #count = 0;
  #bytes = 0;
  /** Closes the list of entries into a ring: after it the one that was used last, before it the one to evict. */
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

  /** Drops everything. */
  reset(): void {
    this.databases = Array.from({ length: 16 }, () => ({ entries: new Map(), births: [], hand: 0 }));
    this.#ring.older = this.#ring.newer = this.#ring;
    this.#count = this.#bytes = 0;
  }

  /** Looks at the clock. Texts and windows that expire are over where it does not tell how much time went by. */
  look(): void {
    const known = this.#clock.look();
    this.now = this.#clock.now;
    this.wall = this.#clock.wall;
    if (known) return;
    const { current } = this;
    for (const database of this.databases) {
      this.current = database;
      for (const entry of database.entries.values()) {
        const { key, value, expires } = entry;
        if (expires === Infinity) continue;
        if (typeof value !== "string")
          this.deleteFields(
            entry as StoredHash,
            [...value.keys()].filter((one) => WINDOW.test(one)),
          );
        else if (!key.includes(MARKS)) this.remove(entry);
      }
    }
    this.current = current;
  }

  /** Finds a living entry. */
  find(key: string): StoredValue | undefined {
    const entry = this.current.entries.get(key);
    if (entry && entry.expires < this.now) {
      this.remove(entry);
      return undefined;
    }
    return entry;
  }

  /** Finds an entry of one type, and counts it as used. */
  use(key: string, type: "string"): (StoredValue & { value: string }) | undefined;
  use(key: string, type: "hash"): (StoredValue & { value: Fields }) | undefined;
  use(key: string, type: "string" | "hash"): StoredValue | undefined {
    const entry = this.find(key);
    if (!entry) return undefined;
    if (typeOf(entry) !== type) {
      throw errorReply("WRONGTYPE Operation against a key holding the wrong kind of value");
    }
    this.touch(entry);
    return entry;
  }

  /** The text at a key. */
  text(key: string): string | null {
    return this.use(key, "string")?.value ?? null;
  }

  /** Moves an entry to the front. */
  touch(entry: StoredValue): void {
    const ring = this.#ring;
    if (ring.older === entry) return;
    // A new entry is its own neighbour, so that taking it out does nothing.
    entry.newer.older = entry.older;
    entry.older.newer = entry.newer;
    entry.newer = ring;
    entry.older = ring.older;
    ring.older = ring.older.newer = entry;
  }

  /** How many bytes an entry takes. @throws {StoreError} `OOM` when no room can be made for it. */
  measure(key: string, value: string, more: number = ENTRY_BYTES): number {
    const bytes = byteLength(key) + byteLength(value) + more;
    if (bytes > this.#maxBytes) throw errorReply("OOM command not allowed when used memory > 'maxmemory'.");
    return bytes;
  }

  /** Writes text, or an empty hash. Evicts others when there is no room. */
  write(
    key: string,
    value: string | Fields,
    expires: number = Infinity,
    bytes: number = this.measure(key, value as string),
  ): StoredValue {
    let entry = this.find(key);
    if (entry) {
      entry.value = value;
    } else {
      const { entries, births } = this.current;
      entry = {
        key,
        value,
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

  /** Tells how many bytes the entry that was used last takes now. */
  resize(entry: StoredValue, bytes: number): void {
    this.#bytes += bytes - entry.bytes;
    entry.bytes = bytes;
    this.changed?.push(entry.key);
    while (this.#count > this.#maxEntries || this.#bytes > this.#maxBytes) this.remove(this.#ring.newer);
  }

  /** Changes when an entry expires. */
  expire(entry: StoredValue, at: number): void {
    entry.expires = at;
    this.changed?.push(entry.key);
    if (at <= this.now) this.remove(entry);
  }

  /** Takes an entry out. */
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

  /** Removes entries of this database that have expired: those among the next few, so that a write stays cheap. */
  #reap(): void {
    const { current } = this;
    for (let i = 0; i < 3; i++) {
      if (current.hand >= current.births.length) current.hand = 0;
      const entry = current.births[current.hand++];
      if (entry?.alive && entry.expires < this.now) this.remove(entry);
    }
  }

  /** Removes the entries of this database that have expired, and tells how many are left. */
  size(): number {
    for (const entry of this.current.entries.values()) if (entry.expires < this.now) this.remove(entry);
    return this.current.entries.size;
  }

  /** Removes fields of a hash, and the hash with the last of them; returns how many there were. */
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

export function typeOf(entry: StoredValue): "string" | "hash" {
  return typeof entry.value === "string" ? "string" : "hash";
}
