/// <reference lib="dom" />
/** The table of a cluster's nodes. */
import { MEMORY } from "../../monitor/targets.ts";
import type { NodeView, View } from "../messages.ts";
import { h, keyed, type Row, say, style } from "./dom.ts";
import { bytes, grouped, NONE, percent, took } from "./format.ts";
import { line } from "./text.ts";

const shareOf = ({ memoryUsed, memoryLimit }: NodeView): number | null =>
  memoryUsed !== null && memoryLimit ? memoryUsed / memoryLimit : null;

/** The columns after the address, with the width of the screen from which they are shown. */
const COLUMNS: readonly (readonly [
  head: string,
  rank: "always" | "wide" | "widest",
  read: (node: NodeView) => string,
])[] = [
  ["Keys", "wide", ({ keys }) => grouped(keys)],
  ["Memory", "always", (node) => (shareOf(node) === null ? bytes(node.memoryUsed) : percent(shareOf(node), 0))],
  ["Clients", "wide", ({ clients }) => grouped(clients)],
  ["Evictions", "widest", ({ evictions }) => grouped(evictions)],
  ["Breaker", "wide", ({ breaker }) => breaker ?? NONE],
  ["Latency", "always", ({ up, latency }) => (up ? took(latency) : "away")],
];

/**
 * Makes the table. It is hidden for one server.
 *
 * @returns The element, and a function that shows new data.
 */
export function nodes(): { readonly element: HTMLElement; readonly update: (view: View | undefined) => void } {
  const body = h("tbody");
  const show = keyed(body, ({ node }: NodeView) => node, nodeRow);
  const note = h("span", { class: "aside" });
  const heads = COLUMNS.map(([head, rank]) => h("th", { scope: "col", class: `number ${rank}` }, head));
  const element = h(
    "section",
    { class: "card", id: "nodes", "aria-labelledby": "nodes-title", hidden: true },
    h("header", {}, h("h2", { id: "nodes-title" }, "Nodes"), note),
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Address"), ...heads)), body),
  );
  return {
    element,
    update: (view) => {
      const all = view?.nodes ?? [];
      element.hidden = all.length === 0;
      show(all);
      const away = all.filter(({ up }) => !up).length;
      say(note, away === 0 ? `${all.length} masters answer` : `${away} of ${all.length} masters are away`);
    },
  };
}

function nodeRow(first: NodeView): Row<NodeView> {
  const level = h("span", { class: "level" });
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, level);
  const cells = COLUMNS.map(([head, rank]) => {
    const text = h("span", {}, NONE);
    return { text, cell: h("td", { class: `number ${rank}` }, head === "Memory" && bar, text) };
  });
  return {
    element: h("tr", {}, h("th", { scope: "row" }, line(first.node)), ...cells.map(({ cell }) => cell)),
    update: (node) => {
      const share = shareOf(node);
      for (const [at, [head, , read]] of COLUMNS.entries()) {
        const { text, cell } = cells[at] as (typeof cells)[number];
        say(text, read(node));
        if (head === "Latency") cell.classList.toggle("bad", !node.up);
        if (head === "Breaker") cell.classList.toggle("bad", node.breaker === "open");
        if (head === "Memory") cell.classList.toggle("bad", (share ?? 0) > MEMORY);
      }
      style(level, "width", `${Math.min(1, share ?? 0) * 100}%`);
      bar.classList.toggle("none", share === null);
    },
  };
}
