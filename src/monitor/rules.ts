/** Rules as data: what is watched, when it is told, and when it is over. */
import { checkNames, describe, refuse } from "../base/check.ts";
import { type Duration, parseDuration } from "../base/ttl.ts";
import { type Counted, rateOf } from "./series.ts";
import type { StoreSample } from "./store.ts";
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

/** What a rule sees: what happened in its window, and the store as it is. */
export interface Scope {
  /** What was counted in the window. */
  readonly counted: Counted;
  /** What all processes that count together read in the window. */
  readonly fleet: { readonly hits: number; readonly misses: number };
  /** The store, once it was asked. */
  readonly store: StoreSample | undefined;
  /** What the store did in the window. */
  readonly storeDone: { readonly evictions: number; readonly expired: number; readonly slowQueries: number };
  /** How often the store did not answer the monitor in the window. */
  readonly unanswered: number;
  /** Whether a circuit breaker is not closed. */
  readonly breakerOpen: boolean;
  /** The service, where it is one's. */
  readonly service: string | undefined;
}

/** How a number is found. */
export interface Metric {
  readonly unit: "share" | "count" | "ms" | "bytes" | "flag";
  /** Whether it is what happened in a window; otherwise it is how things are. */
  readonly windowed: boolean;
  /** Whether it belongs to services. */
  readonly ofServices: boolean;
  /** Whether, if it does, it belongs to collections too. @default true */
  readonly ofCollections?: false;
  /** The number, and how many operations it stands on; `undefined` where there is none. */
  read(scope: Scope): readonly [value: number | null | undefined, samples: number];
}

/** What cannot be reached: these kinds say so. */
export const AWAY = ["connection", "timeout", "auth"] as const;

const count = (read: (counted: Counted) => number): Metric => ({
  unit: "count",
  windowed: true,
  ofServices: true,
  read: ({ counted }) => [read(counted), 1],
});
const time = (of: "latency" | "loadTime", at: "p50" | "p95" | "p99" | "max"): Metric => ({
  unit: "ms",
  windowed: true,
  ofServices: true,
  read: ({ counted }) => [counted[of][at], counted[of].count],
});
const store = (unit: Metric["unit"], read: (store: StoreSample) => number | null): Metric => ({
  unit,
  windowed: false,
  ofServices: false,
  read: ({ store }) => [store && read(store), 1],
});
const storeDone = (name: "evictions" | "expired" | "slowQueries"): Metric => ({
  unit: "count",
  windowed: true,
  ofServices: false,
  read: ({ store, storeDone }) => [store?.[name] === null ? undefined : storeDone[name], 1],
});

/**
 * What rules can watch.
 *
 * Of a service or of all together, in the rule's window: `"hit_rate"` (hits among reads, 0 to 1), `"reads"`, `"errors"` (operations that failed),
 * `"load_errors"` (loaders that failed), `"corrupt"` (entries that could not be read back), `"lost_locks"`, `"connection_failures"` (operations that could
 * not reach the store; of all together also the monitor's own tries), `"latency_p50"` to `"latency_max"` (operations, loaders and near hits
 * aside) and `"load_p95"`, `"load_p99"` (loaders), in milliseconds. `"fleet_hit_rate"` is the hit rate of all processes that count together
 * (`fleetStats`), or of this one where none does; the others are of this one.
 *
 * Of a service or of all together, as it is: `"keys"`.
 *
 * Of the store in the window: `"evictions"`, `"expired"`, `"slow_queries"`.
 *
 * Of the store as it is: `"memory"` (the share of its limit that is in use, 0 to 1), `"memory_used"` (bytes), `"clients"`, `"store_up"` (1 or 0),
 * `"store_latency"` (milliseconds), `"breaker_open"` (1 or 0).
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

/** How each is found. */
export const METRICS: Readonly<Record<MetricName, Metric>> = {
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
  memory: store("share", ({ memoryUsed, memoryLimit }) =>
    memoryUsed !== null && memoryLimit ? memoryUsed / memoryLimit : null,
  ),
  memory_used: store("bytes", ({ memoryUsed }) => memoryUsed),
  clients: store("count", ({ clients }) => clients),
  store_up: store("flag", ({ up }) => (up ? 1 : 0)),
  store_latency: store("ms", ({ latency }) => latency),
  breaker_open: { unit: "flag", windowed: false, ofServices: false, read: (scope) => [scope.breakerOpen ? 1 : 0, 1] },
};

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
export interface Rule extends AlertRule {
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
export function checkRules(rules: unknown): readonly Rule[] {
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
    if (!Object.hasOwn(METRICS, metric)) bad(`metric ${describe(metric)}`, Object.keys(METRICS).join(", "));
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
    const { ofServices } = METRICS[metric];
    if (service !== undefined && !ofServices) bad("the service", `none: ${metric} is the store's`);
    if (collection !== undefined && (service === undefined || service === "*")) {
      bad("the collection", "one of a named service");
    }
    if (collection !== undefined && METRICS[metric].ofCollections === false) {
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

/** What is known of a rule, for one service where it watches each. */
interface State {
  /** Since when the number is beyond the threshold. */
  beyond: number | undefined;
  /** Since when it fires. */
  since: number | undefined;
  alert: Alert | undefined;
}

/** Judges rules again and again: tells when one begins to fire, and when that is over, each once. */
export class Judge {
  readonly #rules: readonly Rule[];
  readonly #states = new Map<string, State>();

  /** @param rules The rules, checked. */
  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
  }

  /** What fires. */
  get firing(): Alert[] {
    return [...this.#states.values()].flatMap(({ alert }) => alert ?? []);
  }

  /**
   * Judges all rules.
   *
   * @param now The time in milliseconds.
   * @param services The services, for rules that watch each.
   * @param scopeOf What a rule sees.
   * @returns What begins or is over.
   */
  judge(
    now: number,
    services: readonly string[],
    scopeOf: (rule: Rule, service: string | undefined) => Scope,
  ): readonly Alert[] {
    const told: Alert[] = [];
    for (const rule of this.#rules) {
      for (const service of rule.service === "*" ? services : [rule.service]) {
        const id = `${rule.name}\n${service ?? ""}`;
        let state = this.#states.get(id);
        if (!state) {
          state = { beyond: undefined, since: undefined, alert: undefined };
          this.#states.set(id, state);
        }
        const alert = step(rule, service, state, scopeOf(rule, service), now);
        if (alert) told.push(alert);
      }
    }
    return told;
  }
}

function step(rule: Rule, service: string | undefined, state: State, scope: Scope, now: number): Alert | undefined {
  const { high, threshold, back, minSamples = 1, hold } = rule;
  const metric = METRICS[rule.metric];
  const [value, samples] = metric.read(scope);
  const known = value !== undefined && value !== null && samples > 0;
  const alert = (told: Alert["state"], number: number, since: number): Alert => ({
    rule: rule.name,
    state: told,
    severity: rule.severity ?? "warning",
    metric: rule.metric,
    ...(service !== undefined && { service }),
    ...(rule.collection !== undefined && { collection: rule.collection }),
    value: number,
    threshold,
    since,
    at: now,
    message: sentence(rule, service, told, known ? number : undefined),
  });
  if (state.alert && state.since !== undefined) {
    // What rests says nothing of how it would do. How a store was that is away is still the last that is known of it.
    const rests = !known && (metric.windowed || scope.store?.up === true);
    if (!rests && !(known && (high ? value <= back : value >= back))) {
      if (known) state.alert = { ...state.alert, value, message: sentence(rule, service, "firing", value) };
      return undefined;
    }
    const over = alert("resolved", known ? value : state.alert.value, state.since);
    state.alert = state.since = state.beyond = undefined;
    return over;
  }
  if (!known || samples < minSamples || !(high ? value > threshold : value < threshold)) {
    state.beyond = undefined;
    return undefined;
  }
  state.beyond ??= now;
  if (now - state.beyond < hold) return undefined;
  state.since = now;
  state.alert = alert("firing", value, now);
  return state.alert;
}

function sentence(rule: Rule, service: string | undefined, state: Alert["state"], value: number | undefined): string {
  const { unit, windowed } = METRICS[rule.metric];
  const of = [service, rule.collection].filter(Boolean).join(".");
  const what = `${rule.metric.replaceAll("_", " ")}${of && ` of ${of}`}`;
  const over = windowed ? ` in ${rule.over ?? "5m"}` : "";
  if (value === undefined) return `${what}: nothing to go by any more${over}`;
  const than = `${state === "firing" ? "" : "no more "}${rule.high ? "above" : "below"}`;
  return `${what}: ${shown(value, unit)}${over}, ${than} ${shown(rule.threshold, unit)}`;
}

function shown(value: number, unit: Metric["unit"]): string {
  if (unit === "share") return `${(value * 100).toFixed(1)} %`;
  if (unit === "bytes") return `${(value / 2 ** 20).toFixed(1)} MiB`;
  return `${Number(value.toPrecision(4))}${unit === "ms" ? " ms" : ""}`;
}
