import type { StoreError } from "../drivers/driver.ts";
import type { SchemaIssue } from "./errors.ts";

/** Where something happened. */
export interface CacheTarget {
  /** The service, or `"cache"` for a cache without one. */
  readonly service: string;
  /** The collection; empty for a service's own verbs. */
  readonly collection: string;
}

/** Everything that a client reports, told apart by `type`. Keys are logical keys; values never appear. */
export type CacheEvent =
  | (CacheTarget & { readonly type: "hit" | "miss"; readonly key: string })
  /** A `getOrSet` loader ended; `duration` is in milliseconds. */
  | (CacheTarget & { readonly type: "load"; readonly key: string; readonly duration: number; readonly ok: boolean })
  /** An operation failed and answered with its fallback. */
  | (CacheTarget & { readonly type: "error"; readonly operation: string; readonly error: StoreError })
  /** A stored payload could not be read, or its schema rejected it: the read was a miss. */
  | (CacheTarget & {
      readonly type: "corrupt";
      readonly key: string;
      readonly reason: "payload" | "schema";
      readonly issues: readonly SchemaIssue[];
    })
  /** Commands are sent again; `attempt` counts from 1. */
  | { readonly type: "retry"; readonly attempt: number; readonly commands: number; readonly error: StoreError };

/** A function that is told of every {@linkcode CacheEvent}. What it throws is ignored. */
export type CacheListener = (event: CacheEvent) => void;

/** Hands events to listeners. */
export class Events {
  readonly #listeners = new Set<CacheListener>();
  /** Whether anybody listens for them: hits and misses are reported only then. */
  active = false;

  /** Adds a listener (a quiet one has no use for hits and misses) and answers the function that removes it. */
  subscribe(listener: CacheListener, quiet = false): () => void {
    this.#listeners.add(listener);
    this.active ||= !quiet;
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Hands an event to every listener. */
  emit(event: CacheEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch {
        // A listener's own failure must not become the cache's.
      }
    }
  }
}
