import { formatNumber } from "../base/format.ts";
import { columns, isTerminal, variable, writeTo } from "../runtime/process.ts";
import { redact } from "./errors.ts";
import { harmless } from "./format.ts";

/** Options of the output. */
export interface OutputOptions {
  /** Uses no colours. */
  readonly plain?: boolean;
  /** Shows no progress. */
  readonly quiet?: boolean;
}

const FLUSH_CHARACTERS = 1 << 15;
const FLUSH_MS = 100;
const REDRAW_MS = 80;
/** The milliseconds until progress is shown in a pipe. The time between lines then doubles. */
const FIRST_LINE_MS = 5000;
const BAR = 24;
const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/** Paints text. */
export type Paint = (text: string) => string;

/** The output of a command: results to standard output, progress and problems to standard error. */
export class Output {
  /** `true` if progress is one line that is redrawn. */
  readonly live: boolean;
  readonly #quiet: boolean;
  readonly #colours: boolean;
  #buffer = "";
  #flushed = performance.now();
  #drawn = Number.NEGATIVE_INFINITY;
  #lit = false;
  #frame = 0;
  #begun = performance.now();
  #next = FIRST_LINE_MS;
  #problems: Promise<void> = Promise.resolve();

  /**
   * Makes an output.
   *
   * @param options Colours and progress.
   */
  constructor({ plain = false, quiet = false }: OutputOptions = {}) {
    const dumb = variable("TERM") === "dumb";
    this.#quiet = quiet;
    this.live = isTerminal("stderr") && !dumb && !quiet;
    this.#colours = !plain && !dumb && variable("NO_COLOR") === undefined && isTerminal("stdout");
  }

  /** Returns a function that colours text for standard output, if that has colours. */
  paint(name: keyof typeof COLOURS): Paint {
    return (text) => (this.#colours ? `\x1b[${COLOURS[name]}m${text}\x1b[0m` : text);
  }

  /** Writes a line of the result. Resolves when the next may follow. */
  async line(text: string): Promise<void> {
    this.#buffer += `${text}\n`;
    const now = performance.now();
    if (this.#buffer.length > FLUSH_CHARACTERS || now - this.#flushed > FLUSH_MS) await this.flush();
  }

  /** Writes a value as one line of JSON. */
  json(value: unknown): Promise<void> {
    return this.line(JSON.stringify(value));
  }

  /** Writes text of the result without a line break. */
  text(text: string): void {
    this.#buffer += text;
  }

  /** Writes the buffered text. */
  async flush(): Promise<void> {
    this.#flushed = performance.now();
    const text = this.#buffer;
    this.#buffer = "";
    if (text === "") return;
    if (isTerminal("stdout")) {
      this.hide();
      await this.#problems;
    }
    await writeTo("stdout", text);
  }

  /** Writes a line to standard error. */
  note(text: string): void {
    this.hide();
    // Keys may hold control characters.
    this.#problem(`${redact(text).split("\n").map(harmless).join("\n")}\n`);
  }

  /**
   * Shows the progress.
   *
   * @param text The work done so far.
   * @param share The share of all work, 0-1, if it is known.
   */
  progress(text: string, share?: number): void {
    if (this.#quiet) return;
    const now = performance.now();
    if (!this.live) {
      if (now - this.#begun < this.#next) return;
      this.#next *= 2;
      this.#problem(`${text}${share === undefined ? "" : ` (${Math.floor(share * 100)} %)`}\n`);
      return;
    }
    if (now - this.#drawn < REDRAW_MS) return;
    this.#drawn = now;
    this.#lit = true;
    const frame = FRAMES[this.#frame++ % FRAMES.length];
    const full = Math.round(Math.min(1, share ?? 0) * BAR);
    const bar =
      share === undefined ? frame : `${"█".repeat(full)}${"░".repeat(BAR - full)} ${Math.floor(share * 100)} %`;
    this.#problem(`\r\x1b[2K${`${bar} ${text}`.slice(0, columns() - 1)}`);
  }

  /** Removes the progress from the terminal. */
  hide(): void {
    if (this.#lit) this.#problem("\r\x1b[2K");
    this.#lit = false;
  }

  /** Writes all buffered text, and ends the progress. */
  async end(): Promise<void> {
    this.hide();
    try {
      await this.flush();
    } finally {
      await this.#problems;
    }
  }

  /** Writes to standard error in order. Errors are ignored, such as those of a closed pipe. */
  #problem(text: string): void {
    this.#problems = this.#problems.then(() => writeTo("stderr", text)).catch(() => {});
  }
}

const COLOURS = { bold: "1", dim: "2", red: "31", green: "32", yellow: "33" } as const;

/** Returns the rate of an operation, such as `, 12,000/s`; empty before it can be measured. */
export function rate(number: number, milliseconds: number): string {
  return milliseconds < 500 ? "" : `, ${formatNumber(Math.round((number / milliseconds) * 1000))}/s`;
}
