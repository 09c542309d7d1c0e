/**
 * The entry for Workers and edge functions: the names of `mod.ts`, without the TCP client.
 *
 * @module
 */
import { type Entry, entry } from "./shared.ts";
import { memoryWire, upstashWire } from "./wires.ts";

// A client lives as long as its request there; the embedded store lives as long as the isolate.
const edge: Entry = entry({ memory: { ...memoryWire, kept: true }, upstash: upstashWire });

/** As in `mod.ts`; the drivers are memory and upstash. */
export const createCacheClient: Entry["createCacheClient"] = edge.createCacheClient;
/** As in `mod.ts`. */
export const getCacheClient: Entry["getCacheClient"] = edge.getCacheClient;
/** As in `mod.ts`. */
export const getCacheService: Entry["getCacheService"] = edge.getCacheService;

export {
  type Capabilities,
  type Command,
  type Driver,
  type Reply,
  type Script,
  type SendOptions,
  StoreError,
  type StoreErrorKind,
} from "../drivers/driver.ts";
export type { WireStats } from "./batch.ts";
export type { Cache, CallOptions, IncrementOptions, WriteOptions } from "./cache.ts";
export type { AnyService, CacheClient, ClientHooks, ClientStats, Health, Setup } from "./client.ts";
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
} from "./config.ts";
export {
  CacheConfigError,
  CacheConflictError,
  CacheError,
  CacheSchemaError,
  CardNumberError,
  isCacheError,
  type SchemaIssue,
} from "./errors.ts";
export type { CacheEvent, CacheListener, CacheTarget } from "./events.ts";
export type { Id } from "./keyspace.ts";
export { type Logger, logTo } from "./logger.ts";
export type { Schema, SchemaResult } from "./schema.ts";
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
} from "./service.ts";
export type { FoodFastServices } from "./services/all.ts";
export type {
  AuthVerbs,
  RateCount,
  RateCountOptions,
  RateLimitOptions,
  RateLimitResult,
  Session,
  WhenUnavailable,
} from "./services/auth.ts";
export type { GatewaySession, Route } from "./services/gateway.ts";
export type { NotificationPreferences } from "./services/notification.ts";
export type { Cart, CartItem, Order, OrderVerbs } from "./services/order.ts";
export type { PaymentMethod, Transaction } from "./services/payment.ts";
export type { Category, Product, ProductVerbs } from "./services/product.ts";
export type { UserAddress, UserPreferences, UserProfile, UserVerbs } from "./services/user.ts";
export type { ClientOptions, Entry, FoodFastClient } from "./shared.ts";
export type { CacheStats } from "./stats.ts";
export type { Opening } from "./store.ts";
export { parseTtl, type Ttl, type TtlUnit } from "./ttl.ts";
export type { UpdateOptions } from "./update.ts";
