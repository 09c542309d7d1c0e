/**
 * Times to live: what callers and variables may write, and the milliseconds that the store gets.
 *
 * @module
 */

/** The units of a TTL: milliseconds, seconds, minutes, hours, days. */
export type TtlUnit = "ms" | "s" | "m" | "h" | "d";

/** A time to live: a number of seconds, a string with its unit (`"500ms" "30s" "5m" "2h" "1d"`), or `"forever"`. */
export type Ttl = number | `${number}${TtlUnit}` | "forever";

/** What {@linkcode parseTtl} accepts, in words. */
export const TTL_ACCEPTED =
  'seconds as a number, a string such as "500ms" "30s" "5m" "2h" "1d", above 0 and at most 100 years, or "forever"';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 };
const MAX = 36_525 * 864e5;

/** Shows a value in an error message: strings quoted and cut at 60 characters, objects and functions by their type. */
export function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  return Object(value) === value ? typeof value : String(value);
}

/**
 * Turns a TTL into milliseconds.
 *
 * @param ttl The TTL. Numbers are seconds; fractions are fine in both forms.
 * @param what What the TTL belongs to, for the error message. @default "ttl"
 * @returns Whole milliseconds, rounded up, at least 1; `undefined` for `"forever"`.
 * @throws {RangeError} When the TTL is zero, negative, not finite or longer than 100 years.
 * @throws {TypeError} When it is neither a number nor a string with a unit.
 *
 * @example
 * ```ts
 * import { parseTtl } from "@foodfast/larder";
 *
 * parseTtl("1.5h"); // 5400000
 * parseTtl(30); // 30000
 * parseTtl("forever"); // undefined
 * ```
 */
export function parseTtl(ttl: Ttl, what = "ttl"): number | undefined {
  if (ttl === "forever") return undefined;
  const [, amount, unit = ""] = (typeof ttl === "string" && /^(-?\d+(?:\.\d+)?)(ms|[smhd])$/.exec(ttl)) || [];
  // 15 digits drop the noise of binary fractions: 1.1 h is 3960000 ms, not 3960001.
  const product = typeof ttl === "number" ? ttl * 1e3 : Number(amount) * (UNITS[unit] ?? Number.NaN);
  const milliseconds = Math.ceil(Number(product.toPrecision(15)));
  if (product > 0 && milliseconds <= MAX) return milliseconds;
  const kind = typeof ttl === "number" || unit ? RangeError : TypeError;
  throw new kind(`Cannot use ${what} ${describe(ttl)}: expected ${TTL_ACCEPTED}`);
}
