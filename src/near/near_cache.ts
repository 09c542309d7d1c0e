/** The near cache of one cache or collection, and the reads that it keeps. */
import type { Driver, Reply, StoreError } from "../../drivers/driver.ts";
import { parseTtl, type TtlClasses } from "../base/ttl.ts";
import type { NearOptions } from "../config/policy.ts";
import { type Document, decode, encode, type Known } from "../entry/codec.ts";
import type { Epoch, Id, Keyspace, Shard } from "../entry/keyspace.ts";
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
  /** The store. */
  readonly store: NearSource;
  /** The clock of times to live, in milliseconds since 1970. @default the clock of the system */
  readonly now?: (() => number) | undefined;
  /** The classes whose instances may be stored. */
  readonly known?: Known | undefined;
  /** The TTLs that have names. */
  readonly classes: TtlClasses;
}

/** The store of near caches: a `StoreConnection`. */
export interface NearSource {
  /** The name of its driver. */
  readonly name: string;
  /** The error with which it refused to report changed keys, if it did. */
  untold: StoreError | undefined;
  /** Returns the driver, opened on the first call. */
  driver(): Driver | Promise<Driver>;
}

/** The listening of a near cache to changes: `NearTracking`. */
export interface NearListener {
  /** True once the store reports changes. */
  readonly tracked: boolean;
  /** Listens, if it does not yet. */
  begin(): void;
  /** Returns the part of the store that has a key, if it has several; `false` if that does not report changes. */
  partOf(physical: string): string | undefined | false;
  /** Stops listening. */
  close(): Promise<unknown>;
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

/** A near cache. A listener keeps it coherent by invalidation messages of the store, or else a short TTL does. */
export class NearCache {
  readonly #setup: NearSetup;
  readonly #now: () => number;
  /** The entries. */
  readonly store: NearStore;
  /** The longest time that it keeps a value, and that while the store reports changes, in milliseconds. */
  readonly #ttl: number;
  readonly #trackedTtl: number;
  readonly #listener: NearListener | undefined;

  /**
   * @param setup The options, and the parts that it uses.
   * @param listen Makes its listener, where something may outlive a request.
   */
  constructor(setup: NearSetup, listen?: (setup: NearSetup, store: NearStore) => NearListener) {
    const { options, now = SYSTEM_CLOCK, known } = setup;
    const { maxEntries = 10_000, maxBytes = 2 ** 24, clone = false } = options;
    this.#setup = setup;
    this.#now = now;
    const codec = {
      encode: (value: unknown) => encode(value, known),
      decode: (text: string) => decode(text, known),
    };
    this.store = new NearStore({ maxEntries, maxBytes, clone, now, codec });
    this.store.live = !listen;
    this.#listener = listen?.(setup, this.store);
    this.#ttl = ttlOf(setup, 5000);
    this.#trackedTtl = ttlOf(setup, 30_000);
  }

  /** Handles a later epoch that a read brought. Without invalidation messages, any older entry may be invalid. */
  outdate({ prefix, lastEpoch }: Shard): void {
    const { shards } = this.#setup.space;
    if (this.#listener?.tracked || !shards.some((shard) => shard.prefix === prefix)) return;
    this.store.outdate(prefix, lastEpoch.seq, lastEpoch.all);
  }

  /** Notes that a read leaves. The first one starts to listen to the store. */
  begin(): number {
    this.#listener?.begin();
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
    const part = this.#listener?.partOf(read.physical);
    if (part === false) return;
    const from = this.#now();
    const { at, ttl = 0, tags = NO_TAGS } = document ?? {};
    const longest = this.#listener?.tracked ? this.#trackedTtl : this.#ttl;
    let span = left < 0 ? longest : Math.min(left, longest);
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
    this.store.live = false;
    await this.#listener?.close();
  }
}

function ttlOf({ options: { ttl }, classes }: NearSetup, fallback: number): number {
  return (ttl === undefined ? fallback : parseTtl(ttl, "near.ttl", classes)) ?? Number.POSITIVE_INFINITY;
}

/** The tags of entries that have none: one list for all of them. */
const NO_TAGS: readonly string[] = [];

/** The clock of near caches. At the edge it is the system clock: the timer of a coarse one ends with its request. */
const SYSTEM_CLOCK = AT_EDGE ? Date.now : coarseClock(() => Date.now());
