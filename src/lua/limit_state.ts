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
export interface LimitState {
  readonly at: number;
  readonly n: number;
  readonly p: number;
}

/** The room of a limit. */
export interface Room {
  /** The amount that is left. */
  readonly free: number;
  /** The milliseconds until it is whole. */
  readonly reset: number;
  /** The milliseconds until a request has room; 0 if it has now. */
  readonly wait: number;
}

/** Returns what a state has become at a later moment. */
export function stateAt({ kind, window, limit }: Limit, state: LimitState, now: number): LimitState {
  const { at, n, p } = state;
  if (kind === "t") return { at: now, n: Math.max(0, n - Math.max(0, now - at) * limit), p };
  if (kind === "s") {
    const index = Math.floor(now / window);
    if (at === index) return state;
    return at > index ? { at: index, n, p } : { at: index, n: 0, p: at === index - 1 ? n : 0 };
  }
  const end = now + window;
  if (at <= now || n === 0) return { at: end, n: 0, p };
  return at > end ? { at: end, n, p } : state;
}

/** Returns the room of a state for a request of `need`. */
export function roomOf({ kind, window, limit }: Limit, { at, n, p }: LimitState, need: number, now: number): Room {
  if (kind === "t") {
    const level = limit * window - n;
    const wait = Math.ceil(Math.max(0, need * window - level) / limit);
    return { free: Math.floor(level / window), reset: Math.ceil(n / limit), wait };
  }
  if (kind !== "s") {
    const free = limit - n;
    return { free, reset: n > 0 ? at - now : 0, wait: free < need ? at - now : 0 };
  }
  const rest = (at + 1) * window - now;
  const over = (limit - n - need) * window;
  let wait = rest;
  if (p > 0 && over >= 0) wait = rest - Math.floor(over / p);
  else if (n > 0) wait = rest + window - Math.min(window, Math.floor(((limit - need) * window) / n));
  const free = Math.floor(((limit - n) * window - p * rest) / window);
  return { free, reset: n > 0 ? rest + window : p > 0 ? rest : 0, wait: free < need ? wait : 0 };
}
