/// <reference lib="dom" />
/** The table of services. */
import { HIT_RATE } from "../../monitor/targets.ts";
import type { ServiceView, View } from "../messages.ts";
import { attribute, h, keyed, type Row, say, style } from "./dom.ts";
import { bytes, grouped, NONE, percent, took } from "./format.ts";
import { hashOf, type Owner } from "./route.ts";
import { line } from "./text.ts";

/** Returns the owner of a service's keys. */
export function ownerOf({ service, database, unnamed }: ServiceView): Owner {
  return unnamed ? { database: String(database) } : { service };
}

/** The columns after the name, with the width of the screen from which they are shown. */
const COLUMNS: readonly (readonly [
  head: string,
  rank: "always" | "wide" | "widest",
  read: (service: ServiceView) => string,
])[] = [
  ["Database", "widest", ({ database }) => String(database)],
  ["Keys", "always", ({ keys }) => grouped(keys)],
  ["Memory ≈", "wide", ({ memory }) => bytes(memory)],
  ["Hit rate", "always", ({ hitRate }) => percent(hitRate)],
  ["Hits", "wide", ({ hits }) => grouped(hits)],
  ["Misses", "wide", ({ misses }) => grouped(misses)],
  ["Writes", "widest", ({ writes }) => grouped(writes)],
  ["Loads", "widest", ({ loads }) => grouped(loads)],
  ["Errors", "wide", ({ errors }) => grouped(errors)],
  ["p95", "always", ({ p95 }) => took(p95)],
];

/**
 * Makes the table.
 *
 * @returns The element, and a function that shows new data.
 */
export function services(): { readonly element: HTMLElement; readonly update: (view: View | undefined) => void } {
  const body = h("tbody");
  const show = keyed(body, ({ service }: ServiceView) => service, serviceRow);
  const source = h("span", { class: "aside" });
  const element = h(
    "section",
    { class: "card", id: "services", "aria-labelledby": "services-title" },
    h("header", {}, h("h2", { id: "services-title" }, "Services"), source),
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "Service"),
          ...COLUMNS.map(([head, rank]) => h("th", { scope: "col", class: `number ${rank}` }, head)),
        ),
      ),
      body,
    ),
  );
  return {
    element,
    update: (view) => {
      if (!view) return;
      show(view.services);
      say(source, SOURCE[view.counted ?? "none"]);
    },
  };
}

const SOURCE = {
  fleet: "last minute, all processes with fleetStats",
  instance: "last minute, only the process of this dashboard",
  none: "last minute, no counts yet",
} as const;

function serviceRow(first: ServiceView): Row<ServiceView> {
  const link = h("a", { href: hashOf({ view: "keys", owner: ownerOf(first), match: "" }) }, line(first.service));
  const level = h("span", { class: "level" });
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, level);
  const cells = COLUMNS.map(([head, rank]) => {
    const text = h("span", {}, NONE);
    return { text, cell: h("td", { class: `number ${rank}` }, head === "Hit rate" && bar, text) };
  });
  return {
    element: h("tr", {}, h("th", { scope: "row" }, link), ...cells.map(({ cell }) => cell)),
    update: (service) => {
      for (const [at, [head, , read]] of COLUMNS.entries()) {
        const { text, cell } = cells[at] as (typeof cells)[number];
        const shown = read(service);
        say(text, shown);
        cell.classList.toggle("zero", /^0(?: B)?$/.test(shown) || shown === NONE);
        if (head === "Errors") cell.classList.toggle("bad", service.errors > 0);
        if (head !== "Hit rate") continue;
        const low = service.hitRate !== null && service.hitRate < HIT_RATE;
        cell.classList.toggle("warning", low);
        attribute(cell, "title", low ? `below the target of ${percent(HIT_RATE, 0)}` : null);
        style(level, "width", `${(service.hitRate ?? 0) * 100}%`);
        bar.classList.toggle("none", service.hitRate === null);
      }
    },
  };
}
