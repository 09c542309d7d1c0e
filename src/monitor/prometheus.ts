/** Metrics as text, in the formats of Prometheus and OpenMetrics. */
import { type ExportedMetric, METRICS } from "./metrics.ts";
import type { Monitor } from "./monitor.ts";

/** `"text"` is Prometheus's format 0.0.4, `"openmetrics"` is OpenMetrics 1.0.0. */
export type MetricsFormat = "text" | "openmetrics";

/**
 * Writes the metrics of a monitor as text. Labels hold services, collections, kinds of errors, drivers and rules, but
 * never keys.
 *
 * @param monitor The monitor.
 * @param format The format. @default "text"
 * @returns The text.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 * import { monitor, prometheus } from "@foodfast/larder/monitor";
 *
 * await using client = createCacheClient({ driver: "memory" });
 * await using watch = monitor(client);
 * await client.service("product").products.get(1);
 * console.log(prometheus(watch).includes('larder_misses_total{service="product",collection="products"} 1')); // true
 * ```
 */
export function prometheus(monitor: Pick<Monitor, "readings">, format: MetricsFormat = "text"): string {
  const readings = monitor.readings();
  const lines: string[] = [];
  for (const metric of METRICS) {
    const points = metric.read(readings);
    if (points.length === 0) continue;
    const { name, help, type } = metric;
    // In OpenMetrics, the name of a family does not include the _total of its counter.
    const family = format === "openmetrics" ? name.replace(/_total$/, "") : name;
    lines.push(`# HELP ${family} ${help}`, `# TYPE ${family} ${type}`);
    for (const point of points) {
      const labels = pairs(metric, point.labels);
      if ("value" in point) {
        lines.push(`${name}${braced(labels)} ${point.value}`);
        continue;
      }
      const { buckets, count, sum } = point;
      for (const [bound, below] of buckets)
        lines.push(`${name}_bucket${braced([...labels, `le="${bound}"`])} ${below}`);
      lines.push(`${name}_bucket${braced([...labels, 'le="+Inf"'])} ${count}`);
      lines.push(`${name}_sum${braced(labels)} ${sum}`, `${name}_count${braced(labels)} ${count}`);
    }
  }
  if (format === "openmetrics") lines.push("# EOF");
  return `${lines.join("\n")}\n`;
}

function pairs({ labels }: ExportedMetric, values: readonly string[]): string[] {
  return labels.map((label, i) => `${label}="${escaped(values[i] ?? "")}"`);
}

function braced(labels: readonly string[]): string {
  return labels.length > 0 ? `{${labels.join(",")}}` : "";
}

function escaped(value: string): string {
  return value.replace(/[\\"\n]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`));
}
