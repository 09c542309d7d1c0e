/// <reference lib="dom" />
/** The four charts of the overview, with a choice of the time range. */
import { HIT_RATE } from "../../monitor/targets.ts";
import type { ChartPoint } from "../messages.ts";
import { Chart, type Frame, type Line } from "./chart.ts";
import { attribute, h } from "./dom.ts";
import { bytes, percent, rate, took } from "./format.ts";
import type { Live } from "./live.ts";
import { line } from "./text.ts";

const RANGES = [
  [5, "5 min"],
  [15, "15 min"],
  [60, "1 h"],
] as const;

/** The shortest time axis, in milliseconds. */
const LEAST = 60_000;
/** The number of intervals after which a missing sample leaves a gap. */
const LATE = 2.5;
/** Round numbers of bytes. */
const BINARY = Array.from({ length: 45 }, (_, power) => 2 ** power);
/** The number of colours for services. */
const COLORS = 10;

/** The charts. */
export class Charts {
  /** The element for the page. */
  readonly element: HTMLElement;
  readonly #live: Live;
  #minutes = 5;
  readonly #hitRate = new Chart({
    name: "hit-rate",
    title: "Hit rate",
    format: (value) => percent(value),
    axis: (value) => percent(value, 0),
    top: () => 1,
    ticks: [0, 0.25, 0.5, HIT_RATE, 1],
    target: { at: HIT_RATE, label: `target ${percent(HIT_RATE, 0)}` },
  });
  readonly #latency = new Chart({
    name: "latency",
    title: "Response time",
    format: took,
    top: (max) => max * 1.15 || 1,
  });
  readonly #operations = new Chart({
    name: "operations",
    title: "Operations per second",
    format: rate,
    top: (max) => Math.max(max * 1.15, 4),
  });
  readonly #memory = new Chart({
    name: "memory",
    title: "Memory",
    format: bytes,
    steps: BINARY,
    top: (max) => max * 1.1 || 1024,
  });

  /**
   * Creates the charts.
   *
   * @param live The data from the server.
   */
  constructor(live: Live) {
    this.#live = live;
    const buttons = RANGES.map(([minutes, label]) =>
      h("button", { type: "button", click: () => range(minutes) }, label),
    );
    const range = (minutes: number) => {
      this.#minutes = minutes;
      for (const [at, button] of buttons.entries())
        attribute(button, "aria-pressed", String(RANGES[at]?.[0] === minutes));
      this.update();
    };
    this.element = h(
      "section",
      { class: "charts", "aria-labelledby": "charts-title" },
      h(
        "header",
        {},
        h("h2", { id: "charts-title" }, "Over time"),
        h("div", { class: "segments", role: "group", "aria-label": "Time range" }, ...buttons),
      ),
      h("div", { class: "grid" }, ...this.#all.map(({ element }) => element)),
    );
    range(this.#minutes);
  }

  get #all(): Chart[] {
    return [this.#hitRate, this.#latency, this.#operations, this.#memory];
  }

  /** Draws the charts again, in the current colours. */
  redraw(): void {
    for (const chart of this.#all) chart.redraw();
  }

  /** Shows new data. */
  update(): void {
    const { hello, view, points: all } = this.#live;
    const end = all.at(-1)?.at ?? Date.now();
    // A dashboard that was just started shows a shorter time.
    const span = Math.min(this.#minutes * 60_000, Math.max(LEAST, end - (all[0]?.at ?? end)));
    const points = withGaps(all, LATE * (hello?.interval ?? 10_000));
    const frame = (lines: readonly Line[], empty: string): Frame => ({
      times: points.map(({ at }) => at),
      end,
      span,
      lines,
      empty:
        all.length === 0
          ? "Waiting for the first sample"
          : view?.store?.up === false
            ? "The store does not answer"
            : empty,
    });
    const of = (
      label: string,
      color: string,
      read: (point: ChartPoint) => number | null,
      more: Partial<Line> = {},
    ): Line => ({
      label,
      color,
      values: points.map(read),
      ...more,
    });
    const some = (lines: readonly Line[]) => lines.filter(({ values }) => values.some((value) => value !== null));

    const databases = new Map(view?.services.map(({ service, database }) => [service, database]));
    const names = [...new Set(all.flatMap(({ services }) => Object.keys(services)))];
    names.sort((a, b) => (databases.get(a) ?? 99) - (databases.get(b) ?? 99));
    this.#hitRate.show(
      frame(
        [
          of("all services", "--text", ({ hitRate }) => hitRate, { width: 2 }),
          ...names.map((name, at) =>
            of(
              line(name),
              `--series-${(databases.get(name) ?? at) % COLORS}`,
              ({ services }) => services[name] ?? null,
            ),
          ),
        ],
        view?.counted
          ? "No reads in this period"
          : "No counts yet: set CACHE_FLEET_STATS=true, or fleetStats: true, in the applications",
      ),
    );
    this.#latency.show(
      frame(
        [
          of("store", "--series-0", ({ latency }) => latency, { filled: true }),
          ...some([
            of("p50", "--series-2", ({ p50 }) => p50),
            of("p95", "--series-3", ({ p95 }) => p95),
            of("p99", "--series-6", ({ p99 }) => p99),
          ]),
        ],
        "The store did not answer in this period",
      ),
    );
    this.#operations.show(
      frame(
        [of("all clients", "--series-0", ({ operations }) => operations, { filled: true })],
        all.length === 1 ? "Waiting for the second sample" : "This store does not report its commands",
      ),
    );
    this.#memory.show(
      frame(
        [
          of("used", "--series-0", ({ memory }) => memory, { filled: true }),
          // A limit far above would flatten the other lines.
          ...some([of("limit", "--bad", ({ memory, memoryLimit }) => near(memory, memoryLimit), { dashed: true })]),
        ],
        "This store does not report its memory",
      ),
    );
  }
}

/** Returns the limit, if more than a fifth of it is used. */
function near(used: number | null, limit: number | null): number | null {
  return used !== null && limit !== null && used > limit / 5 ? limit : null;
}

/** Adds an empty point where samples are missing, so that no line is drawn across the gap. */
function withGaps(points: readonly ChartPoint[], late: number): ChartPoint[] {
  const found: ChartPoint[] = [];
  for (const point of points) {
    const last = found.at(-1);
    if (last && point.at - last.at > late) found.push({ ...NOTHING, at: last.at + 1 });
    found.push(point);
  }
  return found;
}

const NOTHING: Omit<ChartPoint, "at"> = {
  hitRate: null,
  services: {},
  latency: null,
  p50: null,
  p95: null,
  p99: null,
  operations: null,
  memory: null,
  memoryLimit: null,
};
