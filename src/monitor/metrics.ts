/** The exported metrics: the one list for exporters, the Grafana dashboard and alerting rules. */
import type { NodeNumbers } from "../manager/nodes.ts";
import { COUNTS } from "../telemetry/stats.ts";
import type { MonitorReadings } from "./monitor.ts";
import { BOUNDS, countOf, cumulative, ERROR_KINDS, HELP, type Name, snake } from "./series.ts";

/** One number of a metric. */
export interface MetricPoint {
  /** The values of the labels, in the metric's order. */
  readonly labels: readonly string[];
  /** The number. */
  readonly value: number;
}

/** One histogram of a metric, in seconds. */
export interface HistogramPoint {
  /** The values of the labels, in the metric's order. */
  readonly labels: readonly string[];
  /** The number of operations that took at most so many seconds, by bound. */
  readonly buckets: readonly (readonly [bound: number, count: number])[];
  /** The number of operations. */
  readonly count: number;
  /** The sum of their times, in seconds. */
  readonly sum: number;
}

/** The description of a metric. */
interface Described {
  /** The name in Prometheus; that of a counter ends in `_total`. */
  readonly name: string;
  /** The help text. */
  readonly help: string;
  /** The names of its labels. Their values are few: services, collections and rules, but no keys. */
  readonly labels: readonly string[];
}

/** An exported metric. */
export type ExportedMetric =
  | (Described & { readonly type: "counter" | "gauge"; read(readings: MonitorReadings): readonly MetricPoint[] })
  | (Described & { readonly type: "histogram"; read(readings: MonitorReadings): readonly HistogramPoint[] });

const SERIES = ["service", "collection"];

function series(name: string, help: string, of: Name): ExportedMetric {
  return {
    name,
    help,
    type: "counter",
    labels: SERIES,
    read: (readings) =>
      readings.series.map(({ service, collection, sample }) => ({
        labels: [service, collection],
        value: countOf(sample, of),
      })),
  };
}

function times(name: string, help: string, of: "latency" | "loads", sum: Name): ExportedMetric {
  return {
    name,
    help,
    type: "histogram",
    labels: SERIES,
    read: (readings) =>
      readings.series.map(({ service, collection, sample }) => {
        const { counts, count } = cumulative(sample[of]);
        const buckets = BOUNDS.map((bound, i) => [bound / 1e6, counts[i] as number] as const);
        return { labels: [service, collection], buckets, count, sum: countOf(sample, sum) / 1000 };
      }),
  };
}

type Read = (readings: MonitorReadings) => number | null | undefined;

function single(type: "counter" | "gauge", name: string, help: string, read: Read): ExportedMetric {
  return {
    name,
    help,
    type,
    labels: [],
    read: (readings) => {
      const value = read(readings);
      return value === null || value === undefined ? [] : [{ labels: [], value }];
    },
  };
}

/** A number of each node of a cluster. The metrics of the store are their sums. */
function node(
  type: "counter" | "gauge",
  name: string,
  help: string,
  read: (node: NodeNumbers) => number | null,
): ExportedMetric {
  return {
    name: `larder_node_${name}`,
    help: `${help}, by node of a cluster`,
    type,
    labels: ["node"],
    read: ({ store }) =>
      (store?.nodes ?? []).flatMap((numbers) => {
        const value = read(numbers);
        return value === null ? [] : [{ labels: [numbers.node], value }];
      }),
  };
}

function fleet(name: (typeof COUNTS)[number], help: string): ExportedMetric {
  return {
    name: `larder_fleet_${snake(name)}_total`,
    help: `${help}, by all processes with fleetStats`,
    type: "counter",
    labels: ["service"],
    read: (readings) =>
      Object.entries(readings.fleet).map(([service, counts]) => ({ labels: [service], value: counts[name] })),
  };
}

/** All metrics. */
export const METRICS: readonly ExportedMetric[] = [
  ...COUNTS.map((name) => series(`larder_${snake(name)}_total`, HELP[name], name)),
  series("larder_load_errors_total", "Loaders that failed or took too long", "loadErrors"),
  series("larder_lock_waits_total", "Loads that waited for another process", "lockWaits"),
  series("larder_lost_locks_total", "Locks that expired before they were released", "lostLocks"),
  series(
    "larder_near_invalidations_total",
    "Near entries dropped because the store reported changes",
    "nearInvalidations",
  ),
  series("larder_invalidations_total", "Invalidations of tags, or of everything", "invalidations"),
  {
    name: "larder_failures_total",
    help: "Operations that failed, by kind of error",
    type: "counter",
    labels: [...SERIES, "kind"],
    read: (readings) =>
      readings.series.flatMap(({ service, collection, sample }) =>
        ERROR_KINDS.map((kind) => ({ labels: [service, collection, kind], value: countOf(sample, kind) })),
      ),
  },
  times("larder_operation_duration_seconds", "Times of operations, without loaders and near hits", "latency", "spent"),
  times("larder_load_duration_seconds", "Times of loaders", "loads", "loadSpent"),
  single("counter", "larder_commands_total", "Commands sent", ({ wire }) => wire.commands),
  single("counter", "larder_round_trips_total", "Pipelines or requests sent", ({ wire }) => wire.roundTrips),
  single("counter", "larder_retries_total", "Commands sent again", ({ wire }) => wire.retries),
  single("counter", "larder_sent_bytes_total", "Bytes of commands, estimated", ({ wire }) => wire.sent),
  single("counter", "larder_received_bytes_total", "Bytes of replies, estimated", ({ wire }) => wire.received),
  single("counter", "larder_billed_commands_total", "Commands billed over REST, estimated", ({ driver, wire }) =>
    driver === "upstash" ? wire.commands : null,
  ),
  {
    name: "larder_breaker_open",
    help: "1 while the circuit breaker is open or half open, otherwise 0; on a cluster by node",
    type: "gauge",
    labels: ["driver", "node"],
    read: ({ breakers }) =>
      [...breakers].map(([name, state]) => {
        const [, driver = name, node = ""] = /^(.*) (\S+)$/.exec(name) ?? [];
        return { labels: [driver, node], value: state === "closed" ? 0 : 1 };
      }),
  },
  single(
    "gauge",
    "larder_store_up",
    "1 while the store answers, otherwise 0",
    ({ store }) => store && Number(store.up),
  ),
  single(
    "counter",
    "larder_store_unanswered_total",
    "Questions of the monitor that the store did not answer",
    (readings) => (readings.store ? readings.unanswered : null),
  ),
  single("gauge", "larder_store_latency_seconds", "Time until the store answered the monitor", ({ store }) =>
    store?.latency == null ? null : store.latency / 1000,
  ),
  single("gauge", "larder_store_memory_used_bytes", "Memory that the store uses", ({ store }) => store?.memoryUsed),
  single(
    "gauge",
    "larder_store_memory_limit_bytes",
    "Memory limit of the store; 0 for no limit",
    ({ store }) => store?.memoryLimit,
  ),
  single("gauge", "larder_store_clients", "Clients connected to the store", ({ store }) => store?.clients),
  single("counter", "larder_store_evictions_total", "Keys that the store evicted", ({ store }) => store?.evictions),
  single("counter", "larder_store_expired_total", "Keys that expired in the store", ({ store }) => store?.expired),
  single("counter", "larder_store_slow_queries_total", "Slow queries of the store", ({ store }) => store?.slowQueries),
  single(
    "counter",
    "larder_store_received_bytes_total",
    "Bytes that the store received from all clients",
    ({ store }) => store?.received,
  ),
  single(
    "counter",
    "larder_store_sent_bytes_total",
    "Bytes that the store sent to all clients",
    ({ store }) => store?.sent,
  ),
  {
    name: "larder_store_keys",
    help: "Keys of a service in the store",
    type: "gauge",
    labels: ["service"],
    read: ({ store }) => Object.entries(store?.keys ?? {}).map(([service, value]) => ({ labels: [service], value })),
  },
  node("gauge", "up", "1 while the node answers, otherwise 0", ({ up }) => Number(up)),
  node(
    "gauge",
    "latency_seconds",
    "Time until the node answered the monitor",
    ({ latency }) => latency && latency / 1000,
  ),
  node("gauge", "memory_used_bytes", "Memory that the node uses", ({ memoryUsed }) => memoryUsed),
  node("gauge", "memory_limit_bytes", "Memory limit of the node; 0 for no limit", ({ memoryLimit }) => memoryLimit),
  node("gauge", "keys", "Keys of the node", ({ keys }) => keys),
  node("gauge", "clients", "Clients connected to the node", ({ clients }) => clients),
  node("counter", "commands_total", "Commands that the node has run", ({ commands }) => commands),
  node("counter", "evictions_total", "Keys that the node evicted", ({ evictions }) => evictions),
  ...COUNTS.map((name) => fleet(name, HELP[name])),
  {
    name: "larder_alert_firing",
    help: "1 for each firing alert",
    type: "gauge",
    labels: ["rule", "severity", "service"],
    read: ({ alerts }) =>
      alerts.map(({ rule, severity, service = "" }) => ({ labels: [rule, severity, service], value: 1 })),
  },
];
