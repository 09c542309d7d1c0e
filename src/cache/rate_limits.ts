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
import { checkRate, countRate, type Place } from "./check_rate.ts";
import type { CacheContext } from "./context.ts";
import type { RateLimitOptions, RateLimits, RateRequestOptions } from "./rate_limit_types.ts";
import { RefusalMemory } from "./refusals.ts";
import { unlink } from "./unlink.ts";

export type {
  LimitOptions,
  RateCount,
  RateCountOptions,
  RateLimit,
  RateLimitOptions,
  RateLimitResult,
  RateLimitState,
  RateLimits,
  RateLimitsResult,
  RateRequestOptions,
  WhenUnavailable,
} from "./rate_limit_types.ts";

/** The most physical keys that the verbs of a cache remember. */
const MADE_KEYS = 1000;

/**
 * Makes the verbs: the option `rateLimits` of a client of the core.
 *
 * @typeParam K The keys.
 * @param parts The parts of the cache: a `CacheContext`.
 * @param keyOf Returns the logical key of the state of a key. @throws {TypeError} For a bad key.
 * @returns The verbs.
 */
export function rateLimits<K>(parts: object, keyOf: (key: K) => string): RateLimits<K> {
  const context = parts as CacheContext;
  // All caches of one database share it, and forget together.
  const refusals = context.remembered(() => new RefusalMemory());
  context.nears.add(refusals);
  const place: Place = { context, refusals };
  // A flood asks for few keys, and each is made once.
  const keys = new Map<K, string>();
  const keyAt = (key: K): string => {
    const known = keys.get(key);
    if (known !== undefined) return known;
    const made = context.space.key(keyOf(key));
    if (typeof key !== "string") return made;
    if (keys.size >= MADE_KEYS) keys.clear();
    keys.set(key, made);
    return made;
  };
  return {
    incrementRateLimit: async (key, options) => countRate(place, keyAt(key), 1, options),
    decrementRateLimit: async (key: K, given?: object, options?: RateRequestOptions) =>
      Array.isArray(given) || Object.hasOwn(given ?? {}, "limit")
        ? checkRate(place, keyAt(key), -1, given as RateLimitOptions, options)
        : countRate(place, keyAt(key), -1, given),
    checkRateLimit(key: K, given: RateLimitOptions, options?: RateRequestOptions) {
      try {
        return checkRate(place, keyAt(key), 1, given, options);
      } catch (error) {
        return Promise.reject(error);
      }
    },
    resetRateLimit: async (key, options) => (await unlink(context, "resetRateLimit", [keyOf(key)], options)) > 0,
  } as RateLimits<K>;
}
