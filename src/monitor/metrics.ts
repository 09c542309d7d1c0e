/** The metrics that are exported: the one list that exporters, dashboards and alerting rules are made of. */
import { COUNTS } from "../telemetry/stats.ts";
import type { Readings } from "./monitor.ts";
import { BOUNDS, countOf, cumulative, ERROR_KINDS, HELP, type Name, snake } from "./series.ts";

/** One number of a metric. */
export interface MetricPoint {
  /** The values of the metric's labels, in their order. */
  readonly labels: readonly string[];
  /** The number. */
  readonly value: number;
}

/** One histogram of a metric, in seconds. */
export interface HistogramPoint {
  /** The values of the metric's labels, in their order. */
  readonly labels: readonly string[];
  /** How many took up to so many seconds. */
  readonly buckets: readonly (readonly [bound: number, count: number])[];
  /** How many were timed. */
  readonly count: number;
  /** How many seconds they took together. */
  readonly sum: number;
}

/** What all metrics have. */
interface Described {
  /** The name, as Prometheus knows it; that of a counter ends in `_total`. */
  readonly name: string;
  /** What it says. */
  readonly help: string;
  /** The names of its labels. None is ever a key: their values are as few as services, collections and rules. */
  readonly labels: readonly string[];
}

/** A metric. */
export type ExportedMetric =
  | (Described & { readonly type: "counter" | "gauge"; read(readings: Readings): readonly MetricPoint[] })
  | (Described & { readonly type: "histogram"; read(readings: Readings): readonly HistogramPoint[] });

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

type Read = (readings: Readings) => number | null | undefined;

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

function fleet(name: (typeof COUNTS)[number], help: string): ExportedMetric {
  return {
    name: `larder_fleet_${snake(name)}_total`,
    help: `${help}, by all processes that count together`,
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
  series("larder_lost_locks_total", "Locks lost before they were given up", "lostLocks"),
  series(
    "larder_near_invalidations_total",
    "Near entries forgotten because the store told of changes",
    "nearInvalidations",
  ),
  series("larder_invalidations_total", "Invalidations of tags, or of everything", "invalidations"),
  {
    name: "larder_failures_total",
    help: "Operations that failed, by the kind of their error",
    type: "counter",
    labels: [...SERIES, "kind"],
    read: (readings) =>
      readings.series.flatMap(({ service, collection, sample }) =>
        ERROR_KINDS.map((kind) => ({ labels: [service, collection, kind], value: countOf(sample, kind) })),
      ),
  },
  times(
    "larder_operation_duration_seconds",
    "How long operations took, loaders and near hits aside",
    "latency",
    "spent",
  ),
  times("larder_load_duration_seconds", "How long loaders took", "loads", "loadSpent"),
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
    help: "1 while the circuit breaker is open or half open, otherwise 0",
    type: "gauge",
    labels: ["driver"],
    read: ({ breakers }) =>
      [...breakers].map(([driver, state]) => ({ labels: [driver], value: state === "closed" ? 0 : 1 })),
  },
  single(
    "gauge",
    "larder_store_up",
    "1 while the store answers, otherwise 0",
    ({ store }) => store && Number(store.up),
  ),
  single("counter", "larder_store_unanswered_total", "How often the store did not answer the monitor", (readings) =>
    readings.store ? readings.unanswered : null,
  ),
  single("gauge", "larder_store_latency_seconds", "How long the store took to answer the monitor", ({ store }) =>
    store?.latency == null ? null : store.latency / 1000,
  ),
  single("gauge", "larder_store_memory_used_bytes", "Memory in use", ({ store }) => store?.memoryUsed),
  single(
    "gauge",
    "larder_store_memory_limit_bytes",
    "The limit of memory; 0 for none",
    ({ store }) => store?.memoryLimit,
  ),
  single("gauge", "larder_store_clients", "Connected clients", ({ store }) => store?.clients),
  single("counter", "larder_store_evictions_total", "Keys evicted", ({ store }) => store?.evictions),
  single("counter", "larder_store_expired_total", "Keys expired", ({ store }) => store?.expired),
  single("counter", "larder_store_slow_queries_total", "Slow queries", ({ store }) => store?.slowQueries),
  single(
    "counter",
    "larder_store_received_bytes_total",
    "Bytes received from all clients",
    ({ store }) => store?.received,
  ),
  single("counter", "larder_store_sent_bytes_total", "Bytes sent to all clients", ({ store }) => store?.sent),
  {
    name: "larder_store_keys",
    help: "Keys of a service",
    type: "gauge",
    labels: ["service"],
    read: ({ store }) => Object.entries(store?.keys ?? {}).map(([service, value]) => ({ labels: [service], value })),
  },
  ...COUNTS.map((name) => fleet(name, HELP[name])),
  {
    name: "larder_alert_firing",
    help: "1 for each alert that fires",
    type: "gauge",
    labels: ["rule", "severity", "service"],
    read: ({ alerts }) =>
      alerts.map(({ rule, severity, service = "" }) => ({ labels: [rule, severity, service], value: 1 })),
  },
];
