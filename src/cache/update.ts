import { checkFunction, describe } from "../base/check.ts";
import { CacheConflictError } from "../base/errors.ts";
import { isStoreError } from "../base/store_error.ts";
import { type EntryOptions, policyOf } from "../config/policy.ts";
import type { Id } from "../entry/keyspace.ts";
import { placeOf } from "../telemetry/events.ts";
import { type CallOptions, failed, timeoutOf } from "./call.ts";
import { type CacheContext, supersede } from "./context.ts";
import { Look, type Read } from "./read.ts";
import { entryOf, outputOf, save, withEntry } from "./write.ts";

/** Options of {@linkcode Cache.update}. */
export interface UpdateOptions extends CallOptions, EntryOptions {
  /** How often the change may begin anew before it is given up. @default 10 */
  readonly attempts?: number;
}

/** What {@linkcode Cache.update} does. */
export async function update(
  context: CacheContext,
  id: Id,
  change: (current: unknown) => unknown,
  options: UpdateOptions = {},
): Promise<unknown> {
  const { space, shape, batch, counters, target } = context;
  const key = shape.encode(id);
  const timeout = timeoutOf(context, options);
  const policy = policyOf(context.policy, options, true);
  const { attempts = 10 } = options;
  checkFunction(change, "a change");
  if (!(typeof attempts === "number" && attempts >= 1)) {
    throw new RangeError(`cannot try ${describe(attempts)} times: accepted are attempts from 1`);
  }
  for (let attempt = 0; attempt < attempts; attempt++) {
    const read = await new Promise<Read>((resolve, reject) => {
      batch.read(
        new Look(context, key, { ...options, operation: "update", value: true }, resolve, reject),
        context.texts,
      );
    });
    if (read.failed) return undefined;
    const current = read.state === "fresh" ? read.value : undefined;
    const next = await change(current);
    if (next === undefined) return current;
    const output = await outputOf(context, next);
    const entry = entryOf(context, id, key, next, policy, {}, true);
    try {
      const written = await withEntry(context, entry, (ready) => {
        supersede(context, space.key(key));
        return save(context, key, ready, policy, { expected: read.text }, timeout);
      });
      if (written) {
        counters.writes++;
        return output;
      }
    } catch (error) {
      if (!isStoreError(error)) throw error;
      return failed(context, "update", error, options);
    }
    if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * 2 ** Math.min(attempt, 6)));
  }
  throw new CacheConflictError(`cannot update ${placeOf(target)}: other writers were faster ${attempts} times`);
}
