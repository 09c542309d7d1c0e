/** The common parts of the verbs: the options of a call, and the handling of failures. */
import type { StoreError } from "../../drivers/driver.ts";
import { invalid } from "../base/check.ts";
import { hookError, toStoreError } from "../base/foreign_error.ts";
import { parseTimeout, type Timeout } from "../base/ttl.ts";
import type { OnError } from "../config/options.ts";
import type { CacheEvent, CacheTarget } from "../telemetry/events.ts";
import type { CacheTelemetry, CallDefaults, Host } from "./context.ts";

/** Options of every operation. */
export interface CallOptions {
  /** The deadline of the operation, whatever the store does: milliseconds, or `"2s"`. @default the client's, 500 */
  readonly timeout?: Timeout;
  /** The reaction to a store that is away. @default the client's, "miss" */
  readonly onError?: OnError;
}

/** Options of reads. */
export interface ReadOptions extends CallOptions {
  /** `false` skips the near cache and asks the store. @default true */
  readonly near?: boolean;
}

/**
 * Returns the milliseconds until an operation ends.
 *
 * @throws {TypeError | RangeError} For bad options of a call.
 */
export function timeoutOf(defaults: Pick<CallDefaults, "timeout">, options: ReadOptions | undefined): number {
  if (!options) return defaults.timeout;
  if (typeof options !== "object") throw invalid("use the options", options, "an object");
  const { timeout = defaults.timeout, onError = "miss", near = true } = options;
  if (onError !== "miss" && onError !== "throw") throw invalid("use onError", onError, '"miss" or "throw"');
  if (typeof near !== "boolean") throw invalid("use near", near, "true or false");
  return parseTimeout(timeout);
}

/** Returns whether a failure is to be thrown. */
export function throws(defaults: CallDefaults, options: CallOptions | undefined): boolean {
  return (options?.onError ?? defaults.onError) === "throw";
}

/** Counts and reports a failure, then throws it if the caller wants that. */
export function reportFailure(
  context: CallDefaults & CacheTelemetry,
  operation: string,
  thrown: unknown,
  options: CallOptions | undefined,
): undefined {
  const error = report(context, operation, thrown);
  if (throws(context, options)) throw error;
}

/** Counts and reports a failure. */
export function report(context: CacheTelemetry, operation: string, thrown: unknown): StoreError {
  const error = toStoreError(thrown);
  context.counters.errors++;
  emit(context, { type: "error", operation, error });
  return error;
}

/** An event without its target. */
type Untargeted<E> = E extends CacheTarget ? Omit<E, keyof CacheTarget> : never;

/** Emits an event of a cache. */
export function emit({ events, target }: CacheTelemetry, event: Untargeted<CacheEvent>): void {
  events.emit({ ...event, ...target } as CacheEvent);
}

/** Waits for a reply and counts how long it took. If the store fails, counts and reports the failure and throws it. */
export async function timed<T>(context: CacheTelemetry, operation: string, sent: Promise<T>): Promise<T> {
  const start = performance.now();
  let reply: T;
  try {
    reply = await sent;
  } catch (error) {
    throw report(context, operation, error);
  }
  context.counters.time(performance.now() - start);
  return reply;
}

/** Waits as {@linkcode timed} does, but returns `undefined` for a failure, unless the caller wants it thrown. */
export function settle<T>(
  context: CallDefaults & CacheTelemetry,
  operation: string,
  sent: Promise<T>,
  options: CallOptions | undefined,
): Promise<T | undefined> {
  return timed(context, operation, sent).catch((error) => {
    if (throws(context, options)) throw error;
    return undefined;
  });
}

/**
 * Hands work that goes on after the response to the application's `waitUntil`, if the application has one. An error of
 * `waitUntil` is reported and has no other effect.
 */
export function handOver(context: Host & CacheTelemetry, work: Promise<unknown>): void {
  const { waitUntil } = context;
  if (!waitUntil) return;
  const fail = (thrown: unknown): void => {
    const hint = '; it is called without a "this": hand over (promise) => context.waitUntil(promise)';
    report(context, "waitUntil", hookError("waitUntil", thrown, thrown instanceof TypeError ? hint : ""));
  };
  try {
    const answer: unknown = waitUntil(work);
    if (answer instanceof Promise) answer.catch(fail);
  } catch (thrown) {
    fail(thrown);
  }
}
