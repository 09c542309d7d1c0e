/** Alerting rules for Prometheus: the query for each metric that rules can watch. */

import { describe } from "../base/check.ts";
import type { Duration } from "../base/ttl.ts";
import { AWAY, describeMetric, formatMetric, type MetricName, RULE_METRICS, type RuleMetric } from "./rule_metrics.ts";
import { type AlertRule, type CheckedRule, checkRules, DEFAULT_RULES } from "./rules.ts";

/** A file of alerting rules for Prometheus, to be written as YAML or JSON. */
export interface AlertingRules {
  /** The groups of rules. */
  readonly groups: readonly {
    /** The name of the group. */
    readonly name: string;
    /** Its rules. */
    readonly rules: readonly AlertingRule[];
  }[];
}

/** One alerting rule. */
export interface AlertingRule {
  /** The alert's name. */
  readonly alert: string;
  /** The condition, in PromQL. */
  readonly expr: string;
  /** The time that the condition must hold. */
  readonly for?: string;
  /** The labels of the alert. */
  readonly labels: Readonly<Record<string, string>>;
  /** The texts for people. */
  readonly annotations: Readonly<Record<string, string>>;
}

/**
 * Turns the rules of a monitor into alerting rules for Prometheus. They watch all processes that Prometheus scrapes,
 * whereas a monitor watches its own process. `clear` is left out, because Prometheus has no hysteresis.
 *
 * @param rules The rules. @default DEFAULT_RULES
 * @returns The alerting rules, to be written to a file.
 * @throws {TypeError | RangeError} For a bad rule.
 *
 * @example
 * ```ts
 * import { alertingRules } from "@foodfast/larder/monitor";
 *
 * const { groups } = alertingRules([{ name: "slow carts", metric: "latency_p99", above: 50, service: "order" }]);
 * console.log(groups[0]?.rules[0]?.alert); // "LarderSlowCarts"
 * ```
 */
export function alertingRules(rules: readonly AlertRule[] = DEFAULT_RULES): AlertingRules {
  return { groups: [{ name: "larder", rules: checkRules(rules).map(alerting) }] };
}

function alerting(rule: CheckedRule): AlertingRule {
  const { name, metric, high, threshold, minSamples = 1, hold, severity = "warning", service, collection } = rule;
  const { unit, windowed } = RULE_METRICS[metric];
  const { value, samples } = query(rule);
  const beyond = `${value} ${high ? ">" : "<"} ${unit === "ms" ? threshold / 1000 : threshold}`;
  const expr = samples && minSamples > 1 ? `(${beyond}) and (${samples} >= ${minSamples})` : beyond;
  const owner = [service === "*" ? "{{ $labels.service }}" : service, collection].filter(Boolean).join(".");
  const span = windowed ? ` in the last ${duration(rule.window)}` : "";
  const limit = `${high ? "above" : "below"} ${formatMetric(threshold, unit)}`;
  return {
    alert: `Larder${name.replace(/(?:^|[^A-Za-z0-9]+)([A-Za-z0-9]?)/g, (_, letter: string) => letter.toUpperCase())}`,
    expr,
    ...(hold > 0 && { for: duration(hold) }),
    labels: { severity },
    annotations: {
      summary: owner ? `${name} of ${owner}` : name,
      description: `${describeMetric(metric, owner)}: ${TEMPLATES[unit]}${span}, ${limit}`,
    },
  };
}

/** The templates that show the value of an alert, by the metric's unit. Times are seconds in Prometheus. */
const TEMPLATES: Readonly<Record<RuleMetric["unit"], string>> = {
  share: "{{ $value | humanizePercentage }}",
  bytes: "{{ $value | humanize1024 }}B",
  ms: "{{ $value | humanizeDuration }}",
  count: "{{ $value | humanize }}",
  flag: "{{ $value }}",
};

interface Query {
  readonly value: string;
  /** The number of operations that the value is computed from. */
  readonly samples?: string;
}

/** Returns the query for a rule's metric. */
function query(rule: CheckedRule): Query {
  const { metric, service, collection, window } = rule;
  const own = service === undefined || service === "*" ? [] : [`service="${text(service)}"`];
  const labels = collection === undefined ? own : [...own, `collection="${text(collection)}"`];
  const each = service === "*" ? " by (service)" : "";
  const over = `[${duration(window)}]`;
  const selector = (more: readonly string[] = []): string => {
    const all = [...labels, ...more];
    return all.length > 0 ? `{${all.join(",")}}` : "";
  };
  const increase = (name: string, more?: readonly string[]): string =>
    `sum${each} (increase(larder_${name}${selector(more)}${over}))`;
  const counter = (name: string): Query => ({ value: increase(`${name}_total`) });
  const store = (name: string): Query => ({ value: `max (larder_${name})` });
  const storeDone = (name: string): Query => ({ value: `max (increase(larder_store_${name}_total${over}))` });
  // The sum of a cluster would hide a node that is full.
  const memoryShare = (of: "store" | "node"): string =>
    `larder_${of}_memory_used_bytes / (larder_${of}_memory_limit_bytes > 0)`;
  const quantile = (family: string, share: number): Query => ({
    value: `histogram_quantile(${share}, sum by (${each ? "le, service" : "le"}) (rate(larder_${family}_duration_seconds_bucket${selector()}${over})))`,
    samples: increase(`${family}_duration_seconds_count`),
  });
  const reads = `(${increase("hits_total")} + ${increase("misses_total")})`;
  // Every process exports the same counts and keys.
  const shared = (value: string): string =>
    each || service ? `max by (service) (${value})` : `sum (max by (service) (${value}))`;
  const fleet = (name: string): string => shared(`increase(larder_fleet_${name}_total${selector()}${over})`);
  const fleetReads = `(${fleet("hits")} + ${fleet("misses")})`;
  const queries: Readonly<Record<MetricName, () => Query>> = {
    hit_rate: () => ({ value: `${increase("hits_total")} / ${reads}`, samples: reads }),
    fleet_hit_rate: () => ({ value: `${fleet("hits")} / ${fleetReads}`, samples: fleetReads }),
    reads: () => ({ value: reads }),
    errors: () => counter("errors"),
    load_errors: () => counter("load_errors"),
    corrupt: () => counter("corrupt"),
    lost_locks: () => counter("lost_locks"),
    connection_failures: () => {
      const failures = increase("failures_total", [`kind=~"${AWAY.join("|")}"`]);
      const unanswered = `(sum (increase(larder_store_unanswered_total${over})) or vector(0))`;
      return { value: service === undefined ? `${failures} + ${unanswered}` : failures };
    },
    latency_p50: () => quantile("operation", 0.5),
    latency_p95: () => quantile("operation", 0.95),
    latency_p99: () => quantile("operation", 0.99),
    latency_max: () => quantile("operation", 1),
    load_p95: () => quantile("load", 0.95),
    load_p99: () => quantile("load", 0.99),
    keys: () => ({ value: shared(`larder_store_keys${selector()}`) }),
    evictions: () => storeDone("evictions"),
    expired: () => storeDone("expired"),
    slow_queries: () => storeDone("slow_queries"),
    memory: () => ({ value: `max (${memoryShare("store")} or ${memoryShare("node")})` }),
    memory_used: () => store("store_memory_used_bytes"),
    clients: () => store("store_clients"),
    store_up: () => ({ value: "min (larder_store_up or larder_node_up)" }),
    store_latency: () => store("store_latency_seconds"),
    breaker_open: () => store("breaker_open"),
  };
  return queries[metric]();
}

/** Formats a time for Prometheus. */
function duration(milliseconds: number): Duration & string {
  for (const [unit, length] of [
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1000],
  ] as const) {
    if (milliseconds % length === 0) return `${milliseconds / length}${unit}`;
  }
  return `${milliseconds}ms`;
}

function text(value: string): string {
  return describe(value).slice(1, -1);
}
