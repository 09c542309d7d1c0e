/** Rules as data: what is watched, when it is told, and when it is over. */
import { checkNames, describe, refuse } from "../base/check.ts";
import { type Duration, parseDuration } from "../base/ttl.ts";
import { type MetricName, RULE_METRICS } from "./rule_metrics.ts";
import { HIT_RATE, MEMORY } from "./targets.ts";

/** How much an alert matters. */
export type Severity = "info" | "warning" | "critical";

/** A rule: a number that is watched. */
export interface AlertRule {
  /** The name, such as `"low hit rate"`; told apart by it. */
  readonly name: string;
  /** What is watched. */
  readonly metric: MetricName;
  /** The window, for what happens in time. @default "5m" */
  readonly over?: Duration;
  /** Fires above this. One of `above` and `below` is given. Shares are 0 to 1, times are milliseconds. */
  readonly above?: number;
  /** Fires below this. */
  readonly below?: number;
  /** From how many operations in the window on it says something: reads for the hit rate, operations for their times. @default 1 */
  readonly minSamples?: number;
  /** For how long it must hold before it fires. @default at once */
  readonly for?: Duration;
  /** Resolved when the number is back at this, or beyond it: away from the threshold, so that it does not flap. @default the threshold */
  readonly clear?: number;
  /** How much it matters. @default "warning" */
  readonly severity?: Severity;
  /** One service's numbers, or with `"*"` each one's. @default those of all together */
  readonly service?: string;
  /** One collection's numbers, of a named service. */
  readonly collection?: string;
}

/** An alert: a rule that fires, or is resolved. */
export interface Alert {
  /** The rule's name. */
  readonly rule: string;
  /** Whether it begins or is over. */
  readonly state: "firing" | "resolved";
  /** How much it matters. */
  readonly severity: Severity;
  /** What is watched. */
  readonly metric: MetricName;
  /** Whose number it is, where it is one service's. */
  readonly service?: string;
  /** And one collection's. */
  readonly collection?: string;
  /** The number: as it is told, among those that fire as it is now; the last known one where there is none any more. */
  readonly value: number;
  /** What it was held against. */
  readonly threshold: number;
  /** Since when it fires, in milliseconds since 1970. */
  readonly since: number;
  /** When it was told. */
  readonly at: number;
  /** All of this in a sentence. */
  readonly message: string;
}

/** What is watched unless other rules are given: hit rate below 70 %, memory above 80 %, connection failures, slow queries. */
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

/** {@linkcode DEFAULT_RULES} for a process that only looks on, such as the dashboard: the hit rate is that of all processes that count together. */
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

/** A rule, checked, with its defaults, times in milliseconds. */
export interface CheckedRule extends AlertRule {
  /** The window. */
  readonly window: number;
  /** For how long it must hold. */
  readonly hold: number;
  /** What the number is held against. */
  readonly threshold: number;
  /** Whether it fires above the threshold. */
  readonly high: boolean;
  /** What it is resolved at. */
  readonly back: number;
}

/** Checks rules. @throws {TypeError | RangeError} For a bad one, by its name. */
export function checkRules(rules: unknown): readonly CheckedRule[] {
  if (!Array.isArray(rules)) refuse(`rules ${describe(rules)}`, "lists of rules");
  const names = new Set<string>();
  return (rules as readonly AlertRule[]).map((rule) => {
    checkNames(rule, RULE, "a rule");
    const { name, metric, over = "5m", above, below, minSamples = 1, for: hold, clear } = rule;
    const { severity = "warning", service, collection } = rule;
    const bad = (what: string, accepted: string): never => refuse(`${what} of the rule ${describe(name)}`, accepted);
    if (typeof name !== "string" || name === "") refuse(`the rule ${describe(name)}`, "names that are not empty");
    if (names.has(name)) bad("the name", "names of which each is another");
    names.add(name);
    if (!Object.hasOwn(RULE_METRICS, metric)) bad(`metric ${describe(metric)}`, Object.keys(RULE_METRICS).join(", "));
    const high = above !== undefined;
    const threshold = above ?? below;
    if (high === (below !== undefined) || !Number.isFinite(threshold)) bad("the threshold", "above or below, a number");
    const limit = threshold as number;
    const back = clear ?? limit;
    if (!Number.isFinite(back) || (high ? back > limit : back < limit)) {
      bad(`clear ${describe(clear)}`, `numbers ${high ? "up to" : "from"} ${limit}${high ? "" : " on"}`);
    }
    if (!(Number.isFinite(minSamples) && minSamples >= 0)) {
      bad(`minSamples ${describe(minSamples)}`, "numbers from 0 on");
    }
    if (!SEVERITIES.includes(severity)) bad(`severity ${describe(severity)}`, SEVERITIES.join(", "));
    if (service !== undefined && typeof service !== "string") bad("the service", 'a name, or "*" for each');
    const { ofServices } = RULE_METRICS[metric];
    if (service !== undefined && !ofServices) bad("the service", `none: ${metric} is the store's`);
    if (collection !== undefined && (service === undefined || service === "*")) {
      bad("the collection", "one of a named service");
    }
    if (collection !== undefined && RULE_METRICS[metric].ofCollections === false) {
      bad("the collection", `none: ${metric} is a service's`);
    }
    const window = parseDuration(over, `over of the rule ${name}`);
    if (window === undefined) bad('over "forever"', "windows that end");
    const held = hold === undefined ? 0 : parseDuration(hold, `for of the rule ${name}`);
    if (held === undefined) bad('for "forever"', "times that end");
    return {
      ...rule,
      severity,
      minSamples,
      window: window as number,
      hold: held as number,
      threshold: limit,
      high,
      back,
    };
  });
}
