import { invalid } from "../base/check.ts";
import { type Id, limitKey } from "../entry/keyspace.ts";
import type { CacheContext } from "./context.ts";
import type { RateLimits, rateLimits } from "./rate_limits.ts";
import { runScript } from "./run_script.ts";
import { unlink } from "./unlink.ts";

/** Returns the verbs of rate limits, whose states are stored next to the keys. */
export function limitsOf<K extends Id>(context: CacheContext): RateLimits<K> {
  const make = context.rateLimits as typeof rateLimits | undefined;
  if (!make) throw invalid("limit rates", make, "a client of the core with the option rateLimits");
  const keyOf = (id: K): string => limitKey(context.shape.encode(id));
  return make<K>(
    (id) => {
      const key = keyOf(id);
      return (script, args, options) => runScript(context, script, key, args, options);
    },
    (id, options) => unlink(context, "resetRateLimit", [keyOf(id)], options),
  );
}
