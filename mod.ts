/**
 * A cache client for Bun, Deno, Node and edge functions, over an embedded store, Redis or Upstash.
 *
 * @example The same code over every store
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 *
 * await using client = createCacheClient(); // the environment names the store; memory when it names none
 * const product = client.service("product");
 * const pho = await product.products.getOrSet(123, () => ({ id: 123, name: "Pho" }));
 * console.log(pho?.name); // "Pho"
 * ```
 *
 * @module
 */
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
} from "./drivers/driver.ts";
export {
  CacheConfigError,
  CacheConflictError,
  CacheError,
  CacheLockError,
  CacheSchemaError,
  CacheTimeoutError,
  isCacheError,
  type SchemaIssue,
} from "./src/base/errors.ts";
export { type Duration, parseTtl, type Timeout, type Ttl, type TtlClasses, type TtlUnit } from "./src/base/ttl.ts";
export type { Signal } from "./src/base/web_types.ts";
export type { Cache, GetOrSetOptions, IncrementOptions, Loaded, WriteOptions } from "./src/cache/cache.ts";
export type { CallOptions, ReadOptions } from "./src/cache/call.ts";
export type { Migrations } from "./src/cache/context.ts";
export type { FleetStats } from "./src/cache/fleet.ts";
export type { LoadContext } from "./src/cache/load.ts";
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
} from "./src/cache/rate_limits.ts";
export type { UpdateOptions } from "./src/cache/update.ts";
export type { Lock, LockOptions } from "./src/cache/with_lock.ts";
export type { CacheClient } from "./src/client/client.ts";
export type { EntryPoint, FoodFastClient } from "./src/client/entry_point.ts";
export type { Opening } from "./src/client/store_connection.ts";
export type {
  ClientHooks,
  ClientOptions,
  ClientStats,
  Health,
  Location,
  LocationOf,
  Setup,
} from "./src/client/types.ts";
export type {
  CommonConfig,
  Config,
  ConfigOptions,
  DatabasesMode,
  DriverName,
  MemoryConfig,
  OnError,
  ParseConfigOptions,
  RedisConfig,
  UpstashConfig,
} from "./src/config/options.ts";
export { parseConfig } from "./src/config/parse_config.ts";
export type {
  CacheDefaults,
  ClientDefaults,
  EntryOptions,
  LoadLockOptions,
  LoadOptions,
  NearOptions,
  TagSource,
} from "./src/config/policy.ts";
export { redactUrl } from "./src/config/redact_url.ts";
export type { AnyClass, SuperClass } from "./src/entry/codec.ts";
export type { Id } from "./src/entry/keyspace.ts";
export type { Schema, SchemaResult } from "./src/entry/schema.ts";
export type { EncryptionOptions } from "./src/entry/seal.ts";
export { createCacheClient, getCacheClient, getCacheService } from "./src/main.ts";
export type { FoodFastServices } from "./src/services/all.ts";
export type { AuthVerbs, Session } from "./src/services/auth.ts";
export { CardNumberError } from "./src/services/card_number_error.ts";
export type { GatewaySession, Route } from "./src/services/gateway.ts";
export type { NotificationPreferences } from "./src/services/notification.ts";
export type { Cart, CartItem, Order, OrderVerbs } from "./src/services/order.ts";
export type { PaymentMethod, Transaction } from "./src/services/payment.ts";
export type { Category, Product, ProductVerbs } from "./src/services/product.ts";
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
} from "./src/services/service.ts";
export type { UserAddress, UserPreferences, UserProfile, UserVerbs } from "./src/services/user.ts";
export type {
  BreakerState,
  CacheEvent,
  CacheListener,
  CacheTarget,
  LoadReason,
  Sending,
} from "./src/telemetry/events.ts";
export { type Logger, logTo } from "./src/telemetry/logger.ts";
export type { CacheStats, LiveCounters } from "./src/telemetry/stats.ts";
export type { BatchStats } from "./src/wire/batch.ts";
export type { BreakerOptions } from "./src/wire/breaker.ts";
