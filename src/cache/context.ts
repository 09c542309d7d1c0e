/** What a cache stands on, and what its verbs have in common. */
import type { OnError } from "../config/options.ts";
import type { Policy } from "../config/policy.ts";
import type { Known } from "../entry/codec.ts";
import type { KeyShape, Keyspace } from "../entry/keyspace.ts";
import type { Schema } from "../entry/schema.ts";
import type { SealOptions } from "../entry/seal.ts";
import { read } from "../lua/entries.ts";
import type { NearCache } from "../near/near_cache.ts";
import type { CacheTarget, Events } from "../telemetry/events.ts";
import type { Counters } from "../telemetry/stats.ts";
import type { Batch, ReadScript } from "../wire/batch.ts";
import type { Load } from "./loads.ts";

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
  readonly known: Known;
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
