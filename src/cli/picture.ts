/** The picture and the line that `stats --watch` shows. */

import { formatBytes, formatCount, formatLatency, formatNumber, formatPercent } from "../base/format.ts";
import type { ServiceView, StoreView, View } from "../dashboard/messages.ts";
import type { NodeNumbers } from "../manager/mod.ts";
import type { Alert } from "../monitor/mod.ts";
import { HIT_RATE, MEMORY } from "../monitor/targets.ts";
import { harmless, table } from "./format.ts";
import type { Output, Paint } from "./output.ts";

/** A view with the names and alerts that are shown with it. */
export interface Shown {
  /** The numbers. */
  readonly view: View;
  /** The name of the store. */
  readonly name: string;
  /** The alert that was resolved last. */
  readonly resolved?: Alert | undefined;
}

/** The word for a number that is not known. */
export const UNKNOWN = "unknown";
const BAR = 20;

/**
 * Draws a view for a terminal.
 *
 * @param shown The view.
 * @param output The output, which colours text.
 * @returns The lines.
 */
export function picture({ view, name, resolved }: Shown, output: Pick<Output, "paint">): string[] {
  const { store, all, alerts } = view;
  const [bold, dim, red, green, yellow] = (["bold", "dim", "red", "green", "yellow"] as const).map((one) =>
    output.paint(one),
  ) as [Paint, Paint, Paint, Paint, Paint];
  const line = (title: string, text: string): string => `${title.padEnd(10)} ${text}`;
  const known = <T>(value: T | null | undefined, show: (value: T) => string): string =>
    value === null || value === undefined ? UNKNOWN : show(value);
  const rated = view.counted !== null && all.hitRate !== null;
  const rate = all.hitRate ?? 0;
  const share = store && shareOf(store);
  const gauge = (value: number, bad: boolean): string => {
    const full = Math.round(Math.min(1, value) * BAR);
    return (bad ? yellow : green)("█".repeat(full)) + dim("░".repeat(BAR - full));
  };
  const lines = [
    `${bold(harmless(name))}  ${store?.version ? `${store.server} ${harmless(store.version)}  ` : ""}${clock(view.at)}`,
    line("store", stateOf(store, green, red)),
    line(
      "memory",
      `${typeof share === "number" ? `${gauge(share, share > MEMORY)} ` : ""}${store ? memoryText(store) : UNKNOWN}`,
    ),
    line("evictions", `${known(store?.evictions, formatNumber)}, ${known(store?.expired, formatNumber)} expired`),
    line(
      "hit rate",
      rated ? `${gauge(rate, rate < HIT_RATE)} ${hitRate(view)}, the target is ${HIT_RATE * 100} %` : hitRate(view),
    ),
    line("latency", all.p50 === null ? UNKNOWN : `p50 ${time(all.p50)}, p95 ${time(all.p95)}, p99 ${time(all.p99)}`),
    line("breaker", `${view.breaker === "closed" ? view.breaker : red(view.breaker)}, of this command`),
    ...(alerts.length === 0 ? [line("alerts", "none")] : []),
    ...alerts.map(({ rule, severity, message, since }) => {
      const paint = severity === "critical" ? red : severity === "warning" ? yellow : dim;
      return `${paint(`! ${harmless(rule)}`)}: ${harmless(message)}, since ${clock(since)}`;
    }),
    ...(resolved ? [dim(`resolved at ${clock(resolved.at)}: ${harmless(resolved.message)}`)] : []),
    "",
    ...(view.nodes.length > 0 ? [...nodeTable(view.nodes), ""] : []),
    ...services(view),
  ];
  return lines;
}

/**
 * Draws a view in one line, for a pipe.
 *
 * @param shown The view.
 * @returns The line.
 */
export function summary({ view }: Shown): string {
  const { store, all, alerts } = view;
  return [
    new Date(view.at).toISOString(),
    `store ${stateOf(store)}`,
    `keys ${all.keys === null ? UNKNOWN : formatNumber(all.keys)}`,
    `memory ${store ? memoryText(store) : UNKNOWN}`,
    `hit rate ${hitRate(view)}`,
    `p95 ${time(all.p95)}`,
    `alerts ${alerts.map(({ rule, service }) => (service ? `${rule} (${service})` : rule)).join(", ") || "none"}`,
  ]
    .map(harmless)
    .join("  ");
}

const same: Paint = (text) => text;

function stateOf(store: StoreView | null, good: Paint = same, bad: Paint = same): string {
  if (!store) return UNKNOWN;
  if (!store.up) return `${bad("does not answer")}${store.error === null ? "" : `: ${harmless(store.error)}`}`;
  const parts = [
    `${good("answers")} in ${time(store.latency)}`,
    store.operations !== null && `${formatNumber(Math.round(store.operations))} commands/s`,
    store.clients !== null && formatCount(store.clients, "client"),
  ];
  return parts.filter(Boolean).join(", ");
}

/** The numbers of a server's memory. */
type Memory = Pick<StoreView, "memoryUsed" | "memoryLimit" | "policy">;

function shareOf({ memoryUsed: used, memoryLimit: limit }: Memory): number | null {
  return used !== null && limit ? used / limit : null;
}

/** Returns the memory in use, its limit and the eviction policy as text. */
export function memoryText(server: Memory): string {
  const { memoryUsed: used, memoryLimit: limit, policy } = server;
  if (used === null) return UNKNOWN;
  const share = shareOf(server);
  const of = share === null ? ", no limit" : ` of ${formatBytes(limit as number)} (${formatPercent(share)})`;
  return `${formatBytes(used)}${of}${policy === null ? "" : `, ${policy}`}`;
}

/** Returns a table of the nodes of a cluster. */
export function nodeTable(nodes: readonly NodeNumbers[]): string[] {
  const head = ["node", "latency", "keys", "memory", "clients", "evictions"];
  const number = (value: number | null): string => (value === null ? "-" : formatNumber(value));
  const rows = nodes.map((one) => [
    one.node,
    one.up ? time(one.latency) : "does not answer",
    ...(one.up
      ? [number(one.keys), memoryText({ ...one, policy: null }), number(one.clients), number(one.evictions)]
      : []),
  ]);
  return table(head, rows, [1, 2, 4, 5]);
}

function hitRate({ counted, all }: View): string {
  if (counted === null) return `${UNKNOWN}: no application counts (CACHE_FLEET_STATS=true)`;
  if (all.hitRate === null) return "no reads in the last minute; counts come every 10 s";
  return `${formatPercent(all.hitRate)} of ${formatCount(all.hits + all.misses, "read")} in the last minute`;
}

function services({ counted, services }: View): string[] {
  const counts = ["hit rate", "hits", "misses", "writes", "errors", "p95"];
  const head = ["service", "keys", "memory ≈", ...(counted === null ? [] : counts)];
  const rows = services.map((one: ServiceView) => [
    one.service,
    one.keys === null ? "-" : formatNumber(one.keys),
    one.memory === null ? "-" : formatBytes(one.memory),
    ...(counted === null
      ? []
      : [
          one.hitRate === null ? "-" : formatPercent(one.hitRate),
          // Keys outside any service have no counters.
          ...[one.hits, one.misses, one.writes, one.errors].map((each) => (one.unnamed ? "-" : formatNumber(each))),
          one.p95 === null ? "-" : time(one.p95),
        ]),
  ]);
  return table(head, rows, [1, 2, 3, 4, 5, 6, 7, 8]);
}

/** Returns a time in milliseconds as text, which may be unknown. */
export function time(milliseconds: number | null): string {
  return milliseconds === null ? UNKNOWN : formatLatency(milliseconds);
}

/** Returns the time of day in UTC, as in the lines for a pipe. */
function clock(at: number): string {
  return `${new Date(at).toISOString().slice(11, 19)}Z`;
}
