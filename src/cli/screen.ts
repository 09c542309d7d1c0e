/** Pictures of several lines that take each other's place on a terminal. */
import { columns, rows } from "../runtime/process.ts";

/** What is on the terminal, so that the next picture can take its place. */
export class Screen {
  /** How many columns each line takes. */
  #drawn: readonly number[] = [];

  /**
   * A picture in the place of the last one. What the terminal has no room for is left out: it would move all that is above it.
   *
   * @param lines Its lines; of orders to the terminal they may hold colours.
   * @param width The terminal's columns.
   * @param height Its rows.
   * @returns What to write.
   */
  draw(lines: readonly string[], width: number = columns(), height: number = rows()): string {
    // A terminal that became narrower has wrapped them.
    const up = this.#drawn.reduce((sum, length) => sum + Math.max(1, Math.ceil(length / width)), 0);
    const shown = lines.slice(0, height - 1).map((line) => cut(line, width - 1));
    this.#drawn = shown.map(({ length }) => length);
    const home = up > 0 ? `\x1b[${Math.min(up, height - 1)}A\r\x1b[J` : "";
    return home + shown.map(({ text }) => `${text}\n`).join("");
  }
}

/** A line's first columns, its colours aside. */
function cut(line: string, width: number): { readonly text: string; readonly length: number } {
  let text = "";
  let length = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: an order to a terminal begins with one
  for (const [part] of line.matchAll(/\x1b\[[\d;]*m|./gsu)) {
    const colour = part.startsWith("\x1b");
    if (!colour && length === width) continue;
    text += part;
    if (!colour) length++;
  }
  return { text, length };
}
