/**
 * The near cache's store: decoded values in the memory of this process, in front of the wire.
 *
 * - **Hits.** A hit is one look-up by the id as the caller wrote it. No key is built, and nothing is moved.
 * - **Eviction.** Entries and bytes are bounded. The hand of SIEVE moves over the entries from the oldest to the
 *   newest, again and again. An entry that was hit since the hand last passed stays; the first other one is evicted.
 * - **Coherence.** A value is kept only if its key was not dropped while the read was in flight. Drops are numbered,
 *   and a read remembers the number at which it left, so a read that is given up leaves nothing behind. The last few
 *   thousand drops are remembered; a read that left before those is not kept.
 * - **Sharing.** Readers share a value that can be frozen. A value with a Date, a Map, bytes or the like cannot, so its
 *   text is kept and decoded for each reader. (`structuredClone` turns a URL into `{}` on Deno and Node.)
 *
 * @module
 */

/** An id that an entry is found by without building its key. */
export type NearId = string | number | bigint;

/** A value to be kept. */
export interface NearValue {
  /** The id that was read; `undefined` if it is an object. Ids of equal text mean the same key. */
  readonly id: NearId | undefined;
  /** The physical key. */
  readonly key: string;
  /** The decoded value. */
  readonly value: unknown;
  /** The first moment when it may be served. A clock that is set back before it serves nothing. */
  readonly from: number;
  /** The end of the time in which it may be served. */
  readonly until: number;
  /** The names of its tags. */
  readonly tags: readonly string[];
  /** The part of the store that had it, if the store has several. */
  readonly part?: string | undefined;
  /** The epoch of the keyspace when it was read. */
  readonly epoch: number;
  /** The length of the stored text. */
  readonly bytes: number;
}

/** A value that is kept. */
export interface NearEntry extends Omit<NearValue, "value"> {
  /** The value that readers share, if they share it. */
  readonly value: unknown;
  /** The text that is decoded for each reader, if they do not. */
  readonly text: string | undefined;
  /** True if it was hit since the hand last passed. */
  used: boolean;
  /** The promise of the value, if readers share it. */
  promise: Promise<unknown> | undefined;
  /** Other ids of equal text that it is found by. Absent for most entries. */
  others: NearId[] | undefined;
  /** The read that brought it. */
  readonly mark: ReadMark;
}

/** The number of a read in flight. */
export type ReadMark = number;

/** A codec that turns values into text, and text back into equal values. */
export interface Codec {
  /** Returns the text. @throws {TypeError} For a value that cannot be text. */
  encode(value: unknown): string;
  /** Returns the value. */
  decode(text: string): unknown;
}

/** The number of dropped keys that each of the two generations remembers. */
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
  /** The number of the last read or drop; both share one sequence. */
  #count = 0;
  /** Reads with a smaller number are not kept. */
  #floor = 0;
  /** The number of each key's last drop, in two generations. */
  #drops = new Map<string, number>();
  #earlier = new Map<string, number>();
  /** The largest number in the earlier generation. */
  #lastEarlier = 0;

  /**
   * Makes an empty store.
   *
   * @param options The bounds, `clone` if readers get copies, the clock in milliseconds, and the codec of values.
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

  /** True while values are kept and served. Setting it drops everything. @default true */
  get live(): boolean {
    return this.#live;
  }

  set live(live: boolean) {
    this.#live = live;
    this.clear();
  }

  /** The number of entries. */
  get size(): number {
    return this.#keys.size;
  }

  /** The bytes of the stored texts of the entries. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Finds an entry by its id.
   *
   * @param id The id.
   * @returns The entry; `undefined` if it is not kept, or its time is over.
   */
  hit(id: NearId): NearEntry | undefined {
    const entry = this.#ids.get(id) ?? this.#alias(id);
    return entry === undefined ? undefined : this.#serve(entry);
  }

  /**
   * Finds an entry by its physical key.
   *
   * @param key The key.
   * @returns The entry; `undefined` if it is not kept, or its time is over.
   */
  hitKey(key: string): NearEntry | undefined {
    const entry = this.#keys.get(key);
    return entry && this.#serve(entry);
  }

  /**
   * Returns the value of an entry for one reader.
   *
   * @param entry The entry.
   * @returns The shared value, or a copy.
   */
  value(entry: NearEntry): Promise<unknown> {
    if (entry.text !== undefined) return Promise.resolve(this.#codec.decode(entry.text));
    // Readers of a frozen value share its promise, too.
    entry.promise ??= Promise.resolve(entry.value);
    return entry.promise;
  }

  /**
   * Numbers a read that starts now. Nothing is kept for it, so a read without a value needs no end.
   *
   * @returns The mark for {@linkcode put}.
   */
  begin(): ReadMark {
    return this.#live ? ++this.#count : -1;
  }

  /**
   * Keeps the value of a read, and freezes it deeply if possible. It is not kept if its key was dropped since, if a
   * later read's value is kept already, or if it is too large.
   *
   * @param mark The mark that {@linkcode begin} returned before the read.
   * @param read The value.
   * @returns The value to hand out.
   */
  put(mark: ReadMark, read: NearValue): unknown {
    const { id, key, from, until, tags, part, epoch, bytes, value } = read;
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
    const entry: NearEntry = {
      id: id === undefined ? undefined : plain(id),
      key,
      value: text === undefined ? value : undefined,
      text,
      from,
      until,
      tags,
      part,
      epoch,
      bytes,
      used: false,
      promise: undefined,
      others: undefined,
      mark,
    };
    this.#keys.set(key, entry);
    if (entry.id !== undefined) this.#ids.set(entry.id, entry);
    this.#bytes += bytes;
    // An iterator holds every table that its map has outgrown since it last moved, so it must not rest for long.
    if (++this.#puts % 64 === 0) this.#hand?.next();
    return value;
  }

  /**
   * Drops keys, also for reads in flight.
   *
   * @param keys The physical keys.
   * @returns The number of entries that were dropped.
   */
  drop(keys: readonly string[]): number {
    const number = ++this.#count;
    let dropped = 0;
    for (const key of keys) {
      if (this.#drops.size >= REMEMBERED) {
        this.#floor = Math.max(this.#floor, this.#lastEarlier);
        this.#earlier = this.#drops;
        this.#drops = new Map();
        this.#lastEarlier = number;
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
   * Drops the entries that carry one of the tags, and keeps no value of reads that are in flight.
   *
   * @param tags The names of the tags.
   * @returns The number of entries that were dropped.
   */
  dropTags(tags: readonly string[]): number {
    return this.dropIf((entry) => entry.tags.some((tag) => tags.includes(tag)));
  }

  /**
   * Drops the entries that fit, and keeps no value of reads that are in flight.
   *
   * @param fits Returns whether to drop an entry.
   * @returns The number of entries that were dropped.
   */
  dropIf(fits: (entry: NearEntry) => boolean): number {
    this.#floor = ++this.#count;
    let dropped = 0;
    for (const entry of this.#keys.values()) {
      if (!fits(entry)) continue;
      this.#remove(entry);
      dropped++;
    }
    return dropped;
  }

  /**
   * Drops what may have been invalidated without a message: all entries of a shard from before `all`, and those with
   * tags from before `seq`.
   *
   * @param prefix The start of the keys of the shard.
   * @param seq The epoch of the shard.
   * @param all The epoch of the last invalidation of everything.
   */
  outdate(prefix: string, seq: number, all: number): void {
    for (const entry of this.#keys.values()) {
      if (!entry.key.startsWith(prefix)) continue;
      if (entry.epoch < (entry.tags.length > 0 ? seq : all)) this.#remove(entry);
    }
  }

  /**
   * Drops everything, and keeps no value of reads that are in flight.
   *
   * @returns The number of entries that were dropped.
   */
  clear(): number {
    const { size } = this.#keys;
    this.#floor = this.#lastEarlier = ++this.#count;
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

  /** Finds an entry by an id of equal text, and lets this id find it from now on. */
  #alias(id: NearId): NearEntry | undefined {
    const other = plain(id);
    const entry = other === id ? undefined : this.#ids.get(other);
    if (entry) {
      entry.others ??= [];
      entry.others.push(id);
      this.#ids.set(id, entry);
    }
    return entry;
  }

  #remove(entry: NearEntry): void {
    this.#keys.delete(entry.key);
    this.#unlink(entry, entry.id);
    for (const id of entry.others ?? []) this.#unlink(entry, id);
    this.#bytes -= entry.bytes;
  }

  #unlink(entry: NearEntry, id: NearId | undefined): void {
    if (id !== undefined && this.#ids.get(id) === entry) this.#ids.delete(id);
  }

  /** Moves the hand on until it has evicted an entry. After the newest entry, it starts again with the oldest. */
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

/** Returns one id for all ids of equal text: a number if its text is that of the id, otherwise the text. */
function plain(id: NearId): string | number {
  if (typeof id === "number") return id;
  const number = Number(id);
  return String(number) === String(id) ? number : String(id);
}

/**
 * Freezes a value with everything in it, cycles included, if it consists of arrays and plain objects alone. Returns
 * false if it does not.
 */
function deepFreeze(value: unknown): boolean {
  // A loop over a set also visits items that are added during the loop.
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
