/** Judges rules, and remembers which alerts fire. */
import { describeMetric, formatMetric, RULE_METRICS, type Scope } from "./rule_metrics.ts";
import type { Alert, CheckedRule } from "./rules.ts";

/** The state of a rule, for one service if it watches each. */
interface State {
  /** The time since when the value is beyond the threshold. */
  beyond: number | undefined;
  /** The time since when the alert fires. */
  since: number | undefined;
  alert: Alert | undefined;
}

/** Judges rules with each sample. Each alert is reported twice: when it begins to fire, and when it is resolved. */
export class Judge {
  readonly #rules: readonly CheckedRule[];
  readonly #states = new Map<string, State>();

  /** @param rules The rules. */
  constructor(rules: readonly CheckedRule[]) {
    this.#rules = rules;
  }

  /** The firing alerts. */
  get firing(): Alert[] {
    return [...this.#states.values()].flatMap(({ alert }) => alert ?? []);
  }

  /**
   * Judges all rules.
   *
   * @param now The time in milliseconds.
   * @param services The services, for rules that watch each.
   * @param scopeOf Returns the numbers that a rule's metric is read from.
   * @returns The alerts that began to fire or were resolved.
   */
  judge(
    now: number,
    services: readonly string[],
    scopeOf: (rule: CheckedRule, service: string | undefined) => Scope,
  ): readonly Alert[] {
    const changed: Alert[] = [];
    for (const rule of this.#rules) {
      for (const service of rule.service === "*" ? services : [rule.service]) {
        const id = `${rule.name}\n${service ?? ""}`;
        let state = this.#states.get(id);
        if (!state) {
          state = { beyond: undefined, since: undefined, alert: undefined };
          this.#states.set(id, state);
        }
        const alert = step(rule, service, state, scopeOf(rule, service), now);
        if (alert) changed.push(alert);
      }
    }
    return changed;
  }
}

function step(
  rule: CheckedRule,
  service: string | undefined,
  state: State,
  scope: Scope,
  now: number,
): Alert | undefined {
  const { high, threshold, back, minSamples = 1, hold } = rule;
  const metric = RULE_METRICS[rule.metric];
  const [value, samples] = metric.read(scope);
  const known = value !== undefined && value !== null && samples > 0;
  const alert = (to: Alert["state"], number: number, since: number): Alert => ({
    rule: rule.name,
    state: to,
    severity: rule.severity ?? "warning",
    metric: rule.metric,
    ...(service !== undefined && { service }),
    ...(rule.collection !== undefined && { collection: rule.collection }),
    value: number,
    threshold,
    since,
    at: now,
    message: sentence(rule, service, to, known ? number : undefined),
  });
  if (state.alert && state.since !== undefined) {
    // An alert ends when its metric has no data any more. A store that is away keeps its last known values.
    const idle = !known && (metric.windowed || scope.store?.up === true);
    if (!idle && !(known && (high ? value <= back : value >= back))) {
      if (known) state.alert = { ...state.alert, value, message: sentence(rule, service, "firing", value) };
      return undefined;
    }
    const resolved = alert("resolved", known ? value : state.alert.value, state.since);
    state.alert = state.since = state.beyond = undefined;
    return resolved;
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

/** Returns an alert as a sentence: `hit rate of product: 61.2 % in the last 5m, below 70.0 %`. */
function sentence(
  rule: CheckedRule,
  service: string | undefined,
  state: Alert["state"],
  value: number | undefined,
): string {
  const { unit, windowed } = RULE_METRICS[rule.metric];
  const name = describeMetric(rule.metric, [service, rule.collection].filter(Boolean).join("."));
  const span = windowed ? ` in the last ${rule.over ?? "5m"}` : "";
  if (value === undefined) return `${name}: no data${span}`;
  const compared = `${state === "firing" ? "" : "no longer "}${rule.high ? "above" : "below"}`;
  return `${name}: ${formatMetric(value, unit)}${span}, ${compared} ${formatMetric(rule.threshold, unit)}`;
}
