import { formatNumber } from "../base/format.ts";
import { columns, isTerminal, variable, writeTo } from "../runtime/process.ts";
import { redact } from "./errors.ts";
import { harmless } from "./format.ts";

/** How results and progress are shown. */
export interface OutputOptions {
  /** Whether colours are off, whatever the terminal can. */
  readonly plain?: boolean;
  /** Whether there is no progress. */
  readonly quiet?: boolean;
}

const FLUSH_CHARACTERS = 1 << 15;
const FLUSH_MS = 100;
const REDRAW_MS = 80;
/** In a pipe, progress is a line after so many milliseconds, and then each time that this has doubled. */
const FIRST_LINE_MS = 5000;
const BAR = 24;
const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/** Paints text. */
export type Paint = (text: string) => string;

/** What the command prints: results to standard output, progress and problems to standard error. */
export class Output {
  /** Whether progress is one line that changes. */
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

  /** Paints for standard output: nothing where it has no colours. */
  paint(name: keyof typeof COLOURS): Paint {
    return (text) => (this.#colours ? `\x1b[${COLOURS[name]}m${text}\x1b[0m` : text);
  }

  /** A line of the result. Resolves when more may come. */
  async line(text: string): Promise<void> {
    this.#buffer += `${text}\n`;
    const now = performance.now();
    if (this.#buffer.length > FLUSH_CHARACTERS || now - this.#flushed > FLUSH_MS) await this.flush();
  }

  /** A value as one line of JSON. */
  json(value: unknown): Promise<void> {
    return this.line(JSON.stringify(value));
  }

  /** Text of the result as it is. */
  text(text: string): void {
    this.#buffer += text;
  }

  /** Writes what is waiting. */
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

  /** A line for the person, beside the result. */
  note(text: string): void {
    this.hide();
    // A key may hold orders to the terminal.
    this.#problem(`${redact(text).split("\n").map(harmless).join("\n")}\n`);
  }

  /**
   * How far the command is.
   *
   * @param text What was done so far.
   * @param share How much of all that is, 0-1, where that is known.
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

  /** Takes the progress off the terminal. */
  hide(): void {
    if (this.#lit) this.#problem("\r\x1b[2K");
    this.#lit = false;
  }

  /** Writes all that waits, and ends the progress. */
  async end(): Promise<void> {
    this.hide();
    try {
      await this.flush();
    } finally {
      await this.#problems;
    }
  }

  /** In their order, and without a word when nobody reads them. */
  #problem(text: string): void {
    this.#problems = this.#problems.then(() => writeTo("stderr", text)).catch(() => {});
  }
}

const COLOURS = { bold: "1", dim: "2", red: "31", green: "32", yellow: "33" } as const;

/** How fast something goes: ` (12,000/s)`; nothing where that is not known yet. */
export function rate(number: number, milliseconds: number): string {
  return milliseconds < 500 ? "" : `, ${formatNumber(Math.round((number / milliseconds) * 1000))}/s`;
}
