/**
 * Monitors the caches of a client: counts in sliding windows, the state of the store, alert rules, and metrics for
 * Prometheus. It reads counters that the client keeps anyway, so a hit costs nothing more. OpenTelemetry has an entry
 * of its own, `@foodfast/larder/monitor/opentelemetry`.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 * import { monitor } from "@foodfast/larder/monitor";
 *
 * await using client = createCacheClient({ driver: "memory" });
 * await using watch = monitor(client, { logger: console });
 * watch.subscribe((event) => event.type === "alert" && console.log(event.alert.message));
 * await client.service("product").products.set(1, { id: 1, name: "Pho" });
 * await client.service("product").products.get(1);
 * console.log(watch.snapshot().instance.all.windows["1m"]?.hitRate); // 1
 * ```
 *
 * @module
 */

export type { WebRequest, WebResponse } from "../base/web_types.ts";
export type { BreakerState, Sending } from "../telemetry/events.ts";
export type { LiveCounters } from "../telemetry/stats.ts";
export type { BatchStats } from "../wire/batch.ts";
export { type AlertingRule, type AlertingRules, alertingRules } from "./alerting_rules.ts";
export type { FleetCounts, FleetTimes } from "./fleet_counts.ts";
export type { BatchCounts } from "./frames.ts";
export { type GrafanaDashboard, type GrafanaPanel, grafanaDashboard } from "./grafana_dashboard.ts";
export { type MetricsHandlerOptions, metricsHandler } from "./metrics_handler.ts";
export {
  Monitor,
  type MonitorEvent,
  type MonitoredClient,
  type MonitorOptions,
  type MonitorReadings,
  monitor,
} from "./monitor.ts";
export { type MetricsFormat, prometheus } from "./prometheus.ts";
export type { MetricName } from "./rule_metrics.ts";
export { type Alert, type AlertRule, DEFAULT_RULES, FLEET_RULES, type Severity } from "./rules.ts";
export type { Counted, Sample, Times } from "./series.ts";
export type {
  FleetSnapshot,
  FleetWindow,
  MonitorSnapshot,
  SeriesSnapshot,
  ServiceSnapshot,
  Windowed,
} from "./snapshot.ts";
export type { SlowQuery, StoreSample } from "./store_watch.ts";
export type { WebhookOptions } from "./webhook.ts";
