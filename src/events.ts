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

/** A logger: `console`, pino, and whatever else has these methods. */
export interface Logger {
  /** Something failed and the application went on without the cache. */
  warn(details: object, message: string): void;
  /** Something that an operator may want to look at later. */
  debug?(details: object, message: string): void;
}

/** Hands events to listeners, and to a logger at most one line a second and event type. */
export class Events {
  readonly #listeners = new Set<CacheListener>();
  /** Whether anybody listens: hits and misses are reported only then. */
  active = false;

  /** @param logger Told of errors and corrupt entries (`warn`) and of retries (`debug`). */
  constructor(logger?: Logger) {
    if (logger) this.#listeners.add(logTo(logger));
  }

  /** Adds a listener and answers the function that removes it. */
  subscribe(listener: CacheListener): () => void {
    this.#listeners.add(listener);
    this.active = true;
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

function logTo(logger: Logger): CacheListener {
  const last = new Map<string, { at: number; held: number }>();
  return (event) => {
    if (event.type !== "error" && event.type !== "corrupt" && event.type !== "retry") return;
    const now = performance.now();
    const seen = last.get(event.type);
    if (seen && now - seen.at < 1000) {
      seen.held++;
      return;
    }
    last.set(event.type, { at: now, held: 0 });
    const more = seen?.held ? ` (and ${seen.held} more)` : "";
    const { type, ...details } = event;
    const line = "error" in event ? { ...details, error: event.error.message, kind: event.error.kind } : details;
    if (type === "retry") logger.debug?.(line, `cache retry${more}`);
    else logger.warn(line, `cache ${type}${more}`);
  };
}
