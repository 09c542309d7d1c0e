/**
 * The meaning of the states of limits, which the script `rateLimit` keeps and returns.
 *
 * Algorithm `f` counts in windows that begin with their first request, and `c` is `f` without a limit to speak of. `s`
 * counts in aligned windows and weighs the window before. `t` is a bucket that fills evenly.
 *
 * @module
 */

/** A limit by its parts: in the script, `f60000:5` is algorithm `f`, 60,000 ms and 5. */
export interface Limit {
  readonly kind: string;
  /** Milliseconds. */
  readonly window: number;
  readonly limit: number;
}

/**
 * The state of a limit. For `f`: the window's end, the count, 0. For `s`: the window's number, its count, the count of
 * the window before. For `t`: the time, how much is missing in tokens times window, 0.
 */
export type LimitState = readonly [at: number, n: number, p: number];

/** Returns what a state has become at a later moment. */
export function stateAt({ kind, window, limit }: Limit, [at, n, p]: LimitState, now: number): LimitState {
  if (kind === "s") {
    const index = Math.floor(now / window);
    if (at >= index) return [index, n, p];
    return [index, 0, at === index - 1 ? n : 0];
  }
  if (kind === "t") return [now, Math.max(0, n - Math.max(0, now - at) * limit), p];
  if (at <= now || n === 0) return [now + window, 0, p];
  return [Math.min(at, now + window), n, p];
}

/**
 * Returns how much is left, and the milliseconds until the state is whole and until `need` has room. The last has no
 * meaning if `need` has room now.
 */
export function roomOf(
  { kind, window, limit }: Limit,
  [at, n, p]: LimitState,
  need: number,
  now: number,
): [free: number, reset: number, wait: number] {
  if (kind === "t") {
    const level = limit * window - n;
    return [Math.floor(level / window), Math.ceil(n / limit), Math.ceil((need * window - level) / limit)];
  }
  if (kind !== "s") return [limit - n, n > 0 ? at - now : 0, at - now];
  const rest = (at + 1) * window - now;
  const free = (limit - n - need) * window;
  let wait = rest;
  if (p > 0 && free >= 0) wait = rest - Math.floor(free / p);
  else if (n > 0) wait = rest + window - Math.min(window, Math.floor(((limit - need) * window) / n));
  return [Math.floor(((limit - n) * window - p * rest) / window), n > 0 ? rest + window : p > 0 ? rest : 0, wait];
}
