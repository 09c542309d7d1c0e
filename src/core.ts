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
import { CacheClient, type ClientOptions } from "./client.ts";

/**
 * Makes a client over a ready driver.
 *
 * @param options The options; `driver` must be made by a driver's factory. Services are passed to `client.service` as declarations.
 * @returns The client.
 * @throws {CacheConfigError} With every problem of the configuration.
 */
export function createCacheClient(options: ClientOptions & { readonly driver: Driver }): CacheClient {
  return new CacheClient(options, {}, {});
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
} from "../drivers/driver.ts";
export { Cache, type CallOptions, type IncrementOptions, type WriteOptions } from "./cache.ts";
export { CacheClient, type ClientOptions, type ClientStats, type Health } from "./client.ts";
export {
  type Config,
  type ConfigOptions,
  type DatabasesMode,
  type DriverName,
  type OnError,
  parseConfig,
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
export type { CacheEvent, CacheListener, CacheTarget, Logger } from "./events.ts";
export type { Id } from "./keyspace.ts";
export type { Schema, SchemaResult } from "./schema.ts";
export {
  type CollectionDefinition,
  type CollectionOf,
  type CollectionOptions,
  type Collections,
  collection,
  defineService,
  type PlainId,
  type ServiceBase,
  type ServiceCore,
  type ServiceDefinition,
  type ServiceOf,
  withSchemas,
} from "./service.ts";
export type { CacheStats } from "./stats.ts";
export { parseTtl, type Ttl, type TtlUnit } from "./ttl.ts";
