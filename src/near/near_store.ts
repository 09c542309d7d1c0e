/**
 * The near cache's store: decoded values kept in this process, in front of the wire.
 *
 * - A hit is one look-up by the id as the caller wrote it; no key is built, nothing is moved.
 * - Bounded by entries and bytes. The hand of SIEVE goes over the entries from the oldest on: what was hit since it last
 *   came by stays, the first that was not goes.
 * - A value that was read is kept only if its key was not dropped while the read was under way. Drops are numbered and a
 *   read remembers the number that it left at, so that a read that is given up leaves nothing behind. Of drops the last few
 *   thousand are remembered; a read that is older than those is not kept.
 * - Readers share what is frozen. What holds a Date, a Map, bytes or the like cannot be: of that the text is kept, and
 *   decoded anew for each reader. (structuredClone would not do: it gives `{}` for a URL in it on Deno and Node.)
 *
 * @module
 */

/** An id that an entry is found by without building its key. */
export type NearId = string | number | bigint;

/** What is kept of a value. */
export interface NearValue {
  /** The id that was asked for; `undefined` where it is an object. Ids of equal text mean the same key. */
  readonly id: NearId | undefined;
  /** The physical key. */
  readonly key: string;
  /** The decoded value. */
  readonly value: unknown;
  /** From when it may be served, by the clock: one that is set back before that serves nothing. */
  readonly from: number;
  /** Until when it may be served. */
  readonly until: number;
  /** The names of its tags. */
  readonly tags: readonly string[];
  /** The keyspace's clock when it was read. */
  readonly epoch: number;
  /** The length of the stored text. */
  readonly bytes: number;
}

/** A value that is kept. */
export interface NearEntry extends Omit<NearValue, "id" | "value"> {
  /** What readers share, where they do. */
  readonly value: unknown;
  /** What each reader gets a copy from, where they do not. */
  readonly text: string | undefined;
  /** Whether it was hit since the hand last came by. */
  used: boolean;
  /** What readers get, where they share it. */
  promise: Promise<unknown> | undefined;
  /** What it is found by besides its key. */
  readonly ids: NearId[];
  /** The read that brought it. */
  readonly mark: ReadMark;
}

/** A read under way: its number. */
export type ReadMark = number;

/** How values become text, and come back equal. */
export interface Codec {
  /** The text. @throws {TypeError} For a value that has none. */
  encode(value: unknown): string;
  /** The value. */
  decode(text: string): unknown;
}

/** How many dropped keys each of the two generations remembers. */
const REMEMBERED = 2048;

/** The decoded values of one collection. */
export class NearStore {
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  readonly #clone: boolean;
  readonly #codec: Codec;
  readonly #now: () => number;
  readonly #ids = new Map<NearId, NearEntry>();
  readonly #keys = new Map<string, NearEntry>();
  #hand: Iterator<NearEntry> | undefined;
  #puts = 0;
  #bytes = 0;
  #live = true;
  /** Numbers reads and drops, in one row. */
  #count = 0;
  /** Reads of a smaller number are not kept. */
  #floor = 0;
  /** The number of each key's last drop, in two generations. */
  #drops = new Map<string, number>();
  #earlier = new Map<string, number>();
  /** What is in the earlier generation has this number at the most. */
  #turn = 0;

  /**
   * Makes an empty one.
   *
   * @param options The bounds, whether readers get copies, the clock in milliseconds, and how values become text.
   */
  constructor(options: {
    maxEntries: number;
    maxBytes: number;
    clone: boolean;
    now: () => number;
    codec: Codec;
  }) {
    this.#maxEntries = options.maxEntries;
    this.#maxBytes = options.maxBytes;
    this.#clone = options.clone;
    this.#codec = options.codec;
    this.#now = options.now;
  }

  /** Whether values are kept and served. Setting it to false, as when changes are not told, forgets everything. @default true */
  get live(): boolean {
    return this.#live;
  }

  set live(live: boolean) {
    this.#live = live;
    this.clear();
  }

  /** How many entries are kept. */
  get size(): number {
    return this.#keys.size;
  }

  /** How many bytes the stored texts of the entries have. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Finds an entry by its id.
   *
   * @param id The id.
   * @returns The entry; `undefined` when there is none or its time is over.
   */
  hit(id: NearId): NearEntry | undefined {
    const entry = this.#ids.get(id) ?? this.#alias(id);
    return entry === undefined ? undefined : this.#serve(entry);
  }

  /**
   * Finds an entry by its physical key.
   *
   * @param key The key.
   * @returns The entry; `undefined` when there is none or its time is over.
   */
  hitKey(key: string): NearEntry | undefined {
    const entry = this.#keys.get(key);
    return entry && this.#serve(entry);
  }

  /**
   * What a reader gets of an entry.
   *
   * @param entry The entry.
   * @returns Its value, or a copy.
   */
  value(entry: NearEntry): Promise<unknown> {
    if (entry.text !== undefined) return Promise.resolve(this.#codec.decode(entry.text));
    // All readers of a frozen value may share its promise too.
    entry.promise ??= Promise.resolve(entry.value);
    return entry.promise;
  }

  /**
   * Notes that a read leaves for the store. Nothing is held: a read that brings nothing needs no end.
   *
   * @returns The mark to give to {@linkcode put}.
   */
  begin(): ReadMark {
    return this.#live ? ++this.#count : -1;
  }

  /**
   * Keeps what a read brought, deeply frozen where that is possible, unless its key was dropped since, a later read's
   * value is kept already, or it is too large.
   *
   * @param mark What {@linkcode begin} answered before the read.
   * @param read The value.
   * @returns The value, to be handed out.
   */
  put(mark: ReadMark, read: NearValue): unknown {
    const { id, key, from, until, tags, epoch, bytes, value } = read;
    const shared = !this.#clone && deepFreeze(value);
    const old = this.#keys.get(key);
    const dropped = this.#drops.get(key) ?? this.#earlier.get(key) ?? 0;
    if (mark < this.#floor || mark < dropped || (old && mark < old.mark)) return value;
    if (old) this.#remove(old);
    if (bytes > this.#maxBytes || this.#maxEntries < 1) return value;
    let text: string | undefined;
    if (!shared && typeof value === "object" && value !== null) {
      try {
        text = this.#codec.encode(value);
      } catch {
        return value;
      }
    }
    while (this.#keys.size >= this.#maxEntries || this.#bytes + bytes > this.#maxBytes) this.#evict();
    const ids = id === undefined ? [] : [...new Set([id, plain(id)])];
    const kept = text === undefined ? value : undefined;
    const entry = {
      key,
      value: kept,
      text,
      from,
      until,
      tags,
      epoch,
      bytes,
      used: false,
      promise: undefined,
      ids,
      mark,
    };
    this.#keys.set(key, entry);
    for (const each of ids) this.#ids.set(each, entry);
    this.#bytes += bytes;
    // An iterator holds every table that its map has outgrown since it last moved, so it may not rest for long.
    if (++this.#puts % 64 === 0) this.#hand?.next();
    return value;
  }

  /**
   * Forgets keys, also for reads under way.
   *
   * @param keys The physical keys.
   * @returns How many entries were dropped.
   */
  drop(keys: readonly string[]): number {
    const number = ++this.#count;
    let dropped = 0;
    for (const key of keys) {
      if (this.#drops.size >= REMEMBERED) {
        this.#floor = Math.max(this.#floor, this.#turn);
        this.#earlier = this.#drops;
        this.#drops = new Map();
        this.#turn = number;
      }
      this.#drops.set(key, number);
      const entry = this.#keys.get(key);
      if (!entry) continue;
      this.#remove(entry);
      dropped++;
    }
    return dropped;
  }

  /**
   * Forgets what carries one of the tags. Reads under way are not kept either, whatever they bring.
   *
   * @param tags The names of the tags.
   * @returns How many entries were dropped.
   */
  dropTags(tags: readonly string[]): number {
    this.#floor = ++this.#count;
    let dropped = 0;
    for (const entry of this.#keys.values()) {
      if (!entry.tags.some((tag) => tags.includes(tag))) continue;
      this.#remove(entry);
      dropped++;
    }
    return dropped;
  }

  /**
   * Forgets what an invalidation may concern that was not told: everything from before `all`, and what carries tags from before `seq`.
   *
   * @param seq The keyspace's clock.
   * @param all Its value at the last invalidation of everything.
   */
  outdate(seq: number, all: number): void {
    for (const entry of this.#keys.values()) {
      if (entry.epoch < (entry.tags.length > 0 ? seq : all)) this.#remove(entry);
    }
  }

  /**
   * Forgets everything. Reads under way are not kept either.
   *
   * @returns How many entries were dropped.
   */
  clear(): number {
    const { size } = this.#keys;
    this.#floor = this.#turn = ++this.#count;
    this.#ids.clear();
    this.#keys.clear();
    this.#drops.clear();
    this.#earlier.clear();
    this.#hand = undefined;
    this.#bytes = 0;
    return size;
  }

  #serve(entry: NearEntry): NearEntry | undefined {
    const now = this.#now();
    if (now >= entry.from && now < entry.until) {
      entry.used = true;
      return entry;
    }
    this.#remove(entry);
    return undefined;
  }

  /** Finds an entry that was kept under an id of equal text, and keeps it under this one too. */
  #alias(id: NearId): NearEntry | undefined {
    const other = plain(id);
    const entry = other === id ? undefined : this.#ids.get(other);
    if (entry) {
      entry.ids.push(id);
      this.#ids.set(id, entry);
    }
    return entry;
  }

  #remove(entry: NearEntry): void {
    this.#keys.delete(entry.key);
    for (const id of entry.ids) if (this.#ids.get(id) === entry) this.#ids.delete(id);
    this.#bytes -= entry.bytes;
  }

  /** Moves the hand on, from the oldest entry to the newest and round, until an entry is gone. */
  #evict(): void {
    for (;;) {
      this.#hand ??= this.#keys.values();
      const { value: entry, done } = this.#hand.next();
      if (done) this.#hand = undefined;
      else if (entry.used) entry.used = false;
      else {
        this.#remove(entry);
        return;
      }
    }
  }
}

/** One for all ids of equal text: the number where its text is that of the id, otherwise the text. */
function plain(id: NearId): string | number {
  if (typeof id === "number") return id;
  const number = Number(id);
  return String(number) === String(id) ? number : String(id);
}

/**
 * Freezes a value with all that is in it, cycles too, if it is of arrays and plain objects alone; answers whether it
 * is.
 */
function deepFreeze(value: unknown): boolean {
  // A set is walked through with what is added on the way.
  const all = new Set<object>();
  const add = (item: unknown): void => {
    if (typeof item === "object" && item !== null) all.add(item);
  };
  add(value);
  for (const one of all) {
    if (!Array.isArray(one) && !isPlain(one)) return false;
    Object.values(one).forEach(add);
  }
  for (const one of all) Object.freeze(one);
  return true;
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}
