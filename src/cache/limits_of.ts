import { needed } from "../base/check.ts";
import { type Id, limitKey } from "../entry/keyspace.ts";
import type { CacheContext } from "./context.ts";
import type { RateLimits, rateLimits } from "./rate_limits.ts";

/** Returns the verbs of rate limits, whose states are stored next to the keys. */
export function limitsOf<K extends Id>(context: CacheContext): RateLimits<K> {
  const make = needed(context.rateLimits as typeof rateLimits | undefined, "limit rates", "rateLimits");
  context.limits ??= make<K>(context, (id) => limitKey(context.shape.encode(id)));
  return context.limits as RateLimits<K>;
}
