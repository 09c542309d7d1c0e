/// <reference lib="dom" />
/** The firing alerts, and the log of earlier ones. */
import type { Alert } from "../../monitor/mod.ts";
import { h, keyed, type Row, say } from "./dom.ts";
import { clock, duration } from "./format.ts";
import type { Live } from "./live.ts";
import { line } from "./text.ts";

/**
 * Makes the list of alerts.
 *
 * @returns The element, a function that shows new data, and one that is called every second.
 */
export function alerts(): { readonly element: HTMLElement; update(live: Live): void; tick(): void } {
  const firing = h("ul", { class: "firing" });
  const log = h("ol", { class: "log" });
  const calm = h("p", { class: "empty" });
  const earlier = h("h3", { hidden: true }, "History");
  const ticks = new Map<HTMLElement, () => void>();
  const showFiring = keyed(firing, idOf, (alert) => firingRow(alert, ticks));
  const showLog = keyed(log, (alert) => `${alert.at} ${alert.state} ${idOf(alert)}`, logRow);
  const count = h("span", { class: "aside" });
  const element = h(
    "section",
    { class: "card", id: "alerts", "aria-labelledby": "alerts-title", tabindex: -1 },
    h("header", {}, h("h2", { id: "alerts-title" }, "Alerts"), count),
    calm,
    firing,
    earlier,
    log,
  );
  return {
    element,
    update({ view, log: entries }) {
      const now = [...(view?.alerts ?? [])].sort((a, b) => RANK[b.severity] - RANK[a.severity] || b.since - a.since);
      showFiring(now);
      showLog(entries);
      say(count, now.length > 0 ? `${now.length} firing` : "");
      say(calm, !view ? "Waiting for the first sample" : now.length > 0 ? "" : "No alerts");
      calm.hidden = now.length > 0;
      calm.classList.toggle("good", view !== undefined);
      earlier.hidden = entries.length === 0;
    },
    tick() {
      for (const [row, update] of ticks) {
        if (row.isConnected) update();
        else ticks.delete(row);
      }
    },
  };
}

const RANK = { info: 0, warning: 1, critical: 2 } as const;

function idOf({ rule, service, collection, since }: Alert): string {
  return JSON.stringify([rule, service, collection, since]);
}

/** Returns the name of an alert: its rule, service and collection. */
function nameOf({ rule, service, collection }: Alert): string {
  const owner = [service, collection].filter((part) => part !== undefined).join(".");
  return line(owner ? `${rule} · ${owner}` : rule);
}

function firingRow(first: Alert, ticks: Map<HTMLElement, () => void>): Row<Alert> {
  const message = h("p", { class: "message" });
  const since = h("time", { datetime: new Date(first.since).toISOString() });
  const element = h(
    "li",
    { "data-severity": first.severity },
    h("p", { class: "title" }, h("span", { class: "pill" }, first.severity), h("strong", {}, nameOf(first)), since),
    message,
  );
  const tick = () => say(since, `since ${clock(first.since)} (${duration(Date.now() - first.since)})`);
  ticks.set(element, tick);
  tick();
  return { element, update: (alert) => say(message, line(alert.message)) };
}

function logRow(alert: Alert): Row<Alert> {
  const { at, since, state, message } = alert;
  const lasted = state === "resolved" ? ` after ${duration(at - since)}` : "";
  const element = h(
    "li",
    { "data-state": state },
    h("time", { datetime: new Date(at).toISOString() }, clock(at)),
    h("span", { class: "state" }, state === "firing" ? "fired" : "resolved"),
    h("span", {}, h("strong", {}, nameOf(alert)), h("span", { class: "message" }, `${line(message)}${lasted}`)),
  );
  return { element, update: () => {} };
}
