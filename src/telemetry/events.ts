import type { Command, Reply, StoreError } from "../../drivers/driver.ts";
import type { SchemaIssue } from "../base/errors.ts";

/** Whether sends leave: all of them, none, or one to see how the store is. */
export type BreakerState = "closed" | "open" | "half-open";

/** Where something happened. */
export interface CacheTarget {
  /** The service, or `"cache"` for a cache without one. */
  readonly service: string;
  /** The collection; empty for a service's own verbs. */
  readonly collection: string;
}

/** Where something happened, in a message. */
export const placeOf = ({ service, collection }: CacheTarget): string =>
  collection === "" ? service : `${service}.${collection}`;

/** Why a loader runs: nothing was there, what was there is stale, or it will be soon. */
export type LoadReason = "miss" | "stale" | "early";

/** Everything that a client reports, told apart by `type`. Keys are logical keys; values never appear. Durations are in milliseconds. */
export type CacheEvent =
  /** A read found a value: a stale one, or in the near cache, where it says so. */
  | (CacheTarget & { readonly type: "hit"; readonly key: string; readonly stale?: true; readonly near?: true })
  | (CacheTarget & { readonly type: "miss"; readonly key: string })
  /** A loader of `getOrSet` begins. */
  | (CacheTarget & { readonly type: "load-start"; readonly key: string; readonly reason: LoadReason })
  /** A loader gave a value; `stored` tells whether it is to be written. */
  | (CacheTarget & {
      readonly type: "load-end";
      readonly key: string;
      readonly duration: number;
      readonly stored: boolean;
    })
  /** A loader failed or took too long; `error` is what it threw, `kept` whether callers got an old value instead. */
  | (CacheTarget & {
      readonly type: "load-error";
      readonly key: string;
      readonly duration: number;
      readonly error: unknown;
      readonly kept: boolean;
    })
  /**
   * The loader of `getOrSetMany` gave nothing for some ids, and values for others that nobody had asked for: how many
   * of each.
   */
  | (CacheTarget & { readonly type: "load-unasked"; readonly missing: number; readonly unasked: number })
  /** Another process loads the key, or holds the lock: this one waits. */
  | (CacheTarget & { readonly type: "lock-wait"; readonly key: string })
  /** A lock was lost before it was given up: its holder was held up for longer than it lasts. */
  | (CacheTarget & { readonly type: "lock-lost"; readonly key: string })
  /** An operation failed and answered with its fallback. */
  | (CacheTarget & { readonly type: "error"; readonly operation: string; readonly error: StoreError })
  /** A stored payload could not be read, was not sealed as it should be, or its schema rejected it: the read was a miss. */
  | (CacheTarget & {
      readonly type: "corrupt";
      readonly key: string;
      readonly reason: "payload" | "schema" | "sealed";
      readonly issues: readonly SchemaIssue[];
    })
  /** An entry of another version of its schema was read: upgraded (`ok`), or passed over. */
  | (CacheTarget & {
      readonly type: "migrate";
      readonly key: string;
      readonly from: number;
      readonly to: number;
      readonly ok: boolean;
    })
  /** Tags were invalidated, or everything when `tags` is absent. */
  | { readonly type: "invalidate"; readonly service: string; readonly tags?: readonly string[] }
  /** The near cache forgot entries because the store told of changes, or forgot all because it cannot tell any more. */
  | (CacheTarget & { readonly type: "near-invalidate"; readonly entries: number; readonly reason: "change" | "lost" })
  /**
   * The store does not tell of changes, so near caches keep nothing and every read asks the store: `error` has the
   * store's words. Told once for each cause, after a reconnection too.
   */
  | { readonly type: "near-unavailable"; readonly driver: string; readonly error: StoreError }
  /** The store tells of changes again: near caches work. */
  | { readonly type: "near-available"; readonly driver: string }
  /** The circuit breaker of a driver changed its state. */
  | {
      readonly type: "breaker";
      readonly driver: string;
      readonly state: BreakerState;
      readonly error?: StoreError;
    }
  /** Commands are sent again; `attempt` counts from 1. */
  | { readonly type: "retry"; readonly attempt: number; readonly commands: number; readonly error: StoreError };

/** A function that is told of every {@linkcode CacheEvent}. What it throws is ignored. */
export type CacheListener = (event: CacheEvent) => void;

/** Commands that leave for a store. They carry keys and values. */
export interface Sending {
  /** The driver's name. */
  readonly driver: string;
  /** The database that they are sent to. */
  readonly database: number;
  /** The commands. */
  readonly commands: readonly Command[];
  /** Their replies; rejects when none was answered. */
  readonly replies: Promise<readonly Reply[]>;
}

/** Hands events to listeners. */
export class Events<E = CacheEvent> {
  readonly #listeners = new Set<(event: E) => void>();
  /** Whether anybody listens for them: hits and misses are reported only then. */
  active = false;

  /** Adds a listener (a quiet one has no use for hits and misses) and answers the function that removes it. */
  subscribe(listener: (event: E) => void, quiet = false): () => void {
    this.#listeners.add(listener);
    this.active ||= !quiet;
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Hands an event to every listener. */
  emit(event: E): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch {
        // A listener's own failure must not become the cache's.
      }
    }
  }
}
