/** Alert rules: what is watched, when an alert fires, and when it is resolved. */
import { checkNames, describe, invalid } from "../base/check.ts";
import { type Duration, parseDuration } from "../base/ttl.ts";
import { type MetricName, RULE_METRICS } from "./rule_metrics.ts";
import { HIT_RATE, MEMORY } from "./targets.ts";

/** The importance of an alert. */
export type Severity = "info" | "warning" | "critical";

/** A rule: a metric, and the threshold at which an alert fires. */
export interface AlertRule {
  /** The name, such as `"low hit rate"`. No two rules have the same. */
  readonly name: string;
  /** The metric that is watched. */
  readonly metric: MetricName;
  /** The window of metrics that count what happened. @default "5m" */
  readonly over?: Duration;
  /** Fires above this value. Give either `above` or `below`. Shares are 0 to 1, times are milliseconds. */
  readonly above?: number;
  /** Fires below this value. */
  readonly below?: number;
  /**
   * The minimum number of operations in the window: reads for a hit rate, timed operations for a latency. @default 1
   */
  readonly minSamples?: number;
  /** The time that the value must stay beyond the threshold before the alert fires. @default at once */
  readonly for?: Duration;
  /**
   * The value at which the alert is resolved. At some distance from the threshold, it
   * keeps an alert from firing repeatedly.
   * @default the threshold
   */
  readonly clear?: number;
  /** The importance. @default "warning" */
  readonly severity?: Severity;
  /** The service that is watched, or `"*"` for each service separately. @default all services together */
  readonly service?: string;
  /** The collection that is watched; `service` names its service. */
  readonly collection?: string;
}

/** An alert: a rule that fires, or is resolved. */
export interface Alert {
  /** The rule's name. */
  readonly rule: string;
  /** `"firing"` when it begins, `"resolved"` when it is over. */
  readonly state: "firing" | "resolved";
  /** The importance. */
  readonly severity: Severity;
  /** The metric. */
  readonly metric: MetricName;
  /** The service, if the rule watches one. */
  readonly service?: string;
  /** The collection, if the rule watches one. */
  readonly collection?: string;
  /** The node of a cluster, if the metric is judged for each. */
  readonly node?: string;
  /** The metric's value when the alert was emitted; in the list of firing alerts, its current or last known value. */
  readonly value: number;
  /** The threshold. */
  readonly threshold: number;
  /** The time at which it began to fire, in milliseconds since 1970. */
  readonly since: number;
  /** The time at which it was emitted. */
  readonly at: number;
  /** The alert as a sentence. */
  readonly message: string;
}

/** The default rules: hit rate below 70 %, memory above 80 %, connection failures, slow queries. */
export const DEFAULT_RULES: readonly AlertRule[] = [
  { name: "low hit rate", metric: "hit_rate", below: HIT_RATE, clear: 0.72, over: "5m", minSamples: 100, service: "*" },
  { name: "memory", metric: "memory", above: MEMORY, clear: 0.75, severity: "critical" },
  {
    name: "connection failures",
    metric: "connection_failures",
    above: 2,
    clear: 0,
    over: "1m",
    severity: "critical",
  },
  { name: "slow queries", metric: "slow_queries", above: 0, over: "5m" },
];

/**
 * {@linkcode DEFAULT_RULES} for a process that only watches, such as the dashboard: the hit rate is that of all
 * processes with `fleetStats`.
 */
export const FLEET_RULES: readonly AlertRule[] = DEFAULT_RULES.map((rule) =>
  rule.metric === "hit_rate" ? { ...rule, metric: "fleet_hit_rate" } : rule,
);

const SEVERITIES = ["info", "warning", "critical"];
const RULE = [
  "name",
  "metric",
  "over",
  "above",
  "below",
  "minSamples",
  "for",
  "clear",
  "severity",
  "service",
  "collection",
];

/** A rule that was checked: with its defaults, times in milliseconds. */
export interface CheckedRule extends AlertRule {
  /** The window. */
  readonly window: number;
  /** The time that the value must stay beyond the threshold. */
  readonly hold: number;
  /** The threshold. */
  readonly threshold: number;
  /** True if it fires above the threshold, false if below. */
  readonly high: boolean;
  /** The value at which it is resolved. */
  readonly back: number;
}

/** Checks rules. @throws {TypeError | RangeError} For a bad rule; the message says its name. */
export function checkRules(rules: unknown): readonly CheckedRule[] {
  if (!Array.isArray(rules)) throw invalid("set rules", rules, "a list of rules");
  const names = new Set<string>();
  return (rules as readonly AlertRule[]).map((rule) => {
    const checked = checkRule(rule);
    if (names.has(rule.name)) throw invalid("add a rule", rule.name, "a name that no other rule has");
    names.add(rule.name);
    return checked;
  });
}

function checkRule(rule: AlertRule): CheckedRule {
  checkNames(rule, RULE, "a rule");
  const { name, metric, over = "5m", above, below, minSamples = 1, for: hold, clear } = rule;
  const { severity = "warning", service, collection } = rule;
  if (typeof name !== "string" || name === "") throw invalid("name a rule", name, "a string that is not empty");
  const check = (ok: boolean, option: string, value: unknown, expected: string): void => {
    if (!ok) throw invalid(`set ${option} of the rule ${describe(name)}`, value, expected);
  };
  check(Object.hasOwn(RULE_METRICS, metric), "metric", metric, `one of ${Object.keys(RULE_METRICS).join(", ")}`);
  const high = above !== undefined;
  const threshold = (above ?? below) as number;
  const isOne = high !== (below !== undefined);
  check(isOne && Number.isFinite(threshold), "the threshold", threshold, "either above or below, a number");
  const back = clear ?? threshold;
  const isBack = Number.isFinite(back) && (high ? back <= threshold : back >= threshold);
  check(isBack, "clear", clear, `a number of at ${high ? "most" : "least"} ${threshold}`);
  check(Number.isFinite(minSamples) && minSamples >= 0, "minSamples", minSamples, "a number of at least 0");
  check(SEVERITIES.includes(severity), "severity", severity, `one of ${SEVERITIES.join(", ")}`);
  check(service === undefined || typeof service === "string", "service", service, 'a name, or "*" for each service');
  const { ofServices, ofCollections = true } = RULE_METRICS[metric];
  check(service === undefined || ofServices, "service", service, `none, because ${metric} belongs to the store`);
  const isNamed = collection === undefined || (service !== undefined && service !== "*");
  check(isNamed, "collection", collection, "a collection of a service that is named");
  const fits = collection === undefined || ofCollections;
  check(fits, "collection", collection, `none, because ${metric} belongs to services`);
  const window = parseDuration(over, `over of the rule ${name}`);
  check(window !== undefined, "over", over, 'a time that ends, such as "5m"');
  const held = hold === undefined ? 0 : parseDuration(hold, `for of the rule ${name}`);
  check(held !== undefined, "for", hold, 'a time that ends, such as "5m"');
  return {
    ...rule,
    severity,
    minSamples,
    window: window as number,
    hold: held as number,
    threshold,
    high,
    back,
  };
}
