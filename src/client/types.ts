/** The options of clients, and what their methods return. */

import type { Driver } from "../../drivers/driver.ts";
import type { CacheContext } from "../cache/context.ts";
import type { Fleet } from "../cache/fleet.ts";
import type { rateLimits } from "../cache/rate_limits.ts";
import type { CommonConfig, ConfigOptions } from "../config/options.ts";
import type { SuperClass } from "../entry/codec.ts";
import type { Keyspace } from "../entry/keyspace.ts";
import type { Sealing } from "../entry/seal.ts";
import type { MakeKeyspace } from "../entry/shards.ts";
import type { NearCache, NearSetup } from "../near/near_cache.ts";
import type { ServiceDefinition } from "../services/service.ts";
import type { CacheListener } from "../telemetry/events.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { CacheStats } from "../telemetry/stats.ts";
import type { Batch, BatchOptions, BatchStats } from "../wire/batch.ts";
import type { ClientParts } from "./client_parts.ts";
import type { Invalidator } from "./invalidator.ts";
import type { Opening } from "./store_connection.ts";

/** The functions of the application that a client calls, and the classes that it stores. */
export interface ClientHooks {
  /**
   * Takes over work that may go on after the response, such as writing a loaded value:
   * `(promise) => context.waitUntil(promise)`. If it throws, an `error` event is emitted and the work goes on.
   * @default callers wait for the work
   */
  readonly waitUntil?: (promise: Promise<unknown>) => void;
  /**
   * The time source, in milliseconds since 1970, for the age of entries, near caches and the memory driver. Processes
   * of one store should agree within a second. If it is set back by more than that, entries of the memory driver that
   * have a TTL expire. @default Date.now
   */
  readonly clock?: () => number;
  /**
   * Classes whose instances may be stored, by any cache or service of the client. Their own enumerable properties come
   * back, with the methods of the class; private fields (`#name`) do not.
   * @default none: instances are refused
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
   * Receives warnings about failures, at most one of a kind per second: a pino logger, `console`, or anything with
   * `warn(details, message)`. `false` is silence. @default `console.warn`, at most one of a kind per minute
   */
  readonly logger?: Logger | false;
  /** Variables to read instead of the process's own: the `env` of a Worker. Values that are not strings are ignored. */
  readonly env?: Readonly<Record<string, unknown>>;
}

/** The service or database to find the {@linkcode Location} of. */
export interface LocationOf {
  /** A service's name or declaration. */
  readonly service?: string | ServiceDefinition | undefined;
  /** A database, 0-15, if no service is given. @default REDIS_DB, else 0 */
  readonly database?: number | undefined;
}

/** The location of keys, for tools that send commands to the store themselves. */
export interface Location {
  /** The driver, open. The client closes it. */
  readonly driver: Driver;
  /** The database that commands are sent to: 0 if databases are prefixes. */
  readonly database: number;
  /** The start of every key in the store. */
  readonly prefix: string;
  /**
   * The hash tag of each shard, such as `"{c9q}"`, which follows the prefix; one empty text if keys are not spread over
   * shards. The shard of a key is the remainder of its CRC16 by their number.
   */
  readonly tags: readonly string[];
  /** The service's name, if it is the location of a service. */
  readonly service?: string | undefined;
  /** The database's number, 0-15. */
  readonly number: number;
  /** `true` if the store has numbered databases, and they are used. */
  readonly numbered: boolean;
}

/** Counts of what a client did since it was made. */
export interface ClientStats extends CacheStats {
  /** The statistics of each service. */
  readonly services: Readonly<Record<string, CacheStats>>;
  /** Counts of commands and sends. */
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
  /** Returns the configuration of a service. */
  ofService(service: ServiceDefinition): Configured;
}

/** The parts that a build of the library gives its clients. */
export interface Setup<S> {
  /** The functions of the application that the client calls. */
  readonly hooks: ClientHooks;
  /** Called with failures. */
  readonly listener?: CacheListener | undefined;
  /** Called once with each warning about the configuration. */
  readonly warn?: ((message: string) => void) | undefined;
  /** The services that can be asked for by name. */
  readonly services: S;
  /** The names of the services that own databases 0, 1, 2 and so on. */
  readonly reserved: readonly string[];
  /** Makes the verbs of rate limits. */
  readonly rateLimits?: typeof rateLimits | undefined;
  /** Makes the sender that adds the counts of this process to those of all processes. */
  readonly fleetCounts?: (() => Fleet) | undefined;
  /** Returns the functions that take locks, if the client has them. */
  readonly locks?: (() => object) | undefined;
  /** Makes keyspaces of several shards; returns `undefined` if the configuration wants none. */
  readonly shards?: ((...args: [...Parameters<MakeKeyspace>, CommonConfig]) => object | undefined) | undefined;
  /** Makes near caches. */
  readonly nearCache?: ((setup: NearSetup) => NearCache) | undefined;
  /** Encrypts and compresses. */
  readonly sealing?: Sealing | undefined;
  /** Makes what sends to the parts of a store apart from each other. */
  readonly parts?: ((...args: ConstructorParameters<typeof ClientParts>) => ClientParts) | undefined;
  /** Makes the options of a batch that only builds for servers have. */
  readonly ofBatch?: ((batch: () => Batch) => Partial<BatchOptions>) | undefined;
  /** Makes the parts of the caches over a keyspace that only builds for servers have. */
  readonly ofContext?: ((space: Keyspace) => Pick<CacheContext, "plainWrite">) | undefined;
  /** Makes what invalidates stores of several parts, and confirms by replicas. */
  readonly invalidator?: ((...args: ConstructorParameters<typeof Invalidator>) => Invalidator) | undefined;
  /** The configurations of the client and its services. */
  readonly configurations: Configurations;
}
