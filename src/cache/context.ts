/** The parts of a cache, in groups, so that each function can name those that it needs. */
import type { OnError } from "../config/options.ts";
import type { Policy } from "../config/policy.ts";
import type { Known } from "../entry/codec.ts";
import type { KeyShape, Keyspace } from "../entry/keyspace.ts";
import type { Schema } from "../entry/schema.ts";
import type { SealOptions } from "../entry/seal.ts";
import type { NearCache } from "../near/near_cache.ts";
import type { CacheTarget, Events } from "../telemetry/events.ts";
import type { Counters } from "../telemetry/stats.ts";
import type { Batch } from "../wire/batch.ts";
import type { Invalidations } from "./invalidations.ts";
import type { Loads, Nears } from "./loads.ts";
import type { ReadScripts } from "./read_scripts.ts";

/** Steps that upgrade the value of an older version: the step of version n returns the value of version n + 1. */
// biome-ignore lint/suspicious/noExplicitAny: stands for values of earlier versions
export type Migrations = Readonly<Record<number, (value: any) => unknown>>;

/** The parts that the caches of one client and database share. */
export interface Lane {
  readonly batch: Batch;
  readonly loads: Loads;
  readonly nears: Nears;
  /** Invalidates stores of several parts, and confirms by replicas, if the client can: `Invalidator`. */
  readonly invalidator: Invalidations | undefined;
}

/** The keyspace, the form of its keys, and the ways to read entries. */
export interface Keys {
  readonly space: Keyspace;
  readonly shape: KeyShape;
  readonly scripts: ReadScripts;
}

/** The rules of entries: their TTLs, and the values that may become one. */
export interface EntryRules {
  readonly policy: Policy;
  /** `true` if each read starts the TTL again. */
  readonly sliding?: boolean;
  readonly schema?: Schema | undefined;
  readonly version?: number | undefined;
  readonly migrate?: Migrations | undefined;
  readonly sealing?: SealOptions | undefined;
  /** The classes whose instances may be stored. */
  readonly known: Known;
  /** Throws for values that must not be stored. */
  readonly refuse?: ((value: unknown) => void) | undefined;
}

/** The events and counters of a cache. */
export interface CacheTelemetry {
  readonly events: Events;
  readonly counters: Counters;
  readonly target: CacheTarget;
}

/** The options of calls that do not say otherwise. */
export interface CallDefaults {
  /** Milliseconds until an operation ends. */
  readonly timeout: number;
  readonly onError: OnError;
}

/** The parts that the application provides. */
export interface Host {
  /** Returns the milliseconds since 1970. */
  readonly now: () => number;
  readonly waitUntil?: ((promise: Promise<unknown>) => void) | undefined;
}

/**
 * The parts that a cache is made of; put together by the client. Functions name the groups that they need. All groups
 * are one flat object, because a second load would cost time on each hit, and bytes at the edge on each access.
 */
export interface CacheContext extends Lane, Keys, EntryRules, CacheTelemetry, CallDefaults, Host {
  readonly near?: NearCache | undefined;
  /** Returns a memory of all caches of a store and database, also of clients for requests; the first one makes it. */
  readonly remembered: <T extends object>(make: () => T) => T;
  /** Makes the verbs of rate limits, if the client has them: `rateLimits` of `rate_limits.ts`. */
  readonly rateLimits: ((...args: never[]) => object) | undefined;
  /** The verbs, once the cache has limited something. */
  limits?: object;
  /** Returns the functions that take locks, if the client has them: `locks` of `locks.ts`. */
  readonly locks: (() => object) | undefined;
  /** Makes a write by plain commands, if the client may use them: `plainWrite` of `plain_write.ts`. */
  readonly plainWrite?: ((...args: never[]) => boolean) | undefined;
  /** Makes a `Fleet`, which reads the counts of all processes, if the client has them: `fleetCounts`. */
  readonly fleetCounts: (() => object) | undefined;
}

/** The context of a keyspace, which each of its caches completes. */
export type SharedContext = Omit<CacheContext, "target" | "shape" | "counters">;
