/** The near cache of one cache or collection: the reads that it keeps, and how it learns of changes. */
import type { Driver, Reply, StoreError, Tracker, Tracking } from "../../drivers/driver.ts";
import { MARKS } from "../base/own_keys.ts";
import { parseTtl, type TtlClasses } from "../base/ttl.ts";
import type { NearOptions } from "../config/policy.ts";
import { type Document, decode, encode, type Known } from "../entry/codec.ts";
import type { Epoch, Id, Keyspace, Shard } from "../entry/keyspace.ts";
import { EVERYTHING } from "../lua/entries.ts";
import { AT_EDGE } from "../runtime/edge.ts";
import type { CacheTarget, Events } from "../telemetry/events.ts";
import { coarseClock } from "./coarse_clock.ts";
import { NearStore } from "./near_store.ts";

/** Options of a {@linkcode NearCache}. */
export interface NearSetup {
  readonly options: NearOptions;
  readonly space: Keyspace;
  readonly database: number;
  /** The prefix of the physical keys of its entries. */
  readonly prefix: string;
  readonly target: CacheTarget;
  readonly events: Events;
  /** Opens the driver for invalidation messages; absent on runtimes where nothing may outlive a request. */
  readonly driver?: (() => Driver | Promise<Driver>) | undefined;
  /** Called when the store begins to send invalidation messages, and with its error if it refuses to. */
  readonly onTracking?: ((refused?: StoreError) => void) | undefined;
  /** The clock of times to live, in milliseconds since 1970. @default the clock of the system */
  readonly now?: (() => number) | undefined;
  /** The classes whose instances may be stored. */
  readonly known?: Known | undefined;
  /** The TTLs that have names. */
  readonly classes: TtlClasses;
}

/** The parts of a read's outcome that a near cache needs. */
export interface NearRead {
  readonly state: string;
  readonly id: Id;
  readonly physical: string;
  readonly text: string | null;
  readonly document: Document | undefined;
  readonly left: Reply | undefined;
  readonly epoch: Epoch;
  readonly value: unknown;
}

/** A near cache. Invalidation messages of the store keep it coherent, or else a short time to live does. */
export class NearCache {
  readonly #setup: NearSetup;
  readonly #now: () => number;
  /** The entries. */
  readonly store: NearStore;
  #ttl: number;
  #trackings: Tracking[] = [];
  #state: "new" | "opening" | "open" | "closed" = "new";
  #tracked = false;
  /** The part of a key, and the parts that report changes, if the store has several. */
  #parts: { of(key: string): string; readonly up: Set<string> } | undefined;

  /** @param setup The options, and the parts that it uses. */
  constructor(setup: NearSetup) {
    const { options, now = SYSTEM_CLOCK, known } = setup;
    const { maxEntries = 10_000, maxBytes = 2 ** 24, clone = false, ttl } = options;
    this.#setup = setup;
    this.#now = now;
    const codec = {
      encode: (value: unknown) => encode(value, known),
      decode: (text: string) => decode(text, known),
    };
    this.store = new NearStore({ maxEntries, maxBytes, clone, now, codec });
    this.store.live = !setup.driver;
    this.#ttl = (ttl === undefined ? 5000 : parseTtl(ttl, "near.ttl", setup.classes)) ?? Number.POSITIVE_INFINITY;
  }

  /** Handles a later epoch that a read brought. Without invalidation messages, any older entry may be invalid. */
  outdate({ prefix, lastEpoch }: Shard): void {
    const { shards } = this.#setup.space;
    if (this.#tracked || !shards.some((shard) => shard.prefix === prefix)) return;
    this.store.outdate(prefix, lastEpoch.seq, lastEpoch.all);
  }

  /** Notes that a read leaves. The first one starts to listen to the store. */
  begin(): number {
    const { driver } = this.#setup;
    if (driver && this.#state === "new") this.#open(driver);
    return this.store.begin();
  }

  /**
   * Keeps the value of a read, if it may, and freezes a value that readers share.
   *
   * @param mark What {@linkcode begin} returned; `undefined` for a read whose value may not be kept.
   * @param read The outcome of the read.
   * @param clock The clock of entries, in milliseconds.
   */
  keep(mark: number | undefined, read: NearRead, clock: () => number): void {
    const { left, text, document, state, value, id } = read;
    if (mark === undefined || !this.store.live || state !== "fresh" || typeof left !== "number" || text === null)
      return;
    const part = this.#parts?.of(read.physical);
    if (part !== undefined && !this.#parts?.up.has(part)) return;
    const from = this.#now();
    const { at, ttl = 0, tags = NO_TAGS } = document ?? {};
    let span = left < 0 ? this.#ttl : Math.min(left, this.#ttl);
    if (at !== undefined) span = Math.min(span, at + ttl - clock());
    this.store.put(mark, {
      id: typeof id === "object" ? undefined : id,
      key: read.physical,
      value,
      from,
      until: from + span,
      tags,
      part,
      epoch: read.epoch.seq,
      bytes: text.length,
    });
  }

  /** Drops a physical key, also for reads in flight. */
  forget(key: string): void {
    if (key.startsWith(this.#setup.prefix)) this.store.drop([key]);
  }

  /** Drops the entries that carry one of the tags, or everything if no tags are given. */
  invalidate(space: Keyspace, tags?: readonly string[]): void {
    if (space.prefix !== this.#setup.space.prefix) return;
    if (tags) this.store.dropTags(tags);
    else this.store.clear();
  }

  /** Drops everything and stops listening. */
  async close(): Promise<void> {
    this.#state = "closed";
    this.store.live = false;
    await Promise.all(this.#trackings.map((tracking) => tracking.close()));
  }

  async #open(open: NonNullable<NearSetup["driver"]>): Promise<void> {
    this.#state = "opening";
    try {
      const driver = await open();
      if (this.#state !== "opening") return;
      this.#state = "open";
      if (driver.track) this.#track(driver);
      else this.store.live = true;
    } catch {
      // The next read opens it again.
      if (this.#state === "opening") this.#state = "new";
    }
  }

  #track(driver: Driver): void {
    const { space, database, prefix, options, onTracking } = this.#setup;
    const near = this.store;
    const changed = (keys: readonly string[] | null): number => {
      if (!keys) return near.clear();
      const own = keys.map((key) => space.strip(key)).filter((key) => key.startsWith(MARKS));
      const tags = own.map((key) => key.slice(MARKS.length));
      if (tags.includes(EVERYTHING)) return near.clear();
      const dropped = tags.length > 0 ? near.dropTags(tags) : 0;
      return dropped + (tags.length < keys.length ? near.drop(keys) : 0);
    };
    const [{ marksPrefix = "" } = {}] = space.shards;
    const prefixes = marksPrefix.startsWith(prefix) ? [prefix] : [prefix, marksPrefix];
    this.#tracked = true;
    if (options.ttl === undefined) this.#ttl = 30_000;
    const up = new Set<string | undefined>();
    const { partOf, capabilities } = driver;
    if (partOf && capabilities.parts) this.#parts = { of: (key) => partOf.call(driver, key), up: up as Set<string> };
    /** The parts that report keys with each of the prefixes. */
    const alive = prefixes.map(() => new Set<string | undefined>());
    this.#trackings = prefixes.map((start, i) => {
      const mine = alive[i] as Set<string | undefined>;
      const tracker: Tracker = {
        invalidate: (keys) => this.#emit(changed(keys), "change"),
        up: (part) => {
          mine.add(part);
          if (alive.every((parts) => parts.has(part))) {
            const others = part !== undefined && up.size > 0;
            up.add(part);
            if (others) near.dropIf((entry) => entry.part === part);
            else near.live = true;
          }
          onTracking?.();
        },
        refused: (error) => onTracking?.(error),
        down: (part) => {
          if (part === undefined) mine.clear();
          else mine.delete(part);
          if (part === undefined) up.clear();
          else up.delete(part);
          let { size } = near;
          if (up.size > 0) size = near.dropIf((entry) => entry.part === part);
          else near.live = false;
          this.#emit(size, "lost");
        },
        moved: () =>
          this.#emit(
            near.dropIf(({ key, part }) => this.#parts?.of(key) !== part),
            "lost",
          ),
      };
      return (driver.track as NonNullable<Driver["track"]>)(database, start, tracker);
    });
  }

  #emit(entries: number, reason: "change" | "lost"): void {
    const { events, target } = this.#setup;
    if (entries > 0) events.emit({ type: "near-invalidate", entries, reason, ...target });
  }
}

/** The tags of entries that have none: one list for all of them. */
const NO_TAGS: readonly string[] = [];

/** The clock of near caches. At the edge it is the system clock: the timer of a coarse one ends with its request. */
const SYSTEM_CLOCK = AT_EDGE ? Date.now : coarseClock(() => Date.now());
