import { needed } from "../base/check.ts";
import { type Id, limitKey } from "../entry/keyspace.ts";
import type { CacheContext } from "./context.ts";
import type { RateLimits, rateLimits } from "./rate_limits.ts";

/** The verbs of each cache, made when it first limits something. */
const verbs = new WeakMap<CacheContext, RateLimits<never>>();

/** Returns the verbs of rate limits, whose states are stored next to the keys. */
export function limitsOf<K extends Id>(context: CacheContext): RateLimits<K> {
  const known = verbs.get(context) as RateLimits<K> | undefined;
  if (known) return known;
  const make = needed(context.rateLimits as typeof rateLimits | undefined, "limit rates", "rateLimits");
  const made = make<K>(context, (id) => limitKey(context.shape.encode(id)));
  verbs.set(context, made);
  return made;
}
