/** The metrics that rules can watch. */
import { formatBytes, formatLatency, formatNumber, formatPercent } from "../base/format.ts";
import { type Counted, rateOf } from "./series.ts";
import type { StoreSample } from "./store_watch.ts";

/** The numbers that a rule's metric is read from: counts of its window, and the current state of the store. */
export interface Scope {
  /** The counts of the window. */
  readonly counted: Counted;
  /** The reads of all processes with `fleetStats` in the window. */
  readonly fleet: { readonly hits: number; readonly misses: number };
  /** The store; `undefined` before it was asked. */
  readonly store: StoreSample | undefined;
  /** The store's counts of the window. */
  readonly storeDone: { readonly evictions: number; readonly expired: number; readonly slowQueries: number };
  /** The number of questions in the window that the store did not answer. */
  readonly unanswered: number;
  /** True while a circuit breaker is open or half open. */
  readonly breakerOpen: boolean;
  /** True if the node that the rule was judged for has left the cluster. */
  readonly left?: true;
  /** The service, if the rule is judged for one. */
  readonly service: string | undefined;
}

/** A metric that rules can watch. */
export interface RuleMetric {
  /** The unit of its value. */
  readonly unit: "share" | "count" | "ms" | "bytes" | "flag";
  /** True if it counts what happened in a window, false if it is a current value. */
  readonly windowed: boolean;
  /** True if services have it. */
  readonly ofServices: boolean;
  /** False if services have it, but collections do not. @default true */
  readonly ofCollections?: false;
  /** True if each node of a cluster is judged on its own, because the sum of all would hide one. @default false */
  readonly ofNodes?: true;
  /** Returns the value, `undefined` if it is unknown, and the number of operations that it is computed from. */
  read(scope: Scope): readonly [value: number | null | undefined, samples: number];
}

/** The kinds of failures that mean that the store cannot be reached. */
export const AWAY = ["connection", "timeout", "auth"] as const;

const count = (read: (counted: Counted) => number): RuleMetric => ({
  unit: "count",
  windowed: true,
  ofServices: true,
  read: ({ counted }) => [read(counted), 1],
});
const time = (of: "latency" | "loadTime", at: "p50" | "p95" | "p99" | "max"): RuleMetric => ({
  unit: "ms",
  windowed: true,
  ofServices: true,
  read: ({ counted }) => [counted[of][at], counted[of].count],
});
const store = (unit: RuleMetric["unit"], read: (store: StoreSample) => number | null): RuleMetric => ({
  unit,
  windowed: false,
  ofServices: false,
  read: ({ store }) => [store && read(store), 1],
});
const node = (unit: RuleMetric["unit"], read: (store: StoreSample) => number | null): RuleMetric => ({
  ...store(unit, read),
  ofNodes: true,
});
const storeDone = (name: "evictions" | "expired" | "slowQueries"): RuleMetric => ({
  unit: "count",
  windowed: true,
  ofServices: false,
  read: ({ store, storeDone }) => [store?.[name] === null ? undefined : storeDone[name], 1],
});

/**
 * The name of a metric that rules can watch.
 *
 * Of a service or of all services together, in the rule's window: `"hit_rate"` (hits among reads, 0 to 1), `"reads"`,
 * `"errors"` (failed operations), `"load_errors"` (failed loaders), `"corrupt"` (unreadable entries), `"lost_locks"`,
 * `"connection_failures"` (operations that could not reach the store; of all services together, also the monitor's own
 * questions), `"latency_p50"`, `"latency_p95"`, `"latency_p99"`, `"latency_max"` (operations, without loaders and near
 * hits, in milliseconds), `"load_p95"` and `"load_p99"` (loaders, in milliseconds). `"fleet_hit_rate"` is the hit rate
 * of all processes with `fleetStats`, or of this process if no process has it. The others count this process.
 *
 * Of a service or of all services together, now: `"keys"`.
 *
 * Of the store, in the rule's window: `"evictions"`, `"expired"`, `"slow_queries"`.
 *
 * Of the store, now: `"memory"` (used share of its limit, 0 to 1), `"memory_used"` (bytes), `"clients"`, `"store_up"`
 * (1 or 0), `"store_latency"` (milliseconds), `"breaker_open"` (1 or 0). On a cluster, `"memory"`, `"store_up"` and
 * `"store_latency"` are judged for each node, and the others are sums.
 */
export type MetricName =
  | "hit_rate"
  | "fleet_hit_rate"
  | "reads"
  | "errors"
  | "load_errors"
  | "corrupt"
  | "lost_locks"
  | "connection_failures"
  | "latency_p50"
  | "latency_p95"
  | "latency_p99"
  | "latency_max"
  | "load_p95"
  | "load_p99"
  | "keys"
  | "evictions"
  | "expired"
  | "slow_queries"
  | "memory"
  | "memory_used"
  | "clients"
  | "store_up"
  | "store_latency"
  | "breaker_open";

/** The metrics by name. */
export const RULE_METRICS: Readonly<Record<MetricName, RuleMetric>> = {
  hit_rate: {
    unit: "share",
    windowed: true,
    ofServices: true,
    read: ({ counted }) => [counted.hitRate, counted.hits + counted.misses],
  },
  fleet_hit_rate: {
    unit: "share",
    windowed: true,
    ofServices: true,
    ofCollections: false,
    read: ({ fleet, counted }) => {
      const { hits, misses } = fleet.hits + fleet.misses > 0 ? fleet : counted;
      return [rateOf(hits, misses), hits + misses];
    },
  },
  reads: count(({ hits, misses }) => hits + misses),
  errors: count(({ errors }) => errors),
  load_errors: count(({ loadErrors }) => loadErrors),
  corrupt: count(({ corrupt }) => corrupt),
  lost_locks: count(({ lostLocks }) => lostLocks),
  connection_failures: {
    unit: "count",
    windowed: true,
    ofServices: true,
    read: ({ counted, unanswered, service }) => [
      AWAY.reduce((sum, kind) => sum + counted.errorKinds[kind], service === undefined ? unanswered : 0),
      1,
    ],
  },
  latency_p50: time("latency", "p50"),
  latency_p95: time("latency", "p95"),
  latency_p99: time("latency", "p99"),
  latency_max: time("latency", "max"),
  load_p95: time("loadTime", "p95"),
  load_p99: time("loadTime", "p99"),
  keys: {
    unit: "count",
    windowed: false,
    ofServices: true,
    ofCollections: false,
    read: ({ store, service }) => {
      if (!store?.keys) return [undefined, 1];
      if (service !== undefined) return [store.keys[service], 1];
      return [Object.values(store.keys).reduce((a, b) => a + b, 0), 1];
    },
  },
  evictions: storeDone("evictions"),
  expired: storeDone("expired"),
  slow_queries: storeDone("slowQueries"),
  memory: node("share", ({ memoryUsed, memoryLimit }) =>
    memoryUsed !== null && memoryLimit ? memoryUsed / memoryLimit : null,
  ),
  memory_used: store("bytes", ({ memoryUsed }) => memoryUsed),
  clients: store("count", ({ clients }) => clients),
  store_up: node("flag", ({ up }) => (up ? 1 : 0)),
  store_latency: node("ms", ({ latency }) => latency),
  breaker_open: { unit: "flag", windowed: false, ofServices: false, read: (scope) => [scope.breakerOpen ? 1 : 0, 1] },
};

/** Returns the value of a metric as people read it, such as `61.2 %` or `64 MiB`. */
export function formatMetric(value: number, unit: RuleMetric["unit"]): string {
  if (unit === "share") return formatPercent(value);
  if (unit === "bytes") return formatBytes(value);
  return unit === "ms" ? formatLatency(value) : formatNumber(value);
}

/** Returns a metric in words, such as `hit rate of product`; `owner` is the service or collection, or empty. */
export function describeMetric(metric: MetricName, owner: string): string {
  const name = metric === "fleet_hit_rate" ? "hit rate" : metric.replaceAll("_", " ");
  return `${name}${owner && ` of ${owner}`}${metric === "fleet_hit_rate" ? " in all processes" : ""}`;
}
