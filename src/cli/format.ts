/** How numbers, times and keys are shown to a person. */

const GROUPED = new Intl.NumberFormat("en");

/** A number of things: `1 key`, `12,000 keys`. */
export function count(number: number, one: string, many: string = `${one}s`): string {
  return `${GROUPED.format(number)} ${number === 1 ? one : many}`;
}

/** A number, grouped: `12,000`. */
export function grouped(number: number): string {
  return GROUPED.format(number);
}

/** Bytes in units of 1024: `1.2 KB`. */
export function bytes(size: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = size;
  let unit = 0;
  while (value >= 1023.95 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** A time in milliseconds by its two largest units: `1h 5m`, `350ms`. */
export function duration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)}ms`;
  let left = Math.floor(milliseconds / 1000);
  const parts: string[] = [];
  for (const [unit, seconds] of UNITS) {
    const number = Math.floor(left / seconds);
    left -= number * seconds;
    if (number > 0) parts.push(`${number}${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
  ["s", 1],
] as const;

/** A share of one: `97.3 %`. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

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
