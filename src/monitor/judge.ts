/** Judges rules. */
import { RULE_METRICS, type RuleMetric, type Scope } from "./rule_metrics.ts";
import type { Alert, CheckedRule } from "./rules.ts";

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
  readonly #rules: readonly CheckedRule[];
  readonly #states = new Map<string, State>();

  /** @param rules The rules, checked. */
  constructor(rules: readonly CheckedRule[]) {
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
    scopeOf: (rule: CheckedRule, service: string | undefined) => Scope,
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

function sentence(
  rule: CheckedRule,
  service: string | undefined,
  state: Alert["state"],
  value: number | undefined,
): string {
  const { unit, windowed } = RULE_METRICS[rule.metric];
  const of = [service, rule.collection].filter(Boolean).join(".");
  const what = `${rule.metric.replaceAll("_", " ")}${of && ` of ${of}`}`;
  const over = windowed ? ` in ${rule.over ?? "5m"}` : "";
  if (value === undefined) return `${what}: nothing to go by any more${over}`;
  const than = `${state === "firing" ? "" : "no more "}${rule.high ? "above" : "below"}`;
  return `${what}: ${shown(value, unit)}${over}, ${than} ${shown(rule.threshold, unit)}`;
}

function shown(value: number, unit: RuleMetric["unit"]): string {
  if (unit === "share") return `${(value * 100).toFixed(1)} %`;
  if (unit === "bytes") return `${(value / 2 ** 20).toFixed(1)} MiB`;
  return `${Number(value.toPrecision(4))}${unit === "ms" ? " ms" : ""}`;
}
