/// <reference lib="dom" />
/** The tiles: the most important numbers. */
import { HIT_RATE, MEMORY } from "../../monitor/targets.ts";
import type { View } from "../messages.ts";
import { h, say, style } from "./dom.ts";
import { bytes, formatCount, grouped, NONE, percent, rate, took } from "./format.ts";
import { line } from "./text.ts";

/** The content of a tile. */
interface Reading {
  readonly value: string;
  readonly note: string;
  /** The filled share of the bar; `undefined` without a bar. */
  readonly share?: number | null;
  /** The tone. */
  readonly tone?: "good" | "warning" | "bad" | undefined;
}

const TILES: readonly (readonly [name: string, label: string, read: (view: View) => Reading, mark?: number])[] = [
  ["hit-rate", "Hit rate", hitRate, HIT_RATE],
  ["latency", "Response time", latency],
  ["memory", "Memory", memory, MEMORY],
  ["keys", "Keys", keys],
  ["operations", "Operations", operations],
  ["clients", "Clients", clients],
  ["evictions", "Evictions", evictions],
  ["breaker", "Circuit breaker of this process", breaker],
];

/**
 * Makes the tiles.
 *
 * @returns The element, and a function that shows new data.
 */
export function tiles(): { readonly element: HTMLElement; readonly update: (view: View | undefined) => void } {
  const made = TILES.map(([name, label, read, mark]) => tile(name, label, read, mark));
  return {
    element: h("dl", { class: "tiles card" }, ...made.map(({ element }) => element)),
    update: (view) => {
      for (const { update } of made) update(view);
    },
  };
}

function tile(name: string, label: string, read: (view: View) => Reading, mark?: number) {
  const value = h("dd", { class: "value" }, NONE);
  const note = h("dd", { class: "note" });
  const level = h("span", { class: "level" });
  const bar = h("dd", { class: "bar", "aria-hidden": "true" }, level);
  if (mark !== undefined) {
    const line = h("span", { class: "mark" });
    style(line, "left", `${mark * 100}%`);
    bar.append(line);
  }
  const element = h("div", { class: "tile", "data-tile": name }, h("dt", {}, label), value, bar, note);
  const update = (view: View | undefined) => {
    if (!view) return;
    const { value: text, note: more, share, tone } = read(view);
    say(value, text);
    say(note, more);
    element.dataset.tone = tone ?? "";
    bar.hidden = share === undefined || share === null;
    style(level, "width", `${Math.min(1, share ?? 0) * 100}%`);
  };
  bar.hidden = true;
  return { element, update };
}

function hitRate({ all, counted }: View): Reading {
  const { hitRate: share, hits, misses } = all;
  if (share === null)
    return { value: NONE, note: counted ? "no reads in the last minute; counts arrive every 10 s" : "no counts yet" };
  const low = share < HIT_RATE;
  return {
    value: percent(share),
    note: `${low ? "below" : "target"} ${percent(HIT_RATE, 0)} · ${formatCount(hits + misses, "read")}`,
    share,
    tone: low ? "warning" : "good",
  };
}

function latency({ all, store }: View): Reading {
  if (all.p95 !== null) {
    return { value: took(all.p95), note: `p95 · p50 ${took(all.p50)} · p99 ${took(all.p99)}` };
  }
  if (store && !store.up) return { value: NONE, note: "the store does not answer", tone: "bad" };
  return { value: took(store?.latency ?? null), note: "of the store; no operations in the last minute" };
}

function memory({ store }: View): Reading {
  const { memoryUsed = null, memoryLimit = null, policy = null } = store ?? {};
  if (memoryUsed === null) {
    return { value: NONE, note: store?.up === false ? "the store does not answer" : "not reported by this store" };
  }
  const rule = policy === null ? "" : ` · ${line(policy)}`;
  if (!memoryLimit)
    return { value: bytes(memoryUsed), note: `${memoryLimit === null ? "limit unknown" : "no limit"}${rule}` };
  const share = memoryUsed / memoryLimit;
  return {
    value: bytes(memoryUsed),
    note: `${percent(share, 0)} of ${bytes(memoryLimit)}${rule}`,
    share,
    tone: share > MEMORY ? "bad" : undefined,
  };
}

function keys({ all, services }: View): Reading {
  const holding = services.filter(({ keys, unnamed }) => keys && !unnamed).length;
  const others = services.filter(({ unnamed }) => unnamed).length;
  return {
    value: grouped(all.keys),
    note:
      all.keys === null
        ? "not reported by this store"
        : `in ${formatCount(holding, "service")}${others > 0 ? ` and ${formatCount(others, "other database")}` : ""}`,
  };
}

function operations({ store }: View): Reading {
  const number = store?.operations ?? null;
  return { value: number === null ? NONE : `${rate(number)} /s`, note: "of all clients" };
}

function clients({ store }: View): Reading {
  const { clients = null, server = null, version = null } = store ?? {};
  return { value: grouped(clients), note: version === null ? "connected" : `connected · ${server} ${line(version)}` };
}

function evictions({ store }: View): Reading {
  const { evictions = null, expired = null } = store ?? {};
  return {
    value: grouped(evictions),
    note: expired === null ? "not reported by this store" : `${grouped(expired)} expired`,
  };
}

function breaker({ breaker: state }: View): Reading {
  const note = {
    closed: "requests go to the store",
    open: "no requests go to the store",
    "half-open": "one request probes the store",
  }[state];
  return {
    value: state,
    note,
    tone: { closed: undefined, open: "bad", "half-open": "warning" }[state] as Reading["tone"],
  };
}
