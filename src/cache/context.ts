/** What a cache stands on, and what its verbs have in common. */
import type { StoreError } from "../../drivers/driver.ts";
import { describe, refuse } from "../base/check.ts";
import { hookError, toStoreError } from "../base/errors.ts";
import { parseTimeout, type Timeout } from "../base/ttl.ts";
import type { OnError } from "../config/parse_config.ts";
import type { Policy } from "../config/policy.ts";
import type { Known } from "../entry/codec.ts";
import type { Epoch, KeyShape, Keyspace } from "../entry/keyspace.ts";
import type { Schema } from "../entry/schema.ts";
import type { SealOptions } from "../entry/seal.ts";
import { read } from "../lua/entries.ts";
import type { NearCache } from "../near/near_cache.ts";
import type { CacheTarget, Events } from "../telemetry/events.ts";
import type { Counters } from "../telemetry/stats.ts";
import type { Batch, ReadScript } from "../wire/batch.ts";

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

/** A load under way for a key that several callers may wait for. */
export interface Load {
  readonly promise: Promise<unknown>;
  /** The clock from before it: its value is as old as that. */
  readonly epoch: Epoch;
  /** Set when the key was written or deleted meanwhile, or the store is away: the result is handed out, not stored. */
  superseded: boolean;
}

/** Steps that bring the value of an older version up to date: the step of version n gives the value of version n + 1. */
// biome-ignore lint/suspicious/noExplicitAny: stands for values of earlier versions
export type Migrations = Readonly<Record<number, (value: any) => unknown>>;

/** What a cache stands on; made by the client. */
export interface CacheContext {
  readonly target: CacheTarget;
  readonly space: Keyspace;
  readonly shape: KeyShape;
  readonly batch: Batch;
  readonly events: Events;
  readonly counters: Counters;
  /** Loads under way by physical key, shared by the caches of one client and database. */
  readonly loads: Map<string, Load>;
  /** The near caches of one client and database: each forgets what any of its caches writes. */
  readonly nears: Set<NearCache>;
  /** Makes the verbs of rate limits, if the client has them: the function of that name, which stands on this. */
  readonly rateLimits: ((...args: never[]) => object) | undefined;
  readonly near?: NearCache | undefined;
  readonly timeout: number;
  readonly onError: OnError;
  readonly policy: Policy;
  /** Whether each read begins the TTL anew. */
  readonly sliding?: boolean;
  readonly schema?: Schema | undefined;
  readonly version?: number | undefined;
  readonly migrate?: Migrations | undefined;
  readonly sealing?: SealOptions | undefined;
  /** The classes whose instances may be stored. */
  readonly known?: Known | undefined;
  /** Throws for values that must not be stored. */
  readonly refuse?: ((value: unknown) => void) | undefined;
  readonly waitUntil?: ((promise: Promise<unknown>) => void) | undefined;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** How to read where MGET does not tell enough: tagged, sliding and near entries. Set when the first tagged entry is seen. */
  readScript: ReadScript | undefined;
  /** How to read whole entries, or what is known of them, with the store's look at their tags. */
  readonly texts: ReadScript;
  readonly heads: ReadScript;
  /** Settles when the entries that take time to make, as sealed ones do, are made. */
  preparing?: Promise<unknown>;
}

/** How to read entries whose tags the store must look at; `slide` is the TTL to begin anew, in milliseconds. */
export function lookAt(space: Keyspace, slide = 0, headsOnly = false): ReadScript {
  return { script: read, epochKey: space.epochKey, args: [space.marksPrefix, slide, headsOnly ? 1 : 0] };
}

/** What is written or deleted now must not be undone by a load under way, nor be hidden by a near cache. */
export function supersede({ loads, nears }: CacheContext, key: string): void {
  const load = loads.get(key);
  if (load) load.superseded = loads.delete(key);
  for (const near of nears) near.forget(key);
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

/** Whether a failure is to be thrown. */
export function throws(context: CacheContext, options: CallOptions | undefined): boolean {
  return (options?.onError ?? context.onError) === "throw";
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
