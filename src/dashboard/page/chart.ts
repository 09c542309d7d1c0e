/// <reference lib="dom" />
/** A chart over time: uPlot, with a legend of buttons, in the colours of the page's custom properties. */
import uPlot from "uplot";
import { attribute, h, keyed, say, style } from "./dom.ts";
import { clock, NONE, tick } from "./format.ts";

/** A line of a chart. */
export interface Line {
  /** The name. */
  readonly label: string;
  /** The custom property of the colour, such as `"--accent"`. */
  readonly color: string;
  /** One number for each time; `null` leaves a gap. */
  readonly values: readonly (number | null)[];
  /** The width in pixels. @default 1.5 */
  readonly width?: number;
  /** True for a dashed line. */
  readonly dashed?: boolean;
  /** True if the area below is tinted. */
  readonly filled?: boolean;
}

/** The data of a chart. */
export interface Frame {
  /** The times, in milliseconds since 1970, rising. */
  readonly times: readonly number[];
  /** The right end, in milliseconds since 1970. */
  readonly end: number;
  /** The length of the time axis, in milliseconds. */
  readonly span: number;
  /** The lines. */
  readonly lines: readonly Line[];
  /** The text that is shown if all lines are empty. */
  readonly empty: string;
}

/** Options of a chart. */
export interface ChartOptions {
  /** The name for tests. */
  readonly name: string;
  /** The title. */
  readonly title: string;
  /** Formats a number. */
  readonly format: (value: number) => string;
  /** Formats a number at the axis. @default format */
  readonly axis?: (value: number) => string;
  /** Returns the top of the axis for the maximum of the lines. */
  readonly top: (max: number) => number;
  /** The numbers at the axis. @default multiples of one of `steps` */
  readonly ticks?: readonly number[];
  /** The steps that the axis may use, rising. @default round decimal numbers */
  readonly steps?: readonly number[];
  /** A level that is marked, such as a target. */
  readonly target?: { readonly at: number; readonly label: string };
}

const HEIGHT = 176;
const AXIS = 56;
/** The steps of the time axis, in milliseconds. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600].map((seconds) => seconds * 1000);
const SYNC = "dashboard";

/** A chart and its legend. */
export class Chart {
  /** The element for the page. */
  readonly element: HTMLElement;
  readonly #options: ChartOptions;
  readonly #canvas: HTMLElement;
  readonly #empty: HTMLElement;
  readonly #time: HTMLElement;
  readonly #legend: (lines: readonly Line[]) => void;
  readonly #values = new Map<string, HTMLElement>();
  readonly #hidden = new Set<string>();
  #plot: uPlot | undefined;
  #frame: Frame | undefined;
  #shape = "";

  /**
   * Creates a chart.
   *
   * @param options The options.
   */
  constructor(options: ChartOptions) {
    this.#options = options;
    this.#canvas = h("div", { class: "plot", tabindex: 0, role: "img", keydown: (event) => this.#step(event) });
    this.#empty = h("p", { class: "empty", hidden: true });
    this.#time = h("span", { class: "time" });
    const legend = h("div", { class: "legend", role: "group", "aria-label": `Lines of ${options.title}` });
    this.element = h(
      "section",
      { class: "card chart", "data-chart": options.name },
      h("header", {}, h("h3", {}, options.title), options.target && targetOf(options.target.label), this.#time),
      legend,
      h("div", { class: "stage" }, this.#canvas, this.#empty),
    );
    this.#legend = keyed(
      legend,
      ({ label }) => label,
      (line) => this.#entry(line),
    );
    new ResizeObserver(() => this.#resize()).observe(this.#canvas);
  }

  /** Shows data. */
  show(frame: Frame): void {
    this.#frame = frame;
    const { lines, empty } = frame;
    const none = lines.every(({ values }) => values.every((value) => value === null));
    say(this.#empty, none ? empty : "");
    this.#empty.hidden = !none;
    this.element.classList.toggle("none", none);
    this.#legend(none ? [] : lines);
    const shape = JSON.stringify(lines.map(({ label, color }) => [label, color]));
    if (shape === this.#shape && this.#plot) {
      this.#plot.setData(data(frame), false);
      this.#plot.batch(() => this.#scale());
    } else {
      this.#shape = shape;
      this.redraw();
    }
    this.#showValues();
  }

  /** Draws the chart again, in the current colours. */
  redraw(): void {
    this.#plot?.destroy();
    this.#plot = undefined;
    const width = this.#canvas.clientWidth;
    if (!this.#frame || width === 0) return;
    this.#plot = new uPlot(this.#settings(this.#frame, width), data(this.#frame), this.#canvas);
    this.#scale();
  }

  #resize(): void {
    const width = this.#canvas.clientWidth;
    if (width === 0 || this.#plot?.width === width) return;
    if (this.#plot) this.#plot.setSize({ width, height: HEIGHT });
    else this.redraw();
  }

  #scale(): void {
    if (!this.#plot || !this.#frame) return;
    const { end, span, lines, times } = this.#frame;
    this.#plot.setScale("x", { min: end - span, max: end });
    let max = 0;
    for (const { label, values } of lines) {
      if (this.#hidden.has(label)) continue;
      values.forEach((value, i) => {
        if (value !== null && (times[i] as number) >= end - span) max = Math.max(max, value);
      });
    }
    this.#plot.setScale("y", { min: 0, max: this.#options.top(max) });
  }

  #settings({ lines }: Frame, width: number): uPlot.Options {
    const { format, axis = format, target, ticks, steps } = this.#options;
    const color = colors(this.#canvas);
    const [text, grid, strong] = [color("--muted"), color("--grid"), color("--text")];
    const font = `11px ${getComputedStyle(this.#canvas).fontFamily}`;
    const common = { stroke: text, font, ticks: { show: false } };
    return {
      width,
      height: HEIGHT,
      ms: 1,
      padding: [10, 24, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: SYNC, scales: ["x", null] },
        drag: { x: false, y: false },
        y: false,
        points: {
          size: 7,
          width: 2,
          stroke: color("--surface"),
          fill: (_, at) => color(lines[at - 1]?.color ?? "--text"),
        },
      },
      scales: { x: { time: true, auto: false }, y: { auto: false } },
      axes: [
        {
          ...common,
          size: 26,
          gap: 6,
          space: 64,
          incrs: STEPS,
          grid: { show: false },
          values: (_, splits) =>
            splits.map((at) =>
              tick(
                at,
                splits.some((one) => one % 60_000 !== 0),
              ),
            ),
        },
        {
          ...common,
          size: AXIS,
          gap: 8,
          space: 36,
          grid: { stroke: grid, width: 1 },
          ...(ticks && { splits: [...ticks] }),
          ...(steps && { incrs: [...steps] }),
          values: (_, splits) => splits.map(axis),
        },
      ],
      series: [
        {},
        ...lines.map(
          ({ label, color: name, width: thick = 1.5, dashed, filled }): uPlot.Series => ({
            label,
            show: !this.#hidden.has(label),
            stroke: color(name),
            width: thick,
            ...(dashed && { dash: [5, 4] }),
            ...(filled && { fill: color(`${name}-tint`) }),
            // A point between two gaps has no line.
            points: {
              show: true,
              size: 4,
              width: 0,
              fill: color(name),
              filter: (plot, at) => lonely(plot.data[at] ?? []),
            },
          }),
        ),
      ],
      hooks: {
        setCursor: [() => this.#showValues()],
        draw: [
          (plot) => {
            if (target) mark(plot, target.at, strong);
          },
        ],
      },
    };
  }

  #entry({ label }: Line): { element: HTMLElement; update: (line: Line) => void } {
    const swatch = h("span", { class: "swatch" });
    const value = h("span", { class: "value" });
    const button = h(
      "button",
      {
        type: "button",
        "aria-pressed": "true",
        click: () => {
          if (!this.#hidden.delete(label)) this.#hidden.add(label);
          const shown = !this.#hidden.has(label);
          attribute(button, "aria-pressed", String(shown));
          const at = this.#frame?.lines.findIndex((line) => line.label === label) ?? -1;
          if (at >= 0) this.#plot?.setSeries(at + 1, { show: shown });
          this.#scale();
        },
      },
      swatch,
      h("span", {}, label),
      value,
    );
    this.#values.set(label, value);
    return {
      element: button,
      update: ({ color, dashed }) => {
        style(swatch, "border-color", `var(${color})`);
        swatch.classList.toggle("dashed", dashed === true);
      },
    };
  }

  /** Shows the values under the cursor, or the latest. */
  #showValues(): void {
    if (!this.#frame) return;
    const { times, lines } = this.#frame;
    const { idx, left } = this.#plot?.cursor ?? {};
    const at = idx !== null && idx !== undefined && (left ?? -1) >= 0 ? idx : undefined;
    say(this.#time, at === undefined ? "" : clock(times[at] ?? 0));
    const texts: string[] = [];
    for (const { label, values } of lines) {
      const value = at === undefined ? values.at(-1) : values[at];
      const text = value === null || value === undefined ? NONE : this.#options.format(value);
      const element = this.#values.get(label);
      if (element) say(element, text);
      texts.push(`${label} ${text}`);
    }
    const when = at === undefined ? "now" : `at ${clock(times[at] ?? 0)}`;
    attribute(this.#canvas, "aria-label", `${this.#options.title} ${when}: ${texts.join(", ")}`);
  }

  /** Moves the cursor to the next sample by an arrow key. */
  #step(event: KeyboardEvent): void {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !this.#plot || !this.#frame) return;
    event.preventDefault();
    const { times, end, span } = this.#frame;
    const first = times.findIndex((at) => at >= end - span);
    if (first < 0) return;
    const { idx, left } = this.#plot.cursor;
    const from = (left ?? -1) >= 0 && typeof idx === "number" ? idx : times.length;
    const to = Math.min(times.length - 1, Math.max(first, from + by));
    const at = { left: this.#plot.valToPos(times[to] as number, "x"), top: 10 };
    for (const plot of uPlot.sync(SYNC).plots) plot.setCursor(at);
  }
}

/** Draws a marked level. */
function mark({ ctx, bbox, valToPos }: uPlot, at: number, color: string): void {
  const y = Math.round(valToPos(at, "y", true)) + 0.5;
  const scale = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = color;
  ctx.globalAlpha = 0.6;
  ctx.lineWidth = scale;
  ctx.setLineDash([2 * scale, 4 * scale]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

function targetOf(label: string): HTMLElement {
  return h("span", { class: "target" }, h("span", { class: "swatch dashed" }), label);
}

function data({ times, lines }: Frame): uPlot.AlignedData {
  return [times as number[], ...lines.map(({ values }) => values as (number | null)[])];
}

/** Returns the indices of values between two gaps. */
function lonely(values: ArrayLike<number | null | undefined>): number[] {
  const gap = (at: number) => values[at] === null || values[at] === undefined;
  return Array.from(values, (_, at) => at).filter((at) => !gap(at) && gap(at - 1) && gap(at + 1));
}

/** Returns a function that reads custom properties as colours for a canvas. */
function colors(within: Element): (name: string) => string {
  const probe = h("i", { hidden: true });
  const found = new Map<string, string>();
  return (name) => {
    let color = found.get(name);
    if (color === undefined) {
      within.append(probe);
      style(probe, "color", `var(${name})`);
      color = getComputedStyle(probe).color;
      probe.remove();
      found.set(name, color);
    }
    return color;
  };
}
