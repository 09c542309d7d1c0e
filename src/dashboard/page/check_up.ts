/// <reference lib="dom" />
/** The check-up: the findings of `larder doctor`. */
import type { Finding } from "../../manager/mod.ts";
import type { CheckUp } from "../messages.ts";
import { ask, reason } from "./api.ts";
import { attribute, fill, h, say } from "./dom.ts";
import { formatCount } from "./format.ts";
import { line } from "./text.ts";

/** Makes the card with its button. */
export function checkUp(): HTMLElement {
  const list = h("ul", { class: "findings" });
  const note = h(
    "p",
    { class: "empty" },
    "Checks the store’s settings, memory, keys and slow queries. Takes a few seconds.",
  );
  const run = async () => {
    if (button.getAttribute("aria-disabled")) return;
    attribute(button, "aria-disabled", "true");
    say(button, "Checking…");
    fill(list);
    note.hidden = false;
    say(note, "Checking the store…");
    try {
      const { findings } = await ask<CheckUp>("doctor");
      fill(list, ...[...findings].sort((a, b) => RANK[b.level] - RANK[a.level]).map(finding));
      const bad = findings.filter(({ level }) => level === "error" || level === "warning").length;
      say(note, bad === 0 ? "No problems found" : `${formatCount(bad, "problem")} found`);
    } catch (error) {
      say(note, `Cannot check: ${reason(error)}`);
    }
    attribute(button, "aria-disabled", null);
    say(button, "Check again");
  };
  const button = h("button", { type: "button", click: run }, "Run check-up");
  attribute(note, "role", "status");
  return h(
    "section",
    { class: "card", id: "doctor", "aria-labelledby": "doctor-title" },
    h("header", {}, h("h2", { id: "doctor-title" }, "Check-up"), button),
    note,
    list,
  );
}

const RANK = { error: 3, warning: 2, info: 1, ok: 0 } as const;

function finding({ check, level, evidence, advice }: Finding): HTMLElement {
  return h(
    "li",
    { "data-level": level },
    h("span", { class: "pill" }, level),
    h(
      "div",
      {},
      h("p", { class: "title" }, h("strong", {}, line(check)), " ", h("span", {}, line(evidence))),
      advice !== undefined && h("p", { class: "advice" }, line(advice)),
    ),
  );
}
