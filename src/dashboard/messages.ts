/** What the dashboard's server and its page say to each other, as JSON. Times are in milliseconds, sizes in bytes; what is not known is `null`. */

import type { EntryHead, Finding, ServerNumbers } from "../manager/mod.ts";
import type { Alert } from "../monitor/mod.ts";
import type { BreakerState } from "../telemetry/events.ts";

/** What a service did and holds. Counts and times are those of the last minute. */
export interface ServiceView {
  /** Its name; `"database 9"` for what lies in a database that none of the services has. */
  readonly service: string;
  /** Its database, 0-15. */
  readonly database: number;
  /** Whether it is no service, but a database. */
  readonly unnamed?: true;
  /** How many keys it has. */
  readonly keys: number | null;
  /** How many bytes they take, estimated from some of them. */
  readonly memory: number | null;
  /** `hits / (hits + misses)`; `null` without reads. */
  readonly hitRate: number | null;
  /** Reads that found a value. */
  readonly hits: number;
  /** Reads that found none. */
  readonly misses: number;
  /** Entries written. */
  readonly writes: number;
  /** Loaders run. */
  readonly loads: number;
  /** Operations that failed. */
  readonly errors: number;
  /** What 95 of 100 operations stayed below. */
  readonly p95: number | null;
}

/** The store as it was when it was last asked. */
export interface StoreView extends Omit<ServerNumbers, "hits" | "misses" | "commands"> {
  /** Whether it answers. */
  readonly up: boolean;
  /** Why it does not, without secrets. */
  readonly error: string | null;
  /** How long it took to answer. */
  readonly latency: number | null;
  /** Slow queries since the dashboard began. */
  readonly slowQueries: number | null;
  /** Commands a second, of all its users, between the last two samples. */
  readonly operations: number | null;
}

/** All that is shown of the caches at one time. */
export interface View {
  /** The time, in milliseconds since 1970. */
  readonly at: number;
  /**
   * Whose counts these are: `"fleet"`, of all processes with `fleetStats`; `"instance"`, of the process that serves the dashboard; `null` where nothing was
   * counted yet.
   */
  readonly counted: "fleet" | "instance" | null;
  /** All services together, in the last minute. */
  readonly all: Omit<ServiceView, "service" | "database" | "unnamed"> & {
    /** The median of the times of operations. */
    readonly p50: number | null;
    /** What 99 of 100 stayed below. */
    readonly p99: number | null;
  };
  /** The services by their databases. */
  readonly services: readonly ServiceView[];
  /** The store; `null` before it was asked. */
  readonly store: StoreView | null;
  /** What the circuit breaker of the serving process lets through. */
  readonly breaker: BreakerState;
  /** The alerts that fire. */
  readonly alerts: readonly Alert[];
}

/** One point of the charts. */
export interface ChartPoint {
  /** The time, in milliseconds since 1970. */
  readonly at: number;
  /** The hit rate of all services in the minute before. */
  readonly hitRate: number | null;
  /** That of each service that was read. */
  readonly services: Readonly<Record<string, number>>;
  /** How long the store took to answer. */
  readonly latency: number | null;
  /** The times of operations in the minute before. */
  readonly p50: number | null;
  /** The same, 95 of 100. */
  readonly p95: number | null;
  /** The same, 99 of 100. */
  readonly p99: number | null;
  /** Commands a second. */
  readonly operations: number | null;
  /** Bytes in use. */
  readonly memory: number | null;
  /** The limit; `null` where there is none. */
  readonly memoryLimit: number | null;
}

/** The first event of a stream, `hello`. */
export interface Hello {
  /** What the store is called, without secrets. */
  readonly name: string;
  /** The driver: `"memory"`, `"node-redis"`, `"upstash"`, or one of the application's. */
  readonly driver: string;
  /** How databases are kept apart. */
  readonly databases: "numbered" | "prefixed";
  /** Whether keys may be deleted. */
  readonly writable: boolean;
  /** Milliseconds from one sample to the next. */
  readonly interval: number;
  /** What was sampled in the last hour, the oldest first. */
  readonly history: readonly ChartPoint[];
  /** The alerts that fired or were resolved, the latest first, 50 at the most. */
  readonly log: readonly Alert[];
  /** The latest; `null` before the first sample. */
  readonly view: View | null;
}

/** The event `sample`. */
export interface SampleMessage {
  /** How things are. */
  readonly view: View;
  /** The same as a point. */
  readonly point: ChartPoint;
}

/** One key of a list. */
export interface KeyRow {
  /** The key, below its service's prefix; what is not UTF-8 in it is replaced. */
  readonly key: string;
  /** The key in base64, where it is not UTF-8. */
  readonly key64?: string;
  /** Whether the wire cannot carry it, so that it cannot be opened. */
  readonly unreadable?: true;
  /** The type, such as `"string"`. */
  readonly type: string;
  /** Milliseconds to live; `null` without expiry. */
  readonly ttl: number | null;
  /** Bytes. */
  readonly size: number | null;
}

/** Some keys. */
export interface KeyPage {
  /** The keys, in no order. One may come again in a later page. */
  readonly keys: readonly KeyRow[];
  /** What to ask with for more; `null` at the end. */
  readonly cursor: string | null;
  /** How many keys were looked at for this page. */
  readonly scanned: number;
}

/** A key and its value; `null` is answered where there is none. */
export interface KeyView extends Omit<KeyRow, "key" | "key64"> {
  /** What is known of it, where it is an entry of this library. */
  readonly entry?: EntryHead;
  /** How many elements there are, where only the first 1000 are shown. */
  readonly length?: number;
  /** What `text` is: JSON, text as it is stored, bytes shown as text, or nothing that can be shown (encrypted, of an unknown type). */
  readonly kind: "json" | "text" | "bytes" | "none";
  /** The value, pretty-printed. */
  readonly text: string;
  /** How many characters it has, where `text` holds only the first of them. */
  readonly characters?: number;
  /** How many bytes it has, where so many are stored that only the first of them were read. */
  readonly bytes?: number;
}

/** A command that was slow. */
export interface SlowCommand {
  /** When it ran, by the store's clock. */
  readonly at: number;
  /** How long it took. */
  readonly took: number;
  /** The command and its first arguments, each cut to some characters. */
  readonly command: string;
}

/** The answer to a question about slow commands. */
export interface SlowCommands {
  /** The latest first; `null` where the store keeps none. */
  readonly queries: readonly SlowCommand[] | null;
}

/** The answer to a check-up. */
export interface CheckUp {
  /** What was found, a finding a question. */
  readonly findings: readonly Finding[];
}

/** The answer to a deletion. */
export interface Deleted {
  /** Whether the key was there. */
  readonly deleted: boolean;
}

/** Any answer that is none. */
export interface Refused {
  /** Why. */
  readonly error: string;
}
