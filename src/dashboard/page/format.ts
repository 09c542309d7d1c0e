/** The formats of numbers and times, also of those that are unknown. */
import * as format from "../../base/format.ts";

export { formatCount } from "../../base/format.ts";

/** The text for an unknown number. */
export const NONE = "–";

/** The last date of JavaScript, in milliseconds since 1970. */
const LAST = 8.64e15;
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** Formats a number: `12,000`. */
export function grouped(number: number | null): string {
  return number === null ? NONE : format.formatNumber(Math.round(number));
}

/** Formats a number per second: `0.4`, `12,000`. */
export function rate(number: number | null): string {
  return number !== null && number > 0 && number < 9.95 ? number.toFixed(1) : grouped(number);
}

/** Formats a share as a percentage: `97.3 %`; `digits` after the point. */
export function percent(share: number | null, digits?: number): string {
  return share === null ? NONE : format.formatPercent(share, digits);
}

/** Bytes in units of 1024: `1.2 KiB`, `64 MiB`. */
export function bytes(size: number | null): string {
  return size === null ? NONE : format.formatBytes(Math.round(size)).replace(".0 ", " ");
}

/** Formats how long an operation took, in milliseconds: `0.42 ms`, `350 ms`, `1.2 s`. */
export function took(milliseconds: number | null): string {
  return milliseconds === null ? NONE : format.formatLatency(milliseconds);
}

/** Formats milliseconds by their two largest units, in whole seconds: `1h 5m`, `12s`. */
export function duration(milliseconds: number): string {
  return milliseconds < 1000 ? "0s" : format.formatDuration(milliseconds);
}

/** Formats a time, with the date unless it is today: `14:02:10`, `3 Nov 2025, 14:02:10`. */
export function clock(at: number, now: number = Date.now()): string {
  // An entry in the store may hold a time beyond the last date.
  if (!(Math.abs(at) <= LAST)) return NONE;
  const time = CLOCK.format(at);
  return DAY.format(at) === DAY.format(now) ? time : `${DAY.format(at)}, ${time}`;
}

/** Formats a time for an axis: `14:02`, or with seconds. */
export function tick(at: number, seconds: boolean): string {
  return (seconds ? CLOCK : MINUTE).format(at);
}

/** Formats how long ago a time is: `3m 2s ago`. */
export function ago(at: number, now: number = Date.now()): string {
  const span = now - at;
  return span < 1000 ? "just now" : `${duration(span)} ago`;
}
