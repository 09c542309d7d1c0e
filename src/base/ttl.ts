/**
 * Times to live: the forms that callers and variables may use, and their milliseconds.
 *
 * @module
 */

import { invalid } from "./check.ts";

/** The units of a time: milliseconds, seconds, minutes, hours, days. */
export type TtlUnit = "ms" | "s" | "m" | "h" | "d";

/** A length of time: a number of seconds, a string with its unit (`"500ms" "30s" "5m" "2h" "1d"`), or `"forever"`. */
export type Duration = number | `${number}${TtlUnit}` | "forever";

/** A time to live: a length of time, or a name whose time the client's configuration sets. */
export type Ttl = Duration | keyof TtlClasses;

/** The TTLs that have a name, in milliseconds; `undefined` means forever. */
export interface TtlClasses {
  /** Variable `CACHE_TTL_DEFAULT`, 1 hour. */
  readonly default: number | undefined;
  /** Variable `CACHE_TTL_SHORT`, 5 minutes. */
  readonly short: number | undefined;
  /** Variable `CACHE_TTL_LONG`, 2 hours. */
  readonly long: number | undefined;
}

/** The defaults of the named TTLs. */
export const TTL_CLASSES: TtlClasses = { default: 36e5, short: 3e5, long: 72e5 };

/** A time limit: a number of milliseconds, or a string with its unit (`"500ms" "30s" "2m"`). At most 2147483647 ms. */
export type Timeout = number | `${number}${TtlUnit}`;

/** Describes the accepted lengths of time, including the given names of TTLs. */
export function durations(...names: readonly (keyof TtlClasses)[]): string {
  const more = names.map((name) => `"${name}", `).join("");
  const spans = 'seconds as a number, a string such as "500ms" "30s" "5m" "2h" "1d", above 0 and at most 100 years';
  return `${spans}, ${more}or "forever"`;
}

/** The values that {@linkcode parseTtl} accepts, in words. */
export const TTL_ACCEPTED: string = durations("default", "short", "long");

/** The values that {@linkcode parseTimeout} accepts, in words. */
const TIMEOUT_ACCEPTED =
  'milliseconds as a number or a string such as "500ms" "30s" "2m", above 0 and up to 2147483647 ms';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 };
const MAX = 36_525 * 864e5;

/** The longest delay of a timer in milliseconds. Timers treat a longer one as 1 ms. */
export const LONGEST_TIMER = 0x7fffffff;

/**
 * Turns a TTL into milliseconds.
 *
 * @param ttl The TTL. Numbers are seconds; fractions are fine in both forms.
 * @param what What the TTL belongs to, for the error message. @default "a TTL"
 * @param classes The times of `"default"`, `"short"` and `"long"`. @default 1 hour, 5 minutes and 2 hours
 * @returns Whole milliseconds, rounded up, at least 1; `undefined` for `"forever"`.
 * @throws {RangeError} If the TTL is zero, negative, not finite or longer than 100 years.
 * @throws {TypeError} If it is neither a number nor a string with a unit.
 *
 * @example
 * ```ts
 * import { parseTtl } from "@foodfast/larder";
 *
 * parseTtl("1.5h"); // 5400000
 * parseTtl(30); // 30000
 * parseTtl("forever"); // undefined
 * parseTtl("short"); // 300000
 * ```
 */
export function parseTtl(ttl: Ttl, what = "a TTL", classes: TtlClasses = TTL_CLASSES): number | undefined {
  if (ttl === "default" || ttl === "short" || ttl === "long") return classes[ttl];
  return parseDuration(ttl, what, TTL_ACCEPTED);
}

/**
 * Turns a length of time into milliseconds.
 *
 * @param duration The length. Numbers are seconds.
 * @param what What it belongs to, for the error message.
 * @param accepted What is accepted, for the error message.
 * @returns Whole milliseconds, rounded up, at least 1; `undefined` for `"forever"`.
 * @throws {RangeError | TypeError} As {@linkcode parseTtl} does, also for the names of TTLs.
 */
export function parseDuration(duration: Duration, what: string, accepted: string = durations()): number | undefined {
  if (duration === "forever") return undefined;
  const milliseconds = typeof duration === "number" ? up(duration * 1e3) : millisecondsOf(duration);
  if (milliseconds > 0 && milliseconds <= MAX) return milliseconds;
  throw badTime(what, duration, accepted, milliseconds);
}

/**
 * Turns a timeout into milliseconds.
 *
 * @param timeout The timeout. Numbers are milliseconds.
 * @param what The name of the option, for the error message. @default "timeout"
 * @returns The milliseconds. Those of a string are whole, rounded up.
 * @throws {RangeError} If it is not above 0, or longer than {@linkcode LONGEST_TIMER}.
 * @throws {TypeError} If it is neither a number nor a string with a unit.
 */
export function parseTimeout(timeout: Timeout, what = "timeout"): number {
  const milliseconds = millisecondsOf(timeout);
  if (milliseconds > 0 && milliseconds <= LONGEST_TIMER) return milliseconds;
  throw badTime(what, timeout, TIMEOUT_ACCEPTED, milliseconds);
}

/** Returns a number unchanged, the milliseconds of a string with a unit rounded up, and `NaN` for anything else. */
export function millisecondsOf(given: unknown): number {
  if (typeof given === "number") return given;
  const [, amount, unit = ""] = (typeof given === "string" && /^(-?\d+(?:\.\d+)?)(ms|[smhd])$/.exec(given)) || [];
  return up(Number(amount) * (UNITS[unit] ?? Number.NaN));
}

/** Rounds up. Keeping 15 digits drops the noise of binary fractions: 1.1 h is 3960000 ms, not 3960001. */
function up(milliseconds: number): number {
  return Math.ceil(Number(milliseconds.toPrecision(15)));
}

/** Makes the error of a bad time: a RangeError for a time out of range, a TypeError for anything else. */
function badTime(what: string, given: unknown, accepted: string, milliseconds: number): Error {
  return invalid(`set ${what}`, given, accepted, Number.isNaN(milliseconds) ? undefined : RangeError);
}
