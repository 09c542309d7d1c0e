/**
 * The one table of options: each with its variable, what it accepts and its default. The types of the options and the
 * table of the documentation, which says what each is for, are checked against it.
 *
 * @module
 */

import { ADDRESS_ACCEPTED, type Address } from "../base/address.ts";
import { type Rule, whole } from "../base/check.ts";
import type { NodeAddress } from "../base/hosts.ts";
import { type Duration, durations, millisecondsOf, parseDuration, TTL_ACCEPTED, type TtlClasses } from "../base/ttl.ts";
import { type EncryptionOptions, keyRing } from "../entry/seal.ts";
import { SHARD_COUNTS } from "../entry/shards.ts";
import { Breaker } from "../wire/breaker.ts";
import { COMMON, type CommonName, oneOf } from "./common.ts";
import type { ClusterSettings, ConfigOptions, SentinelSettings } from "./options.ts";
import { type ClientDefaults, checkDefaults } from "./policy.ts";

/** Everything about an option and its variable. */
export interface Setting {
  /** The environment variable of the same meaning. */
  readonly variable: string;
  /** The accepted values, in words. */
  readonly expected: string;
  /** Returns the value of an option, or of a variable's text. Throws for values that are not accepted. */
  readonly read: (given: unknown) => unknown;
  /** The value if neither the option nor the variable is set. */
  readonly fallback?: unknown;
}

/** The readers of addresses of a build: those of an edge runtime know nothing of TCP. */
export interface AddressReaders {
  /** Reads a URL. */
  url(given: unknown): Address;
  /** Reads a host name. */
  host(given: unknown): string;
  /** Reads a list of servers. */
  nodes(given: unknown, defaultPort: number): readonly NodeAddress[];
}

/** The options that hold others, each with their names. */
export const GROUPS: Readonly<Record<"cluster" | "sentinel", readonly string[]>> = {
  cluster: ["nodes", "shards", "mapAddress"],
  sentinel: ["sentinels", "name", "username", "password", "tls", "mapAddress"],
};

/** The names in the table: those of options, and of options in groups such as `cluster.nodes`. */
export type SettingName =
  | Exclude<keyof ConfigOptions, keyof typeof GROUPS>
  | `cluster.${Exclude<keyof ClusterSettings, "mapAddress">}`
  | `sentinel.${Exclude<keyof SentinelSettings, "mapAddress">}`;

/** Makes a setting from a rule; `fromText` turns the text of a variable into what the rule tests. */
function byRule(
  variable: string,
  [expected, test]: Rule,
  fromText: (text: string) => unknown = (text) => text,
  fallback?: unknown,
): Setting {
  const read = (given: unknown): unknown => {
    const value = typeof given === "string" ? fromText(given) : given;
    return test(value as never) ? value : reject();
  };
  return { variable, expected, read, fallback };
}

/** Makes the setting of an option that every build takes. */
function common(name: CommonName, variable: string, fromText?: (text: string) => unknown): Setting {
  const [rule, fallback] = COMMON[name];
  return byRule(variable, rule, fromText, fallback);
}

/** Makes the setting of an option that applies to all entries, or to the store. */
function ofEntries(name: keyof ClientDefaults, variable: string, expected: string): Setting {
  const read = (given: unknown): unknown => {
    const value = typeof given === "string" ? ofText(name, given) : given;
    checkDefaults({ [name]: value });
    if (name === "encryption") keyRing(value as EncryptionOptions);
    if (name === "breaker" && value !== false) new Breaker(value as object, Date.now, () => {});
    if (name === "fleetStats" && typeof value !== "boolean") reject();
    return value;
  };
  return { variable, expected, read };
}

function ofText(name: keyof ClientDefaults, text: string): unknown {
  if (name === "encryption") {
    const pairs = text.split(",").map((pair) => pair.trim().split(/:(.*)/s).slice(0, 2));
    return { keys: Object.fromEntries(pairs), current: pairs[0]?.[0] };
  }
  if (/^(false|off|0)$/i.test(text)) return name === "jitter" ? 0 : false;
  if (/^(true|on)$/i.test(text) || (text === "1" && /^(lock|near|fleetStats)$/.test(name))) return true;
  return number(text, /^\d+(\.\d+)?$/);
}

function number(text: string, pattern: RegExp = /^\d{1,16}$/): unknown {
  return pattern.test(text) ? Number(text) : text;
}

function milliseconds(text: string): number {
  return millisecondsOf(number(text));
}

function flag(text: string): unknown {
  return /^(true|1)$/i.test(text) || (/^(false|0)$/i.test(text) ? false : text);
}

/**
 * Makes the setting of a TTL, whose seconds may be text. `Infinity` means no expiry, because `undefined` means not set.
 * One of `names` is kept as a name until its length is known.
 */
function ttl(variable: string, names: readonly (keyof TtlClasses)[], fallback?: string): Setting {
  const read = (given: unknown): number | keyof TtlClasses => {
    const duration = (/^\d+$/.test(`${given}`) ? Number(given) : given) as Duration;
    return names.find((name) => name === given) ?? parseDuration(duration, "ttl") ?? Number.POSITIVE_INFINITY;
  };
  return { variable, expected: durations(...names), read, fallback: fallback && read(fallback) };
}

/** Returns the setting of a TTL variable of a service, which may name one of the general ones. */
export function ttlSetting(variable: string): Setting {
  return ttl(variable, ["default", "short", "long"]);
}

const FLAG: Rule = ["true, false, 1 or 0", (value: unknown) => typeof value === "boolean"];
const TEXT: Rule = ["a string", (value: unknown) => typeof value === "string"];
const SPAN = `${TTL_ACCEPTED}, or false`;
const LIMIT = `${COMMON.timeout[0][0]}, or false`;

/** The options of a client that are variables too. The build reads `url`, `host` and lists of servers. */
export const SETTINGS: Readonly<Record<SettingName, Setting>> = {
  driver: byRule("CACHE_DRIVER", oneOf("memory", "node-redis", "cluster", "sentinel", "upstash")),
  url: byRule("CACHE_URL", [ADDRESS_ACCEPTED, TEXT[1]]),
  token: byRule("UPSTASH_REDIS_REST_TOKEN", [
    "a token without spaces",
    (value: unknown) => typeof value === "string" && /^[!-~]+$/.test(value),
  ]),
  host: byRule("REDIS_HOST", ["a host", TEXT[1]]),
  port: byRule("REDIS_PORT", whole(1, 65535), number),
  username: byRule("REDIS_USERNAME", TEXT),
  password: byRule("REDIS_PASSWORD", TEXT),
  tls: byRule("REDIS_TLS", FLAG, flag),
  pool: byRule("REDIS_POOL_SIZE", whole(1, 100), number, 1),
  "cluster.nodes": byRule("REDIS_CLUSTER_NODES", TEXT),
  "cluster.shards": byRule("CACHE_SHARDS", ["1, 4, 16, 64 or 256", (value) => SHARD_COUNTS.includes(value)], number),
  "sentinel.sentinels": byRule("REDIS_SENTINELS", TEXT),
  "sentinel.name": byRule("REDIS_SENTINEL_NAME", [
    "a name without spaces",
    (value: unknown) => /^\S+$/.test(`${value}`),
  ]),
  "sentinel.username": byRule("REDIS_SENTINEL_USERNAME", TEXT),
  "sentinel.password": byRule("REDIS_SENTINEL_PASSWORD", TEXT),
  "sentinel.tls": byRule("REDIS_SENTINEL_TLS", FLAG, flag),
  prefix: common("prefix", "CACHE_PREFIX"),
  databases: common("databases", "CACHE_DATABASES"),
  database: common("database", "REDIS_DB", number),
  timeout: common("timeout", "CACHE_TIMEOUT_MS", milliseconds),
  onError: common("onError", "CACHE_ON_ERROR"),
  ttl: ttl("CACHE_TTL_DEFAULT", ["short", "long"], "1h"),
  retries: common("retries", "CACHE_RETRIES", number),
  allowSharedDatabases: {
    ...common("allowSharedDatabases", "CACHE_ALLOW_SHARED_DATABASES", flag),
    expected: FLAG[0],
  },
  requireStore: byRule("CACHE_REQUIRE_STORE", FLAG, flag, false),
  maxEntries: byRule("CACHE_MAX_ENTRIES", whole(1), number),
  maxBytes: byRule("CACHE_MAX_BYTES", whole(1), number),
  staleFor: ofEntries("staleFor", "CACHE_STALE_FOR", SPAN),
  failSafeFor: ofEntries("failSafeFor", "CACHE_FAIL_SAFE_FOR", SPAN),
  negativeTtl: ofEntries("negativeTtl", "CACHE_NEGATIVE_TTL", SPAN),
  softTimeout: ofEntries("softTimeout", "CACHE_SOFT_TIMEOUT_MS", LIMIT),
  hardTimeout: ofEntries("hardTimeout", "CACHE_HARD_TIMEOUT_MS", LIMIT),
  jitter: ofEntries("jitter", "CACHE_JITTER", "a share from 0 to 1"),
  earlyRefresh: ofEntries("earlyRefresh", "CACHE_EARLY_REFRESH", "true, false or a number up to 1000"),
  lock: ofEntries("lock", "CACHE_LOCK", "true, false or { ttl, wait }"),
  near: ofEntries("near", "CACHE_NEAR", "true, false or { maxEntries, maxBytes, ttl, clone }"),
  compressAbove: ofEntries("compressAbove", "CACHE_COMPRESS_ABOVE", "a number of characters, or false"),
  encryption: ofEntries(
    "encryption",
    "CACHE_ENCRYPTION_KEYS",
    "keys of 16 or 32 bytes in base64, as id:key,id:key or { keys, current }",
  ),
  breaker: ofEntries("breaker", "CACHE_BREAKER", "false or { failures, openFor, maxOpenFor }"),
  fleetStats: ofEntries("fleetStats", "CACHE_FLEET_STATS", "true or false"),
};

/** The general TTLs that are variables only. */
export const TTL_SETTINGS: Readonly<Record<"CACHE_TTL_SHORT" | "CACHE_TTL_LONG", Setting>> = {
  CACHE_TTL_SHORT: ttl("CACHE_TTL_SHORT", [], "5m"),
  CACHE_TTL_LONG: ttl("CACHE_TTL_LONG", [], "2h"),
};

function reject(): never {
  throw new RangeError();
}
