import type { Reply } from "../../drivers/driver.ts";
import type { Id } from "../entry/keyspace.ts";
import { touch as script } from "../lua/entries.ts";
import { type CallOptions, settle, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";

/**
 * Gives an entry a TTL, or takes it away.
 *
 * @param context The parts of the cache.
 * @param operation The operation, for events.
 * @param id The id.
 * @param ms The TTL in milliseconds; 0 takes it away.
 * @param options Deadline and error handling.
 * @returns The script's reply; `undefined` if the store is away.
 */
export async function setExpiry(
  context: CacheContext,
  operation: string,
  id: Id,
  ms: number,
  options: CallOptions | undefined,
): Promise<Reply | undefined> {
  const { batch, nears, space, shape, policy, now } = context;
  const logical = shape.encode(id);
  const shard = space.of(logical);
  const key = shard.key(logical);
  const extra = Math.min(Math.max(policy.staleFor, policy.failSafeFor), 1e12);
  const args = [shard.marksPrefix, ms, extra, Math.floor(now())];
  nears.forget(key);
  const sent = batch.run(script, [key], args, timeoutOf(context, options), true, [shard.epochKey]);
  return settle(context, operation, sent, options);
}
