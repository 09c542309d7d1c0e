/**
 * Rate limits, an option of clients of the core. The other clients include them.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder/core";
 * import { memory } from "@foodfast/larder/drivers/memory";
 * import { rateLimits } from "@foodfast/larder/rate-limits";
 *
 * await using client = createCacheClient({ driver: memory(), rateLimits });
 * const { allowed } = await client.cache().checkRateLimit("login:u1", { limit: 5, window: "1m" });
 * console.log(allowed); // true
 * ```
 *
 * @module
 */
import type { Reply, Script } from "../../drivers/driver.ts";
import { checkNames, checkWhole, invalid } from "../base/check.ts";
import { isCacheError } from "../base/errors.ts";
import { type Duration, parseDuration, type Timeout } from "../base/ttl.ts";
import { rateLimit } from "../lua/rate_limit.ts";
import type { CallOptions } from "./call.ts";

/**
 * The answer of a limit while the store is away: let the request pass, refuse it, or throw the `StoreError`. In every
 * case an event and the error counter report it, and `available` is `false`.
 */
export type WhenUnavailable = "allow" | "deny" | "throw";

/** Options of every limit. */
export interface LimitOptions {
  /** The answer while the store is away. @default "deny" */
  readonly onUnavailable?: WhenUnavailable;
  /** The deadline of the operation: milliseconds, or a string with a unit. @default the client's, 500 */
  readonly timeout?: Timeout;
}

/** Options of {@linkcode RateLimits.incrementRateLimit}. */
export interface RateCountOptions extends LimitOptions {
  /**
   * The length of a window, up to 30 days. It begins with its first request. Each length has a count of its own.
   * @default "1m"
   */
  readonly window?: Duration;
  /** The amount: an integer from 1. `decrementRateLimit` also takes 0, which only reads the count. @default 1 */
  readonly by?: number;
}

/** A count within its window. */
export interface RateCount {
  /** The count. While the store is away: `Infinity` with "deny", 0 with "allow". */
  readonly count: number;
  /** The end of the window, by the store's clock; now if nothing is counted. */
  readonly resetAt: Date;
  /** `true` if the store answered. */
  readonly available: boolean;
}

/** A limit. */
export interface RateLimit {
  /** The number of requests that a window takes: an integer from 1 to 1,000,000. */
  readonly limit: number;
  /** The length of the window, up to 30 days. */
  readonly window: Duration;
  /**
   * `"fixed"`: counts in windows that begin with their first request. `"sliding"`: counts in windows of the clock and
   * weighs the one before, so that a span of one window's length takes `limit` if requests come evenly, and always
   * less than twice that. `"token-bucket"`: allows bursts of `limit`, refilled evenly. @default "fixed"
   */
  readonly algorithm?: "fixed" | "sliding" | "token-bucket";
}

/** Options of a request that one or several limits decide on. */
export interface RateRequestOptions extends LimitOptions {
  /**
   * The cost of the request: an integer from 0 to 1,000,000. 0 counts nothing and finds out whether a request of 1
   * would pass. @default 1
   */
  readonly cost?: number;
}

/** A limit, and the options of its request. */
export interface RateLimitOptions extends RateLimit, RateRequestOptions {}

/** The state of a limit after a request. */
export interface RateLimitState {
  /** `true` if the request may pass as far as this limit is concerned. */
  readonly allowed: boolean;
  /** The limit. */
  readonly limit: number;
  /** The number of requests that may still pass now. */
  readonly remaining: number;
  /** The time when the whole limit is available again, by the store's clock. */
  readonly resetAt: Date;
  /** Seconds, rounded up, until a request of this cost may pass; 0 if it may now, `Infinity` if it never may. */
  readonly retryAfter: number;
}

/** The decision of a limit. */
export interface RateLimitResult extends RateLimitState {
  /** `true` if the store answered. */
  readonly available: boolean;
}

/** The decision of several limits. `allowed` and the fields next to it are those of the limit that decided. */
export interface RateLimitsResult extends RateLimitResult {
  /**
   * The index of the limit that decided: of those that refuse, the one with the longest wait. If none refuses, it is
   * the one with the fewest remaining requests.
   */
  readonly decidedBy: number;
  /** The state of each limit, in the order of the list. */
  readonly limits: readonly RateLimitState[];
}

/**
 * The verbs of rate limits. Each is one atomic step and one round trip, by the store's clock. Counts are not entries:
 * `keys`, `clear` and invalidations do not find them. The service `auth` is different, because it keeps them in its
 * collection `rateLimits`. A count ends with its window.
 *
 * Limits of one key are independent if their window or algorithm differs. Another `limit` of the same window and
 * algorithm, as after a change of configuration, continues from what was counted. Once both are in use, each has a
 * count of its own.
 *
 * While the store is away, they answer what `onUnavailable` says: by default that the request may not pass.
 *
 * @typeParam K The keys.
 */
export interface RateLimits<K> {
  /**
   * Counts a request. The end of the window is set once, by its first request. A request is never counted twice.
   *
   * @param key What to count by, such as `"api:203.0.113.7"`.
   * @param options Window, amount, deadline, and the answer while the store is away.
   * @returns The count, and the end of the window.
   * @throws {TypeError | RangeError} For a bad key, window or amount, and for a count beyond 2^53 - 1. Then nothing is
   * counted.
   */
  incrementRateLimit(key: K, options?: RateCountOptions): Promise<RateCount>;
  /**
   * Gives back what several limits counted, in all of them.
   *
   * @param key What was limited.
   * @param limits The limits.
   * @param options How much to give back (`cost`, from 1), deadline, and the answer while the store is away.
   * @returns The state of the limits, and whether a request of 1 would pass.
   * @throws {TypeError | RangeError} For a bad key, limit or option.
   */
  decrementRateLimit(key: K, limits: readonly RateLimit[], options?: RateRequestOptions): Promise<RateLimitsResult>;
  /**
   * Gives back what a limit counted, for requests that do not count in the end, such as logins that succeeded.
   *
   * @param key What was limited.
   * @param limit The limit, how much to give back (`cost`, from 1), deadline, and the answer while the store is away.
   * @returns The state of the limit, and whether a request of 1 would pass.
   * @throws {TypeError | RangeError} For a bad key or option.
   */
  decrementRateLimit(key: K, limit: RateLimitOptions): Promise<RateLimitResult>;
  /**
   * Gives back what `incrementRateLimit` counted, never below 0.
   *
   * @param key What was counted by.
   * @param options Window, amount, deadline, and the answer while the store is away.
   * @returns The count, and when the window ends.
   * @throws {TypeError | RangeError} For a bad key, window or amount.
   */
  decrementRateLimit(key: K, options?: RateCountOptions): Promise<RateCount>;
  /**
   * Decides by several limits whether a request may pass. If all of them let it pass, it counts in all of them; else in
   * none.
   *
   * @param key What to limit by, such as `"login:user@example.com"`.
   * @param limits 1 to 16 limits that differ, each with `limit`, `window` and `algorithm`.
   * @param options Cost, deadline, and the answer while the store is away.
   * @returns The decision, the limit that decided, and the state of each.
   * @throws {TypeError | RangeError} For a bad key, limit or option.
   *
   * @example
   * ```ts
   * import { createCacheClient } from "@foodfast/larder";
   *
   * await using client = createCacheClient({ driver: "memory" });
   * const limits = [{ limit: 5, window: "1m" }, { limit: 100, window: "1d" }] as const;
   * const { allowed, decidedBy, retryAfter } = await client.cache().checkRateLimit("login:u1", limits);
   * console.log(allowed, limits[decidedBy]?.window, retryAfter); // true "1m" 0
   * ```
   */
  checkRateLimit(key: K, limits: readonly RateLimit[], options?: RateRequestOptions): Promise<RateLimitsResult>;
  /**
   * Decides whether a request may pass, and counts it if so.
   *
   * @param key What to limit by, such as `"login:user@example.com"`.
   * @param options Limit, window, algorithm, cost, deadline, and the answer while the store is away.
   * @returns The decision.
   * @throws {TypeError | RangeError} For a bad key or option.
   */
  checkRateLimit(key: K, options: RateLimitOptions): Promise<RateLimitResult>;
  /**
   * Forgets what was counted for a key: every count, by every limit, window and algorithm.
   *
   * @param key What was limited.
   * @param options Deadline and error handling.
   * @returns Whether anything was forgotten.
   */
  resetRateLimit(key: K, options?: CallOptions): Promise<boolean>;
}

/** Runs a script on the state of a key. Rejects when the store is away. */
export type Limiter = (
  script: Script,
  args: readonly (string | number)[],
  options: CallOptions & { readonly idempotent: boolean },
) => Promise<Reply>;

/** The names of the algorithms in the script. */
const ALGORITHMS: Readonly<Record<string, string>> = { fixed: "f", sliding: "s", "token-bucket": "t" };
const OF_CALLS = ["onUnavailable", "timeout"];
const OF_COUNTS = ["window", "by", ...OF_CALLS];
const OF_REQUESTS = ["cost", ...OF_CALLS];
const OF_LIMITS = ["limit", "window", "algorithm"];

/** A month. Its product with the highest limit is still an exact integer. */
const LONGEST_WINDOW = 30 * 864e5;
const WINDOWS = 'seconds as a number, or a string such as "30s" "5m" "2h" "1d", above 0 and at most 30 days';
const HIGHEST_LIMIT = 1e6;
const MOST_LIMITS = 16;

/**
 * Makes the verbs: the option `rateLimits` of a client of the core.
 *
 * @typeParam K The keys.
 * @param limiter Runs scripts on the state of a key. @throws {TypeError} For a bad key.
 * @param forget Deletes the state of a key, and returns how many states existed.
 * @returns The verbs.
 */
export function rateLimits<K>(
  limiter: (key: K) => Limiter,
  forget: (key: K, options?: CallOptions) => Promise<number>,
): RateLimits<K> {
  return {
    incrementRateLimit: async (key, options) => countRate(limiter(key), 1, options),
    decrementRateLimit: async (key: K, given?: object, options?: RateRequestOptions) =>
      Array.isArray(given) || Object.hasOwn(given ?? {}, "limit")
        ? checkRate(limiter(key), -1, given as RateLimitOptions, options)
        : countRate(limiter(key), -1, given),
    checkRateLimit: async (key: K, given: RateLimitOptions, options?: RateRequestOptions) =>
      checkRate(limiter(key), 1, given, options),
    resetRateLimit: async (key, options) => (await forget(key, options)) > 0,
  } as RateLimits<K>;
}

/** Counts with sign 1, gives back with sign -1. */
async function countRate(run: Limiter, sign: number, options: RateCountOptions = {}): Promise<RateCount> {
  checkNames(options, OF_COUNTS, "a count");
  const { window = "1m", by = 1 } = options;
  const most = Number.MAX_SAFE_INTEGER;
  const ms = windowOf(window);
  checkWhole(by, "by", sign > 0 ? 1 : 0, most);
  const reply = await ask(run, by * sign, [`c${ms}:${most}`], options);
  if (!reply) {
    const count = options.onUnavailable === "allow" ? 0 : Number.POSITIVE_INFINITY;
    return { count, resetAt: new Date(Date.now() + ms), available: false };
  }
  const [[ok, room, reset] = [], now] = reply as [number[], number];
  if (!ok && sign > 0) throw invalid("count more", by, `a count up to ${most}`);
  return { count: most - (room as number), resetAt: new Date(now + (reset as number)), available: true };
}

/** Asks one limit or several with sign 1, gives back with sign -1. */
async function checkRate(
  run: Limiter,
  sign: number,
  given: RateLimitOptions | readonly RateLimit[],
  options?: RateRequestOptions,
): Promise<RateLimitsResult | RateLimitResult> {
  const several = Array.isArray(given);
  const call: RateRequestOptions = { ...(several ? {} : (given as RateLimitOptions)), ...options };
  const list = (several ? given : [given ?? {}]) as readonly RateLimit[];
  const { cost = 1, onUnavailable } = call;
  if (list.length < 1 || list.length > MOST_LIMITS) {
    throw invalid("check limits", list.length, `1 to ${MOST_LIMITS} of them`);
  }
  checkNames(
    several || typeof given === "object" ? call : given,
    several ? OF_REQUESTS : [...OF_LIMITS, ...OF_REQUESTS],
    "a rate limit",
  );
  const windows: number[] = [];
  const names = list.map((one) => {
    if (several) checkNames(one, OF_LIMITS, "one of several limits");
    const { limit, algorithm = "fixed" } = one;
    checkWhole(limit, "limit", 1, HIGHEST_LIMIT);
    if (!Object.hasOwn(ALGORITHMS, algorithm)) {
      throw invalid("set algorithm", algorithm, `one of ${Object.keys(ALGORITHMS).join(", ")}`);
    }
    const window = windowOf(one.window);
    windows.push(window);
    return `${ALGORITHMS[algorithm]}${window}:${limit}`;
  });
  if (new Set(names).size < names.length) {
    throw invalid("check limits", names.join(), "limits that differ in limit, window or algorithm");
  }
  checkWhole(cost, "cost", sign > 0 ? 0 : 1, HIGHEST_LIMIT);
  const reply = await ask(run, cost * sign, names, call);
  const now = reply?.at(-1) as number | undefined;
  const limits = list.map(({ limit }, i): RateLimitState => {
    const state = reply?.[i] as number[] | undefined;
    const allowed = onUnavailable === "allow";
    if (!state || now === undefined) {
      const resetAt = new Date(Date.now() + (windows[i] as number));
      return { allowed, limit, remaining: 0, resetAt, retryAfter: allowed ? 0 : 1 };
    }
    const [ok, remaining = 0, reset = 0, wait = 0] = state;
    const retryAfter = wait < 0 ? Number.POSITIVE_INFINITY : Math.ceil(wait / 1000);
    return { allowed: ok === 1, limit, remaining, resetAt: new Date(now + reset), retryAfter };
  });
  let decidedBy = 0;
  limits.forEach(({ remaining, retryAfter }, i) => {
    const decides = limits[decidedBy] as RateLimitState;
    const more = retryAfter - decides.retryAfter;
    if (more > 0 || (more === 0 && remaining < decides.remaining)) decidedBy = i;
  });
  const result = { ...(limits[decidedBy] as RateLimitState), available: now !== undefined };
  return several ? { ...result, decidedBy, limits } : result;
}

/**
 * Returns the script's reply with its texts as numbers; `undefined` if the store is away and the caller chose an answer
 * for that.
 */
async function ask(
  run: Limiter,
  cost: number,
  names: readonly string[],
  { onUnavailable = "deny", timeout }: LimitOptions,
): Promise<(number[] | number)[] | undefined> {
  if (!["allow", "deny", "throw"].includes(onUnavailable)) {
    throw invalid("set onUnavailable", onUnavailable, "one of allow, deny, throw");
  }
  try {
    const options = { idempotent: cost === 0, ...(timeout !== undefined && { timeout }) };
    const reply = (await run(rateLimit, [cost, ...names], options)) as readonly (string | number)[];
    return reply.map((part) => (typeof part === "string" ? part.split(" ").map(Number) : part));
  } catch (error) {
    if (!isCacheError(error) || onUnavailable === "throw") throw error;
    return undefined;
  }
}

function windowOf(window: Duration): number {
  const ms = parseDuration(window, "window", WINDOWS);
  if (ms !== undefined && ms <= LONGEST_WINDOW) return ms;
  throw invalid("set window", window, WINDOWS, RangeError);
}
