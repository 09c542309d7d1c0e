/**
 * The names that every build exports. Types of drivers, rate limits and monitors come from their
 * own subpaths, as do types that only signatures mention.
 */

export { type Driver, StoreError } from "../../drivers/driver.ts";
export {
  CacheConfigError,
  CacheConflictError,
  CacheError,
  CacheLockError,
  CacheSchemaError,
  CacheTimeoutError,
  isCacheError,
  type SchemaIssue,
} from "../base/errors.ts";
export { type Duration, parseTtl, type Timeout, type Ttl } from "../base/ttl.ts";
export type { Cache } from "../cache/cache.ts";
export type { CallOptions, ReadOptions } from "../cache/call.ts";
export type { FleetStats } from "../cache/fleet.ts";
export type { IncrementOptions } from "../cache/increment_counter.ts";
export type { InvalidateOptions } from "../cache/invalidate.ts";
export type { GetOrSetOptions, LoadContext } from "../cache/load.ts";
export type { WriteOptions } from "../cache/set.ts";
export type { UpdateOptions } from "../cache/update.ts";
export type { Lock, LockOptions } from "../cache/with_lock.ts";
export { parseConfig } from "../config/parse_config.ts";
export type { CacheDefaults, ClientDefaults, EntryOptions, LoadOptions, NearOptions } from "../config/policy.ts";
export { redactUrl } from "../config/redact_url.ts";
export type { SuperClass } from "../entry/codec.ts";
export type { Id } from "../entry/keyspace.ts";
export type { Schema } from "../entry/schema.ts";
export type { EncryptionOptions } from "../entry/seal.ts";
export type { FoodFastServices } from "../services/all.ts";
export {
  type CollectionDefinition,
  type CollectionOptions,
  collection,
  defineService,
  type PlainId,
  type ServiceDefinition,
  type ServiceOf,
  withOptions,
  withSchemas,
} from "../services/service.ts";
export type { CacheEvent, CacheListener } from "../telemetry/events.ts";
export { type Logger, logTo } from "../telemetry/logger.ts";
export type { CacheStats } from "../telemetry/stats.ts";
export type { BreakerOptions } from "../wire/breaker.ts";
export type { CacheClient } from "./client.ts";
export type { Health, PartHealth } from "./health.ts";
export type { ClientOptions, ClientStats, Location } from "./types.ts";
