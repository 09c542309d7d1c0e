/**
 * The JSON messages between the dashboard's server and its page. Times are in milliseconds, sizes in bytes; unknown
 * values are `null`.
 */

import type { EntryHead, Finding, NodeNumbers } from "../manager/mod.ts";
import type { Alert, StoreSample } from "../monitor/mod.ts";
import type { BreakerState } from "../telemetry/events.ts";

/** A service: its counts and times of the last minute, and its keys. */
export interface ServiceView {
  /** The name; `"database 9"` for a database that belongs to no service. */
  readonly service: string;
  /** The database, 0-15. */
  readonly database: number;
  /** True if it is a database instead of a service. */
  readonly unnamed?: true;
  /** The number of keys. */
  readonly keys: number | null;
  /** The bytes of the keys, estimated from some of them. */
  readonly memory: number | null;
  /** `hits / (hits + misses)`; `null` without reads. */
  readonly hitRate: number | null;
  /** Reads that found a value. */
  readonly hits: number;
  /** Reads that found no value. */
  readonly misses: number;
  /** Entries written. */
  readonly writes: number;
  /** Loaders run. */
  readonly loads: number;
  /** Operations that failed. */
  readonly errors: number;
  /** The 95th percentile of the times of operations. */
  readonly p95: number | null;
}

/** The fields of the monitor's sample of the store that are shown. */
export const STORE_FIELDS = [
  "up",
  "error",
  "latency",
  "server",
  "version",
  "memoryUsed",
  "memoryLimit",
  "policy",
  "evictions",
  "expired",
  "clients",
  "slowQueries",
] as const;

/** The store as it was when it was last asked. */
export interface StoreView extends Pick<StoreSample, (typeof STORE_FIELDS)[number]> {
  /** Commands a second of all clients, between the last two samples. */
  readonly operations: number | null;
}

/** A node of a cluster. */
export interface NodeView extends NodeNumbers {
  /** The state of the circuit breaker of the process that serves the dashboard for it; `null` if it has none. */
  readonly breaker: BreakerState | null;
}

/** The view of the caches at one time. */
export interface View {
  /** The time, in milliseconds since 1970. */
  readonly at: number;
  /**
   * The source of the counts: `"fleet"` for all processes with `fleetStats`, `"instance"` for the process that serves
   * the dashboard, `null` if nothing was counted yet.
   */
  readonly counted: "fleet" | "instance" | null;
  /** All services together, in the last minute. */
  readonly all: Omit<ServiceView, "service" | "database" | "unnamed"> & {
    /** The median of the times of operations. */
    readonly p50: number | null;
    /** The 99th percentile of the times of operations. */
    readonly p99: number | null;
  };
  /** The services by their databases. */
  readonly services: readonly ServiceView[];
  /** The store; `null` before it was asked. */
  readonly store: StoreView | null;
  /** The nodes of a cluster; none for one server. */
  readonly nodes: readonly NodeView[];
  /** The state of the circuit breaker of the process that serves the dashboard. */
  readonly breaker: BreakerState;
  /** The firing alerts. */
  readonly alerts: readonly Alert[];
}

/** One point of the charts. */
export interface ChartPoint {
  /** The time, in milliseconds since 1970. */
  readonly at: number;
  /** The hit rate of all services in the minute before. */
  readonly hitRate: number | null;
  /** The hit rate of each service that was read. */
  readonly services: Readonly<Record<string, number>>;
  /** The time until the store answered. */
  readonly latency: number | null;
  /** The median of the times of operations in the minute before. */
  readonly p50: number | null;
  /** The 95th percentile. */
  readonly p95: number | null;
  /** The 99th percentile. */
  readonly p99: number | null;
  /** Commands a second. */
  readonly operations: number | null;
  /** Bytes that the store uses. */
  readonly memory: number | null;
  /** The limit of the store's memory; `null` without one. */
  readonly memoryLimit: number | null;
}

/** The first event of a stream, `hello`. */
export interface Hello {
  /** The name of the store, without secrets. */
  readonly name: string;
  /** The driver: `"memory"`, `"node-redis"`, `"upstash"`, or one of the application's. */
  readonly driver: string;
  /** The mode that keeps databases apart. */
  readonly databases: "numbered" | "prefixed";
  /** True if keys may be deleted. */
  readonly writable: boolean;
  /** The time between samples. */
  readonly interval: number;
  /** The points of the last hour, the oldest first. */
  readonly history: readonly ChartPoint[];
  /** The alerts that fired or were resolved, the latest first, at most 50. */
  readonly log: readonly Alert[];
  /** The latest view; `null` before the first sample. */
  readonly view: View | null;
}

/** The event `sample`. */
export interface SampleMessage {
  /** The view. */
  readonly view: View;
  /** The point of the view on the charts. */
  readonly point: ChartPoint;
}

/** One key of a list. */
export interface KeyRow {
  /** The key without its service's prefix. Bytes that are not UTF-8 are replaced. */
  readonly key: string;
  /** The key in base64, if it is not UTF-8. */
  readonly key64?: string;
  /** True if the driver cannot carry the key, so that it cannot be opened. */
  readonly unreadable?: true;
  /** The type, such as `"string"`. */
  readonly type: string;
  /** The time to live; `null` without expiry. */
  readonly ttl: number | null;
  /** The size. */
  readonly size: number | null;
}

/** A page of keys. */
export interface KeyPage {
  /** The keys, in no order. A key may appear again on a later page. */
  readonly keys: readonly KeyRow[];
  /** The cursor of the next page; `null` at the end. */
  readonly cursor: string | null;
  /** The number of keys that were scanned for this page. */
  readonly scanned: number;
}

/** A key and its value. The answer for a missing key is `null`. */
export interface KeyView extends Omit<KeyRow, "key" | "key64"> {
  /** The metadata of an entry of this library. */
  readonly entry?: EntryHead;
  /** The number of elements, if only the first 1000 are shown. */
  readonly length?: number;
  /** The kind of `text`: JSON, stored text, bytes as text, or nothing (an encrypted value, or an unknown type). */
  readonly kind: "json" | "text" | "bytes" | "none";
  /** The value, pretty-printed. */
  readonly text: string;
  /** The number of characters, if `text` holds only the first of them. */
  readonly characters?: number;
  /** The number of bytes, if the value is so long that only the first of them were read. */
  readonly bytes?: number;
}

/** A slow command. */
export interface SlowCommand {
  /** The node of a cluster that ran it. */
  readonly node?: string;
  /** The time at which it ran, by the store's clock. */
  readonly at: number;
  /** Its duration. */
  readonly took: number;
  /** The command and its first arguments, shortened. */
  readonly command: string;
}

/** The answer for slow commands. */
export interface SlowCommands {
  /** The commands, the latest first; `null` if the store has no slow log. */
  readonly queries: readonly SlowCommand[] | null;
}

/** The answer for a check-up. */
export interface CheckUp {
  /** The findings, one for each check. */
  readonly findings: readonly Finding[];
}

/** The answer for a deletion. */
export interface Deleted {
  /** True if the key existed. */
  readonly deleted: boolean;
}

/** The body of an error response. */
export interface Refused {
  /** The reason. */
  readonly error: string;
}
