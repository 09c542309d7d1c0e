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
} from "./drivers/driver.ts";
export type { WireStats } from "./src/batch.ts";
export type { Cache, CallOptions, IncrementOptions, WriteOptions } from "./src/cache.ts";
export type { AnyService, CacheClient, ClientHooks, ClientStats, Health, Setup } from "./src/client.ts";
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
} from "./src/config.ts";
export {
  CacheConfigError,
  CacheConflictError,
  CacheError,
  CacheSchemaError,
  CardNumberError,
  isCacheError,
  type SchemaIssue,
} from "./src/errors.ts";
export type { CacheEvent, CacheListener, CacheTarget } from "./src/events.ts";
export type { Id } from "./src/keyspace.ts";
export { type Logger, logTo } from "./src/logger.ts";
export { createCacheClient, getCacheClient, getCacheService } from "./src/main.ts";
export type { Schema, SchemaResult } from "./src/schema.ts";
export {
  type CollectionDefinition,
  type CollectionOf,
  type CollectionOptions,
  type Collections,
  collection,
  defineService,
  type IdOf,
  type PlainId,
  type ServiceBase,
  type ServiceCore,
  type ServiceDefinition,
  type ServiceOf,
  withSchemas,
} from "./src/service.ts";
export type { FoodFastServices } from "./src/services/all.ts";
export type {
  AuthVerbs,
  RateCount,
  RateCountOptions,
  RateLimitOptions,
  RateLimitResult,
  Session,
  WhenUnavailable,
} from "./src/services/auth.ts";
export type { GatewaySession, Route } from "./src/services/gateway.ts";
export type { NotificationPreferences } from "./src/services/notification.ts";
export type { Cart, CartItem, Order, OrderVerbs } from "./src/services/order.ts";
export type { PaymentMethod, Transaction } from "./src/services/payment.ts";
export type { Category, Product, ProductVerbs } from "./src/services/product.ts";
export type { UserAddress, UserPreferences, UserProfile, UserVerbs } from "./src/services/user.ts";
export type { ClientOptions, Entry, FoodFastClient } from "./src/shared.ts";
export type { CacheStats } from "./src/stats.ts";
export type { Opening } from "./src/store.ts";
export { parseTtl, type Ttl, type TtlUnit } from "./src/ttl.ts";
export type { UpdateOptions } from "./src/update.ts";
