import { checkFunction, invalid } from "../base/check.ts";
import { CacheConflictError } from "../base/errors.ts";
import { type EntryOptions, policyOf } from "../config/policy.ts";
import type { Id } from "../entry/keyspace.ts";
import { targetName } from "../telemetry/events.ts";
import { type CallOptions, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";
import { entryOf, outputOf } from "./make_entry.ts";
import { peek } from "./read.ts";
import { write } from "./write.ts";

/** Options of {@linkcode Cache.update}. */
export interface UpdateOptions extends CallOptions, EntryOptions {
  /** The number of times to try the change before giving up. @default 10 */
  readonly attempts?: number;
}

/** Reads, changes and writes a value, and starts again if another writer came between: see {@linkcode Cache.update}. */
export async function update(
  context: CacheContext,
  id: Id,
  change: (current: unknown) => unknown,
  options: UpdateOptions = {},
): Promise<unknown> {
  const key = context.shape.encode(id);
  const timeout = timeoutOf(context, options);
  const policy = policyOf(context.policy, options, true);
  const { attempts = 10 } = options;
  const operation = "update";
  checkFunction(change, "a change");
  if (!(typeof attempts === "number" && attempts >= 1)) {
    throw invalid("update", attempts, "attempts from 1 on");
  }
  for (let attempt = 0; attempt < attempts; attempt++) {
    const found = await peek(context, key, operation, options);
    if (found.failed) return undefined;
    const current = found.state === "fresh" ? found.value : undefined;
    const next = await change(current);
    if (next === undefined) return current;
    const output = await outputOf(context, next);
    const origin = { expected: found.text };
    const entry = entryOf(context, id, key, next, policy, origin, true);
    const written = await write(context, { key, entry, policy, origin, operation, timeout, options });
    if (written) return output;
    if (written === undefined) return undefined;
    if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * 2 ** Math.min(attempt, 6)));
  }
  const name = targetName(context.target);
  throw new CacheConflictError(`Cannot update ${name}: other writers were faster ${attempts} times`);
}
