/** How text from the store and tables are shown on a terminal. */

/** Text without what could move a terminal's cursor, hide text or turn it around: that is escaped. */
export function harmless(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (sign) => {
    const code = sign.codePointAt(0) as number;
    return code < 256 ? `\\x${hex(code)}` : `\\u{${code.toString(16)}}`;
  });
}

/** Text from the store as a line for a terminal; what was escaped can be told from what looks like it. */
export function shown(text: string): string {
  return harmless(text.replaceAll("\\", "\\\\"));
}

function hex(code: number): string {
  return code.toString(16).padStart(2, "0");
}

/** Rows under a head, the columns as wide as they need; `right` names those that are numbers. */
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
