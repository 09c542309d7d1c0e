/** Redraws several lines on a terminal. */
import { columns, rows } from "../runtime/process.ts";

/** The lines on the terminal, so that the next frame can replace them. */
export class Screen {
  /** The columns of each line drawn. */
  #drawn: readonly number[] = [];

  /**
   * Redraws over the previous frame. Lines that do not fit are dropped, because scrolling would break the redraw.
   *
   * @param lines The lines. They may have colours, but no other control sequences.
   * @param width The terminal's columns.
   * @param height Its rows.
   * @returns The text to write.
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

/** Cuts a line to a number of columns, not counting its colours. */
function cut(line: string, width: number): { readonly text: string; readonly length: number } {
  let text = "";
  let length = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control sequences start with one
  for (const [part] of line.matchAll(/\x1b\[[\d;]*m|./gsu)) {
    const colour = part.startsWith("\x1b");
    if (!colour && length === width) continue;
    text += part;
    if (!colour) length++;
  }
  return { text, length };
}
