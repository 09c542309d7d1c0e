/// <reference lib="dom" />
/** The slow queries of the store. */
import type { SlowCommand, SlowCommands, View } from "../messages.ts";
import { ask, reason } from "./api.ts";
import { fill, h, icon, keyed, say } from "./dom.ts";
import { clock, took } from "./format.ts";
import { marked } from "./text.ts";

/**
 * Makes the list of slow queries. It is requested when their number changes.
 *
 * @returns The element, and a function that receives new data.
 */
export function slow(): { readonly element: HTMLElement; update(view: View | undefined): void } {
  const body = h("tbody");
  const show = keyed(
    body,
    ({ at, took: time, command, node }: SlowCommand) => `${at} ${time} ${command} ${node}`,
    ({ at, took: time, command, node }) => ({
      element: h(
        "tr",
        {},
        h("td", {}, h("time", { datetime: new Date(at).toISOString() }, clock(at))),
        h("td", { class: "number" }, took(time)),
        h("td", { class: "code" }, ...marked(command), node !== undefined && h("span", { class: "on" }, `on ${node}`)),
      ),
      update: () => {},
    }),
  );
  const note = h("p", { class: "empty" }, "Waiting for the first sample");
  const head = h("tr", {}, h("th", { scope: "col" }, "When"), h("th", { scope: "col", class: "number" }, "Took"));
  head.append(h("th", { scope: "col" }, "Command"));
  const table = h("table", { hidden: true }, h("thead", {}, head), body);
  let asked: number | null | undefined;
  const refresh = async () => {
    try {
      const { queries } = await ask<SlowCommands>("slow");
      show(queries ?? []);
      table.hidden = !queries?.length;
      say(note, queries ? "No slow queries" : "This store has no slow log");
      note.classList.toggle("good", queries !== null);
    } catch (error) {
      table.hidden = true;
      say(note, `Cannot read the slow log: ${reason(error)}`);
      note.classList.remove("good");
      asked = undefined;
    }
    note.hidden = !table.hidden;
  };
  const button = h("button", {
    type: "button",
    class: "quiet",
    "aria-label": "Read the slow log again",
    click: refresh,
  });
  fill(button, icon("refresh"));
  return {
    element: h(
      "section",
      { class: "card", id: "slow", "aria-labelledby": "slow-title" },
      h("header", {}, h("h2", { id: "slow-title" }, "Slow queries"), button),
      note,
      table,
    ),
    update(view) {
      if (!view?.store?.up || view.store.slowQueries === asked) return;
      asked = view.store.slowQueries;
      void refresh();
    },
  };
}
