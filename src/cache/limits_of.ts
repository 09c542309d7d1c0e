import { needed } from "../base/check.ts";
import { type Id, limitKey } from "../entry/keyspace.ts";
import type { CacheContext } from "./context.ts";
import type { RateLimits, rateLimits } from "./rate_limits.ts";
import { runScript } from "./run_script.ts";
import { unlink } from "./unlink.ts";

/** Returns the verbs of rate limits, whose states are stored next to the keys. */
export function limitsOf<K extends Id>(context: CacheContext): RateLimits<K> {
  const make = needed(context.rateLimits as typeof rateLimits | undefined, "limit rates", "rateLimits");
  const keyOf = (id: K): string => limitKey(context.shape.encode(id));
  return make<K>(
    (id) => {
      const key = keyOf(id);
      return (script, args, options) => runScript(context, script, key, args, options);
    },
    (id, options) => unlink(context, "resetRateLimit", [keyOf(id)], options),
  );
}
