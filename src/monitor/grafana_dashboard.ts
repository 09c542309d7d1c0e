/** The Grafana dashboard for the exported metrics. */

/** A dashboard that Grafana can import. */
export interface GrafanaDashboard {
  /** The title. */
  readonly title: string;
  /** The panels. */
  readonly panels: readonly GrafanaPanel[];
  /** Other properties of Grafana. */
  readonly [name: string]: unknown;
}

/** One panel. */
export interface GrafanaPanel {
  /** The title. */
  readonly title: string;
  /** The queries of its lines. */
  readonly targets: readonly { readonly refId: string; readonly expr: string; readonly legendFormat: string }[];
  /** Other properties of Grafana. */
  readonly [name: string]: unknown;
}

type Unit = "percentunit" | "ops" | "s" | "bytes" | "binBps" | "short";
/** A query, and the legend of its lines. */
type Line = readonly [expr: string, legend: string];

const OWN = '{service=~"$service"}';
const by = (name: string, labels: string): string =>
  `sum by (${labels}) (rate(larder_${name}${OWN}[$__rate_interval]))`;
const rate = (name: string): string => `sum (rate(larder_${name}[$__rate_interval]))`;
const quantile = (share: number, family: string): string =>
  `histogram_quantile(${share}, ${by(`${family}_duration_seconds_bucket`, "le")})`;
const times = (family: string): Line[] =>
  ([0.5, 0.95, 0.99] as const).map((share) => [quantile(share, family), `p${share * 100}`]);

/** Title, unit and lines of each panel. An entry without a unit is the title of a row. */
const PANELS: readonly (readonly [title: string, unit?: Unit, lines?: readonly Line[]])[] = [
  ["Caches"],
  [
    "Hit rate",
    "percentunit",
    [
      [
        `${by("hits_total", "service")} / (${by("hits_total", "service")} + ${by("misses_total", "service")})`,
        "{{service}}",
      ],
    ],
  ],
  [
    "Reads",
    "ops",
    [
      [by("hits_total", "service"), "{{service}} hits"],
      [by("misses_total", "service"), "{{service}} misses"],
    ],
  ],
  [
    "Near and stale hits",
    "ops",
    [
      [by("near_hits_total", "service"), "{{service}} near"],
      [by("stale_hits_total", "service"), "{{service}} stale"],
    ],
  ],
  ["Duration of operations", "s", times("operation")],
  ["Duration of loaders", "s", times("load")],
  [
    "Loads",
    "ops",
    [
      [by("loads_total", "service, collection"), "{{service}}.{{collection}}"],
      [by("load_errors_total", "service, collection"), "{{service}}.{{collection}} failed"],
    ],
  ],
  [
    "Writes, deletes, invalidations",
    "ops",
    [
      [by("writes_total", "service"), "{{service}} writes"],
      [by("deletes_total", "service"), "{{service}} deletes"],
      [by("invalidations_total", "service"), "{{service}} invalidations"],
    ],
  ],
  ["Failures by kind", "ops", [[by("failures_total", "kind"), "{{kind}}"]]],
  ["Store"],
  ["Store up", "short", [["min by (instance) (larder_store_up)", "{{instance}}"]]],
  [
    "Memory",
    "bytes",
    [
      ["max (larder_store_memory_used_bytes)", "used"],
      ["max (larder_store_memory_limit_bytes > 0)", "limit"],
    ],
  ],
  ["Keys by service", "short", [[`max by (service) (larder_store_keys${OWN})`, "{{service}}"]]],
  [
    "Evictions, expirations, slow queries",
    "ops",
    [
      ["max (rate(larder_store_evictions_total[$__rate_interval]))", "evicted"],
      ["max (rate(larder_store_expired_total[$__rate_interval]))", "expired"],
      ["max (rate(larder_store_slow_queries_total[$__rate_interval]))", "slow queries"],
    ],
  ],
  ["Clients", "short", [["max (larder_store_clients)", "connected"]]],
  ["Store latency", "s", [["max by (instance) (larder_store_latency_seconds)", "{{instance}}"]]],
  ["Nodes of a cluster"],
  ["Nodes up", "short", [["min by (node) (larder_node_up)", "{{node}}"]]],
  [
    "Memory by node",
    "percentunit",
    [["max by (node) (larder_node_memory_used_bytes / (larder_node_memory_limit_bytes > 0))", "{{node}}"]],
  ],
  ["Commands by node", "ops", [["max by (node) (rate(larder_node_commands_total[$__rate_interval]))", "{{node}}"]]],
  ["Keys by node", "short", [["max by (node) (larder_node_keys)", "{{node}}"]]],
  ["Traffic"],
  [
    "Commands",
    "ops",
    [
      [rate("commands_total"), "commands"],
      [rate("round_trips_total"), "round trips"],
      [rate("retries_total"), "retries"],
      [rate("billed_commands_total"), "billed over REST"],
    ],
  ],
  [
    "Bytes",
    "binBps",
    [
      [rate("sent_bytes_total"), "sent"],
      [rate("received_bytes_total"), "received"],
    ],
  ],
  [
    "Circuit breakers",
    "short",
    [["max by (instance, driver, node) (larder_breaker_open)", "{{instance}} {{driver}} {{node}}"]],
  ],
  ["Firing alerts", "short", [["max by (rule, service) (larder_alert_firing)", "{{rule}} {{service}}"]]],
];

/**
 * Returns a Grafana dashboard of caches, store and traffic, with a selection of services.
 *
 * @returns The dashboard, to be written as JSON and imported. It lets you choose the Prometheus data source.
 *
 * @example
 * ```ts
 * import { grafanaDashboard } from "@foodfast/larder/monitor";
 *
 * console.log(grafanaDashboard().panels.some(({ title }) => title === "Hit rate")); // true
 * ```
 */
export function grafanaDashboard(): GrafanaDashboard {
  const datasource = { type: "prometheus", uid: "${datasource}" };
  let [x, y] = [0, 0];
  const panels = PANELS.map(([title, unit, lines = []], i): GrafanaPanel => {
    const id = i + 1;
    if (unit === undefined) {
      y += x > 0 ? 8 : 0;
      x = 0;
      return {
        id,
        type: "row",
        title,
        collapsed: false,
        gridPos: { x: 0, y: y++, w: 24, h: 1 },
        panels: [],
        targets: [],
      };
    }
    const gridPos = { x, y, w: 8, h: 8 };
    x = (x + 8) % 24;
    if (x === 0) y += 8;
    return {
      id,
      type: "timeseries",
      title,
      datasource,
      gridPos,
      fieldConfig: { defaults: { unit, min: 0, ...(unit === "percentunit" && { max: 1 }) }, overrides: [] },
      options: { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi", sort: "desc" } },
      targets: lines.map(([expr, legendFormat], n) => ({
        refId: String.fromCharCode(65 + n),
        datasource,
        expr,
        legendFormat,
      })),
    };
  });
  return {
    uid: "larder",
    title: "Larder",
    description: "Caches, their store, and the traffic between them",
    tags: ["cache", "redis"],
    schemaVersion: 39,
    editable: true,
    refresh: "30s",
    time: { from: "now-6h", to: "now" },
    templating: {
      list: [
        { name: "datasource", label: "Data source", type: "datasource", query: "prometheus" },
        {
          name: "service",
          label: "Service",
          type: "query",
          datasource,
          query: { query: "label_values(larder_hits_total, service)", refId: "service" },
          definition: "label_values(larder_hits_total, service)",
          includeAll: true,
          multi: true,
          allValue: ".*",
          current: { text: "All", value: "$__all" },
          refresh: 2,
        },
      ],
    },
    panels,
  };
}
