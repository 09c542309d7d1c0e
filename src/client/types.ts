/** What a client takes and what it answers. */

import type { Driver } from "../../drivers/driver.ts";
import type { Fleet } from "../cache/fleet.ts";
import type { rateLimits } from "../cache/rate_limits.ts";
import type { CommonConfig, ConfigOptions } from "../config/options.ts";
import type { SuperClass } from "../entry/codec.ts";
import type { Sealing } from "../entry/seal.ts";
import type { NearCache, NearSetup } from "../near/near_cache.ts";
import type { ServiceDefinition } from "../services/service.ts";
import type { BreakerState, CacheListener } from "../telemetry/events.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { CacheStats } from "../telemetry/stats.ts";
import type { BatchStats } from "../wire/batch.ts";
import type { Opening } from "./store_connection.ts";

/** What a client calls in the application. */
export interface ClientHooks {
  /**
   * Takes over work that may go on after the response, such as writing a loaded value:
   * `(promise) => context.waitUntil(promise)`. What it throws is an `error` event, and costs nothing but that.
   * @default callers wait for it
   */
  readonly waitUntil?: (promise: Promise<unknown>) => void;
  /**
   * The time in milliseconds since 1970, for the age of entries, near caches and the memory driver. Processes of one
   * store should agree within a second. When one of your own is set back by more than that, what has a TTL in the
   * memory driver is over. @default Date.now
   */
  readonly clock?: () => number;
  /**
   * Classes whose instances may be stored, by any cache or service of the client: what enumerable properties of their
   * own they have comes back, with the class's methods; private fields (`#name`) do not.
   * @default none: an instance is refused
   *
   * @example
   * ```ts
   * import { createCacheClient } from "@foodfast/larder";
   *
   * class Money {
   *   constructor(readonly cents: number) {}
   *   toString(): string {
   *     return `${this.cents / 100} €`;
   *   }
   * }
   * await using client = createCacheClient({ driver: "memory", superClasses: [[Money, "shop.Money"]] });
   * await client.cache().set("price", { pho: new Money(950) });
   * console.log(`${(await client.cache<{ pho: Money }>().get("price"))?.pho}`); // "9.5 €"
   * ```
   */
  readonly superClasses?: readonly SuperClass[];
}

/** The options of a client. All but the functions can be set by environment variables too. */
export interface ClientOptions extends ConfigOptions, ClientHooks {
  /**
   * Takes warnings of failures: a pino logger, `console`, or anything with `warn(details, message)`; a line a kind and second at
   * the most. `false` is silence. @default `console.warn`, a line a kind and minute
   */
  readonly logger?: Logger | false;
  /** Variables to read instead of the process's own: the `env` of a Worker. Values that are not strings are ignored. */
  readonly env?: Readonly<Record<string, unknown>>;
}

/** What a client's health check found. */
export interface Health {
  /** Whether all is well: reads and writes work. */
  readonly ok: boolean;
  /** Whether the store answers reads. */
  readonly reads: boolean;
  /**
   * Whether the store takes writes. A replica, a full store and one that cannot persist refuse them, and so does one
   * whose user may not write or run scripts. Found out by a script that changes nothing.
   */
  readonly writes: boolean;
  /** The driver's name. */
  readonly driver: string;
  /** How databases are kept apart. */
  readonly databases: "numbered" | "prefixed";
  /** What the circuit breaker lets through; `"closed"` where there is none. */
  readonly breaker: BreakerState;
  /** How long the store took to answer, in milliseconds; absent where reads do not work. */
  readonly latency?: number;
  /** Why reads, or else writes, do not work, without secrets. */
  readonly error?: string;
  /**
   * Why near caches keep nothing: the store refuses to tell of changes, in its words. Absent where it tells, and where
   * nobody has asked it to.
   */
  readonly near?: string;
}

/** What to find the {@linkcode Location} of. */
export interface LocationOf {
  /** A service's name or declaration. */
  readonly service?: string | ServiceDefinition | undefined;
  /** A database, 0-15, where no service is given. @default REDIS_DB, else 0 */
  readonly database?: number | undefined;
}

/** Where keys live: for tools that speak to the store themselves. */
export interface Location {
  /** The wire to the store, opened. It is the client's to close. */
  readonly driver: Driver;
  /** The database as it is sent: 0 where databases are prefixes. */
  readonly database: number;
  /** What stands in front of every key in the store. */
  readonly prefix: string;
  /** The service's name, if it is one's place. */
  readonly service?: string | undefined;
  /** The database's number, 0-15. */
  readonly number: number;
  /** Whether the store has numbered databases, and they are used. */
  readonly numbered: boolean;
}

/** What a client did since this client was made. */
export interface ClientStats extends CacheStats {
  /** The statistics of each service. */
  readonly services: Readonly<Record<string, CacheStats>>;
  /** What went over the wire. */
  readonly wire: Readonly<BatchStats>;
}

/** A configuration, and how to open the store that it names. */
export interface Configured {
  readonly config: CommonConfig;
  readonly opening: Opening;
}

/** The configurations of a client: its own, and those of services that have files of their own. */
export interface Configurations {
  readonly own: Configured;
  /** Returns the configuration of a service: the same one each time. */
  ofService(service: ServiceDefinition): Configured;
}

/** What a build of the library gives its clients. */
export interface Setup<S> {
  /** The functions of the application that the client calls. */
  readonly hooks: ClientHooks;
  /** Called with failures. */
  readonly listener?: CacheListener | undefined;
  /** Called once with each warning about the configuration. */
  readonly warn?: ((message: string) => void) | undefined;
  /** The services that can be asked for by name. */
  readonly services: S;
  /** The databases that belong to services, by their names. */
  readonly reserved: Readonly<Record<string, number>>;
  /** Makes the verbs of rate limits. */
  readonly rateLimits?: typeof rateLimits | undefined;
  /** Makes what adds the counts of a process to those of all. */
  readonly fleetCounts?: (() => Fleet) | undefined;
  /** Makes near caches. */
  readonly nearCache?: ((setup: NearSetup) => NearCache) | undefined;
  /** Encrypts and compresses. */
  readonly sealing?: Sealing | undefined;
  /** How the client and its services are configured. */
  readonly configurations: Configurations;
}
