/**
 * The smallest build: a client without drivers and services of its own. What is handed to it is all that a bundle carries.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder/core";
 * import { memory } from "@foodfast/larder/drivers/memory";
 * import { product } from "@foodfast/larder/services/product";
 *
 * await using client = createCacheClient({ driver: memory() });
 * await client.service(product).products.set(1, { id: 1, name: "Pho" });
 * ```
 *
 * @module
 */
import type { Driver } from "../drivers/driver.ts";
import { describe } from "./base/check.ts";
import { CacheConfigError } from "./base/errors.ts";
import { LONGEST_TIMER, millisecondsOf, parseTtl, type Timeout, TTL_CLASSES, type Ttl } from "./base/ttl.ts";
import type { rateLimits } from "./cache/rate_limits.ts";
import { CacheClient, type ClientHooks } from "./client/client.ts";
import { readyOpening } from "./client/store_connection.ts";
import type { CommonConfig, DatabasesMode, OnError } from "./config/parse_config.ts";
import { type ClientDefaults, checkDefaults, DEFAULT_NAMES } from "./config/policy.ts";
import { type Logger, listenerOf, warnOnce } from "./telemetry/logger.ts";

/** The options of a client of this build. Nothing is read from the environment. */
export interface CoreOptions extends ClientHooks, ClientDefaults {
  /** The driver, made by its own factory. It is not closed with the client. */
  readonly driver: Driver;
  /** What every key starts with, a `:` after it. @default "" */
  readonly prefix?: string;
  /** How databases are kept apart. @default "auto" */
  readonly databases?: DatabasesMode;
  /** The database of the unnamed cache, 0-15. @default 0 */
  readonly database?: number;
  /** The deadline of an operation: milliseconds, or `"2s"`. @default 500 */
  readonly timeout?: Timeout;
  /** What a failing store means for a caller. @default "miss" */
  readonly onError?: OnError;
  /** The TTL where nothing else gives one. @default "1h" */
  readonly ttl?: Ttl;
  /**
   * The TTLs of collections, by the name of their variable, such as `CACHE_TTL_PRODUCTS`; `CACHE_TTL_SHORT` and
   * `CACHE_TTL_LONG` are `"short"` and `"long"`.
   */
  readonly ttls?: Readonly<Record<string, Ttl>>;
  /** How often a command that can be repeated is sent again, 0-10. @default 2 */
  readonly retries?: number;
  /** Whether two services may share a database. @default false */
  readonly allowSharedDatabases?: boolean;
  /**
   * Told of failures: anything with `warn(details, message)`; `false` is silence.
   * @default `console.warn`, a line a kind and minute
   */
  readonly logger?: Logger | false;
  /**
   * `rateLimits` of `@foodfast/larder/rate-limits`, for the verbs of rate limits; `auth` brings its own. @default none
   */
  readonly rateLimits?: typeof rateLimits;
}

/** What each option must be, in words and as a test. */
const ACCEPTED: Readonly<Record<string, readonly [string, (value: never) => boolean]>> = {
  driver: ["a driver", (value: Driver) => typeof value.send === "function"],
  prefix: ["a string", (value) => typeof value === "string"],
  databases: ["auto, numbered or prefixed", (value) => ["auto", "numbered", "prefixed"].includes(value)],
  database: ["0 to 15", (value) => whole(value, 0, 15)],
  timeout: ["1 to 2147483647 ms", (value: Timeout) => whole(millisecondsOf(value), 1, LONGEST_TIMER)],
  onError: ["miss or throw", (value) => ["miss", "throw"].includes(value)],
  ttl: ["a TTL", (value) => value],
  ttls: ["TTLs by name", (value) => typeof value === "object"],
  retries: ["0 to 10", (value) => whole(value, 0, 10)],
  allowSharedDatabases: ["true or false", (value) => typeof value === "boolean"],
  rateLimits: ["a function", (value) => typeof value === "function"],
};

/** What is checked where it is used. */
const OTHERS = [
  ...DEFAULT_NAMES,
  "encryption",
  "breaker",
  "fleetStats",
  "waitUntil",
  "clock",
  "superClasses",
  "logger",
];

/**
 * Makes a client over a ready driver.
 *
 * @param options The options. Services are passed to `client.service` as declarations.
 * @returns The client.
 * @throws {CacheConfigError} With every problem of the options.
 * @throws {TypeError | RangeError} For a bad TTL, default of entries, hook, class or logger.
 */
export function createCacheClient(options: CoreOptions): CacheClient {
  const problems: string[] = [];
  for (const [name, value] of Object.entries({ ...EMPTY, ...options })) {
    if (name !== "ttl" && OTHERS.includes(name)) continue;
    const rule = Object.hasOwn(ACCEPTED, name) ? ACCEPTED[name] : undefined;
    const accepted = rule ? rule[0] : `one of the options ${[...Object.keys(ACCEPTED), ...OTHERS].join(", ")}`;
    if (rule && name !== "driver" && value === undefined) continue;
    if (!rule?.[1]((value ?? {}) as never)) problems.push(`option ${name} is ${describe(value)}, expected ${accepted}`);
  }
  if (problems.length > 0) throw new CacheConfigError(problems);
  checkDefaults(options);
  const { CACHE_TTL_SHORT = "5m", CACHE_TTL_LONG = "2h" } = options.ttls ?? {};
  const named = { ...TTL_CLASSES, short: parseTtl(CACHE_TTL_SHORT), long: parseTtl(CACHE_TTL_LONG) };
  const ttl = { ...named, default: parseTtl(options.ttl ?? "1h", "ttl", named) };
  const config: CommonConfig = {
    prefix: options.prefix ?? "",
    databases: options.databases ?? "auto",
    database: options.database ?? options.driver.database ?? 0,
    timeout: millisecondsOf(options.timeout ?? 500),
    retries: options.retries ?? 2,
    onError: options.onError ?? "miss",
    allowSharedDatabases: options.allowSharedDatabases ?? false,
    ttl,
    defaults: options,
    ttls: new Map(Object.entries(options.ttls ?? {}).map(([name, value]) => [name, parseTtl(value, name, ttl)])),
  };
  const store = readyOpening(options.driver);
  return new CacheClient({
    hooks: options,
    listener: listenerOf(options.logger),
    warn: (message) => warnOnce(options.logger, message),
    services: {},
    rateLimits: options.rateLimits,
    configure: () => config,
    store: () => store,
  });
}

const EMPTY: { readonly driver?: Driver } = { driver: undefined as never };

function whole(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

export {
  type Capabilities,
  type Command,
  type Driver,
  type Reply,
  type Script,
  type SendOptions,
  StoreError,
  type StoreErrorKind,
  type Tracker,
  type Tracking,
} from "../drivers/driver.ts";
export {
  CacheConfigError,
  CacheConflictError,
  CacheError,
  CacheLockError,
  CacheSchemaError,
  CacheTimeoutError,
  isCacheError,
  type SchemaIssue,
} from "./base/errors.ts";
export { type Duration, parseTtl, type Timeout, type Ttl, type TtlClasses, type TtlUnit } from "./base/ttl.ts";
export type { Signal } from "./base/web_types.ts";
export type { Cache, GetOrSetOptions, IncrementOptions, Loaded, WriteOptions } from "./cache/cache.ts";
export type { CallOptions, ReadOptions } from "./cache/call.ts";
export type { Migrations } from "./cache/context.ts";
export type { FleetStats } from "./cache/fleet.ts";
export type { LoadContext } from "./cache/load.ts";
export type {
  LimitOptions,
  RateCount,
  RateCountOptions,
  RateLimit,
  RateLimitOptions,
  RateLimitResult,
  RateLimitState,
  RateLimits,
  RateLimitsResult,
  RateRequestOptions,
  WhenUnavailable,
} from "./cache/rate_limits.ts";
export type { UpdateOptions } from "./cache/update.ts";
export type { Lock, LockOptions } from "./cache/with_lock.ts";
export type { CacheClient, ClientHooks, ClientStats, Health, Location, LocationOf, Setup } from "./client/client.ts";
export type { Opening } from "./client/store_connection.ts";
export {
  type CommonConfig,
  type Config,
  type ConfigOptions,
  type DatabasesMode,
  type DriverName,
  type MemoryConfig,
  type OnError,
  type ParseConfigOptions,
  parseConfig,
  type RedisConfig,
  redactUrl,
  type UpstashConfig,
} from "./config/parse_config.ts";
export type {
  CacheDefaults,
  ClientDefaults,
  EntryOptions,
  LoadLockOptions,
  LoadOptions,
  NearOptions,
  TagSource,
} from "./config/policy.ts";
export type { AnyClass, SuperClass } from "./entry/codec.ts";
export type { Id } from "./entry/keyspace.ts";
export type { Schema, SchemaResult } from "./entry/schema.ts";
export type { EncryptionOptions } from "./entry/seal.ts";
export { CardNumberError } from "./services/card_number_error.ts";
export {
  type AnyService,
  type CollectionDefinition,
  type CollectionOf,
  type CollectionOptions,
  type Collections,
  collection,
  type DefaultsOf,
  defineService,
  type IdOf,
  type PlainId,
  type ServiceBase,
  type ServiceCore,
  type ServiceDefinition,
  type ServiceOf,
  withOptions,
  withSchemas,
} from "./services/service.ts";
export type { BreakerState, CacheEvent, CacheListener, CacheTarget, LoadReason, Sending } from "./telemetry/events.ts";
export { type Logger, logTo } from "./telemetry/logger.ts";
export type { CacheStats, LiveCounters } from "./telemetry/stats.ts";
export type { BatchStats } from "./wire/batch.ts";
export type { BreakerOptions } from "./wire/breaker.ts";
