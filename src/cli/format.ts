/** Text from the store, and tables, for a terminal. */

/** Escapes the characters that could move a terminal's cursor, hide text or reverse it. */
export function harmless(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (sign) => {
    const code = sign.codePointAt(0) as number;
    return code < 256 ? `\\x${hex(code)}` : `\\u{${code.toString(16)}}`;
  });
}

/** Returns text from the store as a line for a terminal, in which escapes are unambiguous. */
export function shown(text: string): string {
  return harmless(text.replaceAll("\\", "\\\\"));
}

function hex(code: number): string {
  return code.toString(16).padStart(2, "0");
}

/** Returns the lines of a table. Columns are as wide as needed; those at the indexes `right` are aligned right. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly number[],
): string[] {
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)));
  return [head, ...rows].map((row) =>
    row
      .map((cell, at) => (right.includes(at) ? cell.padStart(widths[at] as number) : cell.padEnd(widths[at] as number)))
      .join("  ")
      .trimEnd(),
  );
}
