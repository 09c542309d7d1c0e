import { checkNames, invalid } from "../base/check.ts";
import type { Ttl } from "../base/ttl.ts";
import { policyOf } from "../config/policy.ts";
import type { Id } from "../entry/keyspace.ts";
import { increment as script } from "../lua/entries.ts";
import { type CallOptions, settle, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";

/** Options of {@linkcode Cache.increment}. */
export interface IncrementOptions extends CallOptions {
  /** The TTL of a counter that has none, in the forms of every TTL. @default the collection's, or CACHE_TTL_DEFAULT */
  readonly ttl?: Ttl;
  /** The number to add; a safe integer, negative to subtract. @default 1 */
  readonly by?: number;
}

/** Adds to a counter: see {@linkcode Cache.increment}. */
export async function incrementCounter(
  context: CacheContext,
  id: Id,
  options: IncrementOptions | undefined,
): Promise<number> {
  const { batch, loads, space, shape, policy, now, counters } = context;
  const { by = 1 } = options ?? {};
  const action = "increment a counter";
  if (options) checkNames(options, ["by", "ttl", "timeout", "onError"], "increment");
  if (!Number.isSafeInteger(by)) throw invalid(action, by, "a safe integer", TypeError);
  const { ttl } = policyOf(policy, options?.ttl === undefined ? undefined : { ttl: options.ttl });
  const logical = shape.encode(id);
  const shard = space.of(logical);
  const key = shard.key(logical);
  const args = [by, ttl < Number.POSITIVE_INFINITY ? ttl : 0, shard.marksPrefix, Math.floor(now())];
  const timeout = timeoutOf(context, options);
  loads.supersede(key);
  const sent = batch.run(script, [key], args, timeout, false, [shard.epochKey]);
  const reply = await settle(context, script.name, sent, options);
  if (reply === undefined) return 0;
  const [count] = reply as (string | null)[];
  const most = Number.MAX_SAFE_INTEGER;
  if (count == null) throw invalid(action, by, `a count from -${most} to ${most}`);
  counters.writes++;
  return Number(count);
}
