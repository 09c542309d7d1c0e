import type { Command, Reply, StoreError } from "../../drivers/driver.ts";
import type { SchemaIssue } from "../base/errors.ts";

/** The state of a circuit breaker: all sends leave, no send leaves, or one leaves as a probe. */
export type BreakerState = "closed" | "open" | "half-open";

/** The service and collection that an event is about. */
export interface CacheTarget {
  /** The service, or `"cache"` for a cache without one. */
  readonly service: string;
  /** The collection; empty for a service's own verbs. */
  readonly collection: string;
}

/** Returns the name of a target for messages. */
export const targetName = ({ service, collection }: CacheTarget): string =>
  collection === "" ? service : `${service}.${collection}`;

/** The reason why a loader runs: no value, a stale value, or one that will soon be stale. */
export type LoadReason = "miss" | "stale" | "early";

/**
 * Everything that a client reports, distinguished by `type`. Keys are logical keys, and values never appear. Durations
 * are in milliseconds.
 */
export type CacheEvent =
  /** A read found a value; `stale` and `near` say that it was a stale one, or one of the near cache. */
  | (CacheTarget & { readonly type: "hit"; readonly key: string; readonly stale?: true; readonly near?: true })
  | (CacheTarget & { readonly type: "miss"; readonly key: string })
  /** A loader of `getOrSet` starts. */
  | (CacheTarget & { readonly type: "load-start"; readonly key: string; readonly reason: LoadReason })
  /** A loader returned a value; `stored` is true if it is to be written. */
  | (CacheTarget & {
      readonly type: "load-end";
      readonly key: string;
      readonly duration: number;
      readonly stored: boolean;
    })
  /** A loader failed or took too long. `error` is what it threw; `kept` is true if callers got an old value instead. */
  | (CacheTarget & {
      readonly type: "load-error";
      readonly key: string;
      readonly duration: number;
      readonly error: unknown;
      readonly kept: boolean;
    })
  /**
   * The loader of `getOrSetMany` returned no value for some ids, or values for ids that were not asked for: the number
   * of each.
   */
  | (CacheTarget & { readonly type: "load-unasked"; readonly missing: number; readonly unasked: number })
  /** Another process loads the key, or holds the lock, so this one waits. */
  | (CacheTarget & { readonly type: "lock-wait"; readonly key: string })
  /** A lock was lost before it was released, because its holder was held up for longer than the lock lasts. */
  | (CacheTarget & { readonly type: "lock-lost"; readonly key: string })
  /** An operation failed and returned its fallback. */
  | (CacheTarget & { readonly type: "error"; readonly operation: string; readonly error: StoreError })
  /** A stored payload was unreadable, not sealed as it must be, or rejected by its schema. The read was a miss. */
  | (CacheTarget & {
      readonly type: "corrupt";
      readonly key: string;
      readonly reason: "payload" | "schema" | "sealed";
      readonly issues: readonly SchemaIssue[];
    })
  /** An entry of another schema version was read: it was upgraded (`ok`), or was a miss. */
  | (CacheTarget & {
      readonly type: "migrate";
      readonly key: string;
      readonly from: number;
      readonly to: number;
      readonly ok: boolean;
    })
  /** Tags were invalidated, or everything when `tags` is absent. */
  | { readonly type: "invalidate"; readonly service: string; readonly tags?: readonly string[] }
  /**
   * A shard did not confirm an invalidation in time. It is kept, and sent in front of everything else as soon as its
   * `part` of the store answers: the number of `tags`, or everything of the shard when absent.
   */
  | {
      readonly type: "invalidate-kept";
      readonly driver: string;
      readonly part: string;
      readonly tags?: number;
      readonly error: StoreError;
    }
  /** A shard has confirmed the invalidations that were kept of it. */
  | { readonly type: "invalidate-sent"; readonly driver: string; readonly part: string; readonly tags?: number }
  /** The near cache dropped entries that changed in the store, or all of them because it lost the messages. */
  | (CacheTarget & { readonly type: "near-invalidate"; readonly entries: number; readonly reason: "change" | "lost" })
  /**
   * The store sends no invalidation messages, so near caches keep nothing and every read goes to the store. `error` has
   * the reason that the store gave. Emitted once for each cause, also after a reconnection.
   */
  | { readonly type: "near-unavailable"; readonly driver: string; readonly error: StoreError }
  /** The store sends invalidation messages again, so near caches work. */
  | { readonly type: "near-available"; readonly driver: string }
  /** The circuit breaker of a driver has changed its state; that of one `part` if the store has several. */
  | {
      readonly type: "breaker";
      readonly driver: string;
      /** The address of the part, such as a master of a cluster. */
      readonly part?: string;
      readonly state: BreakerState;
      readonly error?: StoreError;
    }
  /** Commands are sent again; `attempt` counts from 1. */
  | { readonly type: "retry"; readonly attempt: number; readonly commands: number; readonly error: StoreError };

/** A function that is called with every {@linkcode CacheEvent}. What it throws is ignored. */
export type CacheListener = (event: CacheEvent) => void;

/** A send to a store. Its commands carry keys and values. */
export interface Sending {
  /** The driver's name. */
  readonly driver: string;
  /** The database that the commands are sent to. */
  readonly database: number;
  /** The commands. */
  readonly commands: readonly Command[];
  /** Their replies; rejects if the send failed as a whole. */
  readonly replies: Promise<readonly Reply[]>;
}

/** Calls listeners with events. */
export class Events<E = CacheEvent> {
  readonly #listeners = new Set<(event: E) => void>();
  /** True once a listener needs hits and misses. They are emitted only then. */
  active = false;

  /** Adds a listener; a quiet one needs no hits and misses. Returns a function that removes it. */
  subscribe(listener: (event: E) => void, quiet = false): () => void {
    this.#listeners.add(listener);
    this.active ||= !quiet;
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Calls every listener with an event. */
  emit(event: E): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch {
        // A failure of a listener must not become one of the cache.
      }
    }
  }
}
