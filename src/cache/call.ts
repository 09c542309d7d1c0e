/** What the verbs have in common: the options of a call, and what becomes of a failure. */
import type { StoreError } from "../../drivers/driver.ts";
import { describe, refuse } from "../base/check.ts";
import { hookError, toStoreError } from "../base/foreign_error.ts";
import { parseTimeout, type Timeout } from "../base/ttl.ts";
import type { OnError } from "../config/options.ts";
import type { CacheContext } from "./context.ts";

/** Options of every operation. */
export interface CallOptions {
  /** How long until the operation ends, whatever the store does: milliseconds, or `"2s"`. @default the client's, 500 */
  readonly timeout?: Timeout;
  /** What to do when the store is away. @default the client's, "miss" */
  readonly onError?: OnError;
}

/** Options of reads. */
export interface ReadOptions extends CallOptions {
  /** `false` passes the near cache by, and asks the store. @default true */
  readonly near?: boolean;
}

/** The milliseconds until an operation ends. Throws for bad options of a call. */
export function timeoutOf(context: Pick<CacheContext, "timeout">, options: ReadOptions | undefined): number {
  if (!options) return context.timeout;
  if (typeof options !== "object") refuse(`options ${describe(options)}`, "objects");
  const { timeout = context.timeout, onError = "miss", near = true } = options;
  if (onError !== "miss" && onError !== "throw") refuse(`onError ${describe(onError)}`, "miss and throw");
  if (typeof near !== "boolean") refuse(`near ${describe(near)}`, "true and false");
  return parseTimeout(timeout);
}

/** Counts and tells of a failure, then throws it where the caller wants that. */
export function failed(
  context: CacheContext,
  operation: string,
  thrown: unknown,
  options: CallOptions | undefined,
): undefined {
  const error = report(context, operation, thrown);
  if (throws(context, options)) throw error;
}

/** Counts and tells of a failure. */
export function report({ counters, events, target }: CacheContext, operation: string, thrown: unknown): StoreError {
  const error = toStoreError(thrown);
  counters.errors++;
  events.emit({ type: "error", operation, error, ...target });
  return error;
}

/** Whether a failure is to be thrown. */
export function throws(context: CacheContext, options: CallOptions | undefined): boolean {
  return (options?.onError ?? context.onError) === "throw";
}

/**
 * Hands over what goes on after the response, where the application takes it. What its function throws is told, and
 * costs nothing else.
 */
export function handOver(context: CacheContext, work: Promise<unknown>): void {
  const { waitUntil } = context;
  if (!waitUntil) return;
  const tell = (thrown: unknown): void => {
    const hint = '; it is called without a "this": hand over (promise) => context.waitUntil(promise)';
    report(context, "waitUntil", hookError("waitUntil", thrown, thrown instanceof TypeError ? hint : ""));
  };
  try {
    const answer: unknown = waitUntil(work);
    if (answer instanceof Promise) answer.catch(tell);
  } catch (thrown) {
    tell(thrown);
  }
}
