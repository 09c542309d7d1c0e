const GROUPED = new Intl.NumberFormat("en");

/** Formats a count with its noun: `1 key`, `12,000 keys`. */
export function formatCount(number: number, one: string, many: string = `${one}s`): string {
  return `${GROUPED.format(number)} ${number === 1 ? one : many}`;
}

/** Formats a number with its digits in groups: `12,000`. */
export function formatNumber(number: number): string {
  return GROUPED.format(number);
}

/** Formats a number of bytes in units of 1024: `1.2 KiB`. */
export function formatBytes(size: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = size;
  let unit = 0;
  while (value >= 1023.95 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** Formats a time in milliseconds by its two largest units: `1h 5m`, `350ms`. */
export function formatDuration(milliseconds: number): string {
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

/** Formats a fraction of 1 as a percentage with `digits` after the point: `97.3 %`. */
export function formatPercent(share: number, digits = 1): string {
  return `${(share * 100).toFixed(digits)} %`;
}

/** Formats the duration of an operation, in milliseconds: `0.42 ms`, `350 ms`, `1.2 s`. */
export function formatLatency(milliseconds: number): string {
  if (milliseconds < 9.995) return `${Number(milliseconds.toFixed(2))} ms`;
  if (milliseconds < 99.95) return `${Number(milliseconds.toFixed(1))} ms`;
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 59_950) return `${Number((milliseconds / 1000).toFixed(1))} s`;
  return formatDuration(milliseconds);
}
