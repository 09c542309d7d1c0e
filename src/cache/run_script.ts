import type { Reply, Script } from "../../drivers/driver.ts";
import { type CallOptions, timed, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";

/**
 * Runs a script that changes a key.
 *
 * @param context The parts of the cache.
 * @param script The script.
 * @param logical The logical key, the script's only key.
 * @param args The script's arguments.
 * @param options Deadline, and whether the script may be sent again.
 * @returns The script's reply.
 * @throws {StoreError} Whenever it fails.
 */
export async function runScript(
  context: CacheContext,
  script: Script,
  logical: string,
  args: readonly (string | number)[],
  options?: CallOptions & { readonly idempotent?: boolean },
): Promise<Reply> {
  const key = context.space.key(logical);
  const timeout = timeoutOf(context, options);
  context.loads.supersede(key);
  return timed(context, script.name, context.batch.run(script, [key], args, timeout, options?.idempotent ?? false));
}
