/** The types of rate limits: their options, their answers and their verbs. */
import type { Duration, Timeout } from "../base/ttl.ts";
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
  /**
   * The longest time for which this process refuses a key by what the store last said of it, without asking again:
   * seconds, or a string with a unit; `"forever"` for as long as the limit refuses; `false` to ask each time. Requests
   * that may pass always ask. A key that another client or process resets is refused here for up to this time.
   * @default "1s"
   */
  readonly rememberFor?: Duration | false;
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
  /** `true` if the store answered: now, or within `rememberFor` if it refused. */
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
 * The verbs of rate limits. Each is one atomic step and one round trip, by the store's clock. What the store refused is
 * refused without a round trip for a second (`rememberFor`). Counts are not entries: `keys`, `clear` and invalidations
 * do not find them. The service `auth` is different, because it keeps them in its collection `rateLimits`. A count ends
 * with its window.
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
