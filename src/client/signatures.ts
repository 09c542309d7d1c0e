/**
 * The types that the signatures of the package mention, and that applications seldom name.
 *
 * @example
 * ```ts
 * import type { CollectionOf, Collections } from "@foodfast/larder/types";
 * ```
 *
 * @module
 */

export type { NodeAddress } from "../base/hosts.ts";
export type { TtlClasses, TtlUnit } from "../base/ttl.ts";
export type { Migrations } from "../cache/context.ts";
export type { Loaded } from "../cache/load.ts";
export type {
  ClusterConfig,
  ClusterSettings,
  CommonConfig,
  Config,
  ConfigOptions,
  DatabasesMode,
  DriverName,
  MapAddress,
  MemoryConfig,
  NodeOption,
  OnError,
  ParseConfigOptions,
  RedisConfig,
  RedisLogin,
  SentinelConfig,
  SentinelSettings,
  UpstashConfig,
} from "../config/options.ts";
export type { LoadLockOptions, TagSource } from "../config/policy.ts";
export type { AnyClass } from "../entry/codec.ts";
export type { KeyOf } from "../entry/keyspace.ts";
export type { SchemaResult } from "../entry/schema.ts";
export type {
  CollectionOf,
  Collections,
  DefaultsOf,
  IdOf,
  NamedParts,
  PlaceholdersOf,
  ServiceBase,
  SeveralParts,
} from "../services/service.ts";
export type { CacheTarget, LoadReason } from "../telemetry/events.ts";
export type { ClientHooks, LocationOf } from "./types.ts";
