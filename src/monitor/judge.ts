/** Judges rules, and remembers which alerts fire. */
import type { NodeNumbers } from "../manager/nodes.ts";
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
   * @param nodes The nodes of a cluster, for metrics of nodes; none for one server.
   * @param scopeOf Returns the numbers that a rule's metric is read from.
   * @returns The alerts that began to fire or were resolved.
   */
  judge(
    now: number,
    services: readonly string[],
    nodes: readonly NodeNumbers[],
    scopeOf: (rule: CheckedRule, service: string | undefined) => Scope,
  ): readonly Alert[] {
    const changed: Alert[] = [];
    for (const rule of this.#rules) {
      const judge = (scope: Scope, service: string | undefined, node?: string): void => {
        const id = `${rule.name}\n${service ?? ""}\n${node ?? ""}`;
        let state = this.#states.get(id);
        if (!state) {
          state = { beyond: undefined, since: undefined, alert: undefined };
          this.#states.set(id, state);
        }
        const alert = step(rule, { service, node }, state, scope, now);
        if (alert) changed.push(alert);
      };
      if (RULE_METRICS[rule.metric].ofNodes && nodes.length > 0) {
        const scope = scopeOf(rule, undefined);
        for (const numbers of nodes) judge(scopeOfNode(scope, numbers), undefined, numbers.node);
        // An alert of a node that left the cluster ends.
        for (const { rule: name, node } of this.firing) {
          if (name !== rule.name || nodes.some((one) => one.node === node)) continue;
          judge({ ...scope, store: undefined, left: true }, undefined, node);
        }
        for (const id of this.#states.keys()) {
          const [name, , node] = id.split("\n");
          if (name === rule.name && node && !nodes.some((one) => one.node === node)) this.#states.delete(id);
        }
        continue;
      }
      for (const service of rule.service === "*" ? services : [rule.service]) judge(scopeOf(rule, service), service);
    }
    return changed;
  }
}

/** Returns a scope with the numbers of one node instead of the sums. */
function scopeOfNode(scope: Scope, { up, latency, memoryUsed, memoryLimit }: NodeNumbers): Scope {
  return { ...scope, store: scope.store && { ...scope.store, up, latency, memoryUsed, memoryLimit } };
}

/** The owner of a state. */
interface Owner {
  readonly service: string | undefined;
  readonly node: string | undefined;
}

function step(rule: CheckedRule, owner: Owner, state: State, scope: Scope, now: number): Alert | undefined {
  const { high, threshold, back, minSamples = 1, hold } = rule;
  const metric = RULE_METRICS[rule.metric];
  const [value, samples] = metric.read(scope);
  const known = value !== undefined && value !== null && samples > 0;
  const alert = (to: Alert["state"], number: number, since: number): Alert => ({
    rule: rule.name,
    state: to,
    severity: rule.severity ?? "warning",
    metric: rule.metric,
    ...(owner.service !== undefined && { service: owner.service }),
    ...(owner.node !== undefined && { node: owner.node }),
    ...(rule.collection !== undefined && { collection: rule.collection }),
    value: number,
    threshold,
    since,
    at: now,
    message: sentence(rule, owner, to, known ? number : undefined),
  });
  if (state.alert && state.since !== undefined) {
    // An alert ends when its metric has no data any more. A store that is away keeps its last known values.
    const idle = !known && (metric.windowed || scope.left || scope.store?.up === true);
    if (!idle && !(known && (high ? value <= back : value >= back))) {
      if (known) state.alert = { ...state.alert, value, message: sentence(rule, owner, "firing", value) };
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
  { service, node }: Owner,
  state: Alert["state"],
  value: number | undefined,
): string {
  const { unit, windowed } = RULE_METRICS[rule.metric];
  const name = describeMetric(rule.metric, [node, service, rule.collection].filter(Boolean).join("."));
  const span = windowed ? ` in the last ${rule.over ?? "5m"}` : "";
  if (value === undefined) return `${name}: no data${span}`;
  const compared = `${state === "firing" ? "" : "no longer "}${rule.high ? "above" : "below"}`;
  return `${name}: ${formatMetric(value, unit)}${span}, ${compared} ${formatMetric(rule.threshold, unit)}`;
}
