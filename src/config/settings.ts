/**
 * The one table of options: each with its variable, what it accepts, its default and its line in the documentation.
 * The types of the options and the table of the documentation are checked against it.
 *
 * @module
 */

import { ADDRESS_ACCEPTED, readAddress, readHost } from "../base/address.ts";
import { type Rule, whole } from "../base/check.ts";
import { type Duration, durations, millisecondsOf, parseDuration, TTL_ACCEPTED, type TtlClasses } from "../base/ttl.ts";
import { type EncryptionOptions, keyRing } from "../entry/seal.ts";
import { Breaker } from "../wire/breaker.ts";
import { COMMON, type CommonName, oneOf } from "./common.ts";
import type { ConfigOptions } from "./options.ts";
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
  /** Its line in the documentation. */
  readonly about: string;
}

/** Makes a setting from a rule; `fromText` turns the text of a variable into what the rule tests. */
function byRule(
  variable: string,
  [expected, test]: Rule,
  about: string,
  fromText: (text: string) => unknown = (text) => text,
  fallback?: unknown,
): Setting {
  const read = (given: unknown): unknown => {
    const value = typeof given === "string" ? fromText(given) : given;
    return test(value as never) ? value : reject();
  };
  return { variable, expected, read, fallback, about };
}

/** Makes the setting of an option that every build takes. */
function common(name: CommonName, variable: string, about: string, fromText?: (text: string) => unknown): Setting {
  const [rule, fallback] = COMMON[name];
  return byRule(variable, rule, about, fromText, fallback);
}

/** Makes the setting of an option that applies to all entries, or to the store. */
function ofEntries(name: keyof ClientDefaults, variable: string, expected: string, about: string): Setting {
  const read = (given: unknown): unknown => {
    const value = typeof given === "string" ? ofText(name, given) : given;
    checkDefaults({ [name]: value });
    if (name === "encryption") keyRing(value as EncryptionOptions);
    if (name === "breaker" && value !== false) new Breaker(value as object, Date.now, () => {});
    if (name === "fleetStats" && typeof value !== "boolean") reject();
    return value;
  };
  return { variable, expected, read, about };
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
function ttl(variable: string, names: readonly (keyof TtlClasses)[], about: string, fallback?: string): Setting {
  const read = (given: unknown): number | keyof TtlClasses => {
    const duration = (/^\d+$/.test(`${given}`) ? Number(given) : given) as Duration;
    return names.find((name) => name === given) ?? parseDuration(duration, "ttl") ?? Number.POSITIVE_INFINITY;
  };
  return { variable, expected: durations(...names), read, fallback: fallback && read(fallback), about };
}

/** Returns the setting of a TTL variable of a service, which may name one of the general ones. */
export function ttlSetting(variable: string): Setting {
  return ttl(variable, ["default", "short", "long"], "the TTL of collections that name this variable");
}

const FLAG: Rule = ["true, false, 1 or 0", (value: unknown) => typeof value === "boolean"];
const TEXT: Rule = ["a string", (value: unknown) => typeof value === "string"];
const SPAN = `${TTL_ACCEPTED}, or false`;
const LIMIT = `${COMMON.timeout[0][0]}, or false`;

/** The options of a client that are variables too. */
export const SETTINGS: Readonly<Record<keyof ConfigOptions, Setting>> = {
  driver: byRule(
    "CACHE_DRIVER",
    oneOf("memory", "node-redis", "upstash"),
    "the driver, by name or ready; by default that of the URL",
  ),
  url: {
    variable: "CACHE_URL",
    expected: ADDRESS_ACCEPTED,
    read: readAddress,
    about: "the address of the store; REDIS_URL, UPSTASH_REDIS_REST_URL and KV_REST_API_URL work too",
  },
  token: byRule(
    "UPSTASH_REDIS_REST_TOKEN",
    ["a token without spaces", (value: unknown) => typeof value === "string" && /^[!-~]+$/.test(value)],
    "the token of a REST store; KV_REST_API_TOKEN works too",
  ),
  host: { variable: "REDIS_HOST", expected: "a host", read: readHost, about: "the host of Redis" },
  port: byRule("REDIS_PORT", whole(1, 65535), "the TCP port of Redis", number),
  username: byRule("REDIS_USERNAME", TEXT, "the ACL user"),
  password: byRule("REDIS_PASSWORD", TEXT, "the password"),
  tls: byRule("REDIS_TLS", FLAG, "encrypts TCP", flag),
  pool: byRule("REDIS_POOL_SIZE", whole(1, 100), "TCP connections, which all databases share", number, 1),
  prefix: common("prefix", "CACHE_PREFIX", "the start of every key, followed by a colon"),
  databases: common("databases", "CACHE_DATABASES", "how databases are kept apart"),
  database: common("database", "REDIS_DB", "the database of the unnamed cache", number),
  timeout: common("timeout", "CACHE_TIMEOUT_MS", "the deadline of an operation: milliseconds, or 2s", milliseconds),
  onError: common("onError", "CACHE_ON_ERROR", "the answer while the store is away: a miss, or an error"),
  ttl: ttl("CACHE_TTL_DEFAULT", ["short", "long"], "the TTL if nothing else gives one", "1h"),
  retries: common("retries", "CACHE_RETRIES", "how often a command that can be repeated is sent again", number),
  allowSharedDatabases: {
    ...common("allowSharedDatabases", "CACHE_ALLOW_SHARED_DATABASES", "lets services share a database", flag),
    expected: FLAG[0],
  },
  requireStore: byRule("CACHE_REQUIRE_STORE", FLAG, "makes it an error that no store is named", flag, false),
  maxEntries: byRule("CACHE_MAX_ENTRIES", whole(1), "the maximum number of entries in the embedded store", number),
  maxBytes: byRule("CACHE_MAX_BYTES", whole(1), "the maximum number of bytes in the embedded store", number),
  staleFor: ofEntries(
    "staleFor",
    "CACHE_STALE_FOR",
    SPAN,
    "how long after its TTL a value is served while it is renewed",
  ),
  failSafeFor: ofEntries(
    "failSafeFor",
    "CACHE_FAIL_SAFE_FOR",
    SPAN,
    "how long after its TTL a value is served if the loader fails",
  ),
  negativeTtl: ofEntries(
    "negativeTtl",
    "CACHE_NEGATIVE_TTL",
    SPAN,
    "how long it is remembered that the loader gave undefined",
  ),
  softTimeout: ofEntries(
    "softTimeout",
    "CACHE_SOFT_TIMEOUT_MS",
    LIMIT,
    "after how long a caller gets the old value while the load goes on: milliseconds, or 2s",
  ),
  hardTimeout: ofEntries(
    "hardTimeout",
    "CACHE_HARD_TIMEOUT_MS",
    LIMIT,
    "after how long a load is aborted: milliseconds, or 2s",
  ),
  jitter: ofEntries("jitter", "CACHE_JITTER", "a share from 0 to 1", "the share by which TTLs are shortened at random"),
  earlyRefresh: ofEntries(
    "earlyRefresh",
    "CACHE_EARLY_REFRESH",
    "true, false or a number up to 1000",
    "renews a value before its TTL ends",
  ),
  lock: ofEntries("lock", "CACHE_LOCK", "true, false or { ttl, wait }", "lets only one process load a key"),
  near: ofEntries(
    "near",
    "CACHE_NEAR",
    "true, false or { maxEntries, maxBytes, ttl, clone }",
    "keeps decoded values in the process",
  ),
  compressAbove: ofEntries(
    "compressAbove",
    "CACHE_COMPRESS_ABOVE",
    "a number of characters, or false",
    "the length from which documents are compressed",
  ),
  encryption: ofEntries(
    "encryption",
    "CACHE_ENCRYPTION_KEYS",
    "keys of 16 or 32 bytes in base64, as id:key,id:key or { keys, current }",
    "the keys that encrypt the values of auth, payment and services with encrypted: true",
  ),
  breaker: ofEntries(
    "breaker",
    "CACHE_BREAKER",
    "false or { failures, openFor, maxOpenFor }",
    "the circuit breaker of the store",
  ),
  fleetStats: ofEntries(
    "fleetStats",
    "CACHE_FLEET_STATS",
    "true or false",
    "adds counts to those of all processes, every 10 s",
  ),
};

/** The general TTLs that are variables only. */
export const TTL_SETTINGS: Readonly<Record<"CACHE_TTL_SHORT" | "CACHE_TTL_LONG", Setting>> = {
  CACHE_TTL_SHORT: ttl("CACHE_TTL_SHORT", [], 'the TTL "short"', "5m"),
  CACHE_TTL_LONG: ttl("CACHE_TTL_LONG", [], 'the TTL "long"', "2h"),
};

function reject(): never {
  throw new RangeError();
}
