/**
 * The smallest build: a client without built-in drivers and services. A bundle contains only those that it imports.
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

// First, because Workers compress better with the scripts in front.

export {} from "./lua/entries.ts";

// Second, for the same reason.

export * from "./client/public.ts";

import type { Driver } from "../drivers/driver.ts";
import { describe, FUNCTION, needed, type Rule } from "./base/check.ts";
import { CacheConfigError } from "./base/errors.ts";
import { millisecondsOf, parseTtl, type Timeout, TTL_CLASSES, type Ttl } from "./base/ttl.ts";
import type { fleetCounts } from "./cache/fleet_counts.ts";
import type { locks } from "./cache/locks.ts";
import type { rateLimits } from "./cache/rate_limits.ts";
import { CacheClient } from "./client/client.ts";
import { readyOpening } from "./client/store_connection.ts";
import type { ClientHooks, Setup } from "./client/types.ts";
import { COMMON, type CommonName } from "./config/common.ts";
import type { CommonConfig, DatabasesMode, OnError } from "./config/options.ts";
import { CLIENT_DEFAULTS, type ClientDefaults, checkDefaults } from "./config/policy.ts";
import type { Sealing } from "./entry/seal.ts";
import type { MakeKeyspace } from "./entry/shards.ts";
import type { nearCache } from "./near/public.ts";
import { SERVICE_NAMES } from "./services/databases.ts";
import { type Logger, listenerOf, warnOnce } from "./telemetry/logger.ts";

/** The options of a client of this build. Nothing is read from the environment. */
export interface CoreOptions extends ClientHooks, ClientDefaults {
  /** The driver, made by its own factory. It is not closed with the client. */
  readonly driver: Driver;
  /** The start of every key, followed by a `:`. @default "" */
  readonly prefix?: string;
  /** The way in which databases are kept apart. @default "auto" */
  readonly databases?: DatabasesMode;
  /** The database of the unnamed cache, 0-15. @default 0 */
  readonly database?: number;
  /** The deadline of an operation: milliseconds, or `"2s"`. @default 500 */
  readonly timeout?: Timeout;
  /** The answer while the store fails. @default "miss" */
  readonly onError?: OnError;
  /** The TTL if nothing else gives one. @default "1h" */
  readonly ttl?: Ttl;
  /**
   * The TTLs of collections, by the name of their variable, such as `CACHE_TTL_PRODUCTS`; `CACHE_TTL_SHORT` and
   * `CACHE_TTL_LONG` are `"short"` and `"long"`.
   */
  readonly ttls?: Readonly<Record<string, Ttl>>;
  /** The number of times that a command that can be repeated is sent again, 0-10. @default 2 */
  readonly retries?: number;
  /** Lets services share databases. @default false */
  readonly allowSharedDatabases?: boolean;
  /**
   * Receives failures: anything with `warn(details, message)`; `false` is silence.
   * @default `console.warn`, at most one of a kind per minute
   */
  readonly logger?: Logger | false;
  /**
   * `rateLimits` of `@foodfast/larder/rate-limits`, for the verbs of rate limits; `auth` brings its own. @default none
   */
  readonly rateLimits?: typeof rateLimits;
  /** `locks` of `@foodfast/larder/locks`, for the option `lock` and `withLock`. @default none */
  readonly locks?: typeof locks;
  /** `fleetCounts` of `@foodfast/larder/fleet-counts`, for the option `fleetStats` and the verb. @default none */
  readonly fleetCounts?: typeof fleetCounts;
  /** `nearCache` of `@foodfast/larder/near-cache`, for the option `near`, here and of services. @default none */
  readonly nearCache?: typeof nearCache;
  /**
   * `shards(64)` of `@foodfast/larder/shards`, to spread keys over the servers of a cluster. The driver `cluster` needs
   * it. @default none
   */
  readonly shards?: MakeKeyspace;
  /**
   * `sealing` of `@foodfast/larder/sealing`, for `encryption`, `compressAbove` and values stored with them.
   * @default none
   */
  readonly sealing?: Sealing;
}

const OBJECT: Rule = ["an object", (value: unknown) => Object(value) === value];

/** The rules of the options that only this build has. */
const RULES: Readonly<Record<string, Rule>> = {
  driver: ["a driver", (value: Driver) => typeof value?.send === "function"],
  ttls: OBJECT,
  rateLimits: FUNCTION,
  locks: FUNCTION,
  fleetCounts: FUNCTION,
  nearCache: FUNCTION,
  shards: FUNCTION,
  sealing: OBJECT,
};

/** Options that are checked when they are used. */
const OTHERS = ["ttl", ...CLIENT_DEFAULTS, "waitUntil", "clock", "superClasses", "logger"];

/**
 * Makes a client over a ready driver.
 *
 * @param options The options. Services are passed to `client.service` as declarations.
 * @returns The client.
 * @throws {CacheConfigError} With every problem of the options.
 * @throws {TypeError | RangeError} For a bad TTL, default of entries, hook, class or logger.
 */
export function createCacheClient(options: CoreOptions): CacheClient<Record<never, never>> {
  const problems: string[] = [];
  const rules: Record<string, Rule> = { ...RULES };
  const common: Record<string, unknown> = {};
  for (const [name, [rule, fallback]] of Object.entries(COMMON)) {
    rules[name] = rule;
    common[name] = options?.[name as CommonName] ?? fallback;
  }
  for (const [name, value] of Object.entries({ ...({ driver: undefined } as object), ...options })) {
    const rule = rules[name];
    if (OTHERS.includes(name) || (rule && name !== "driver" && value === undefined)) continue;
    const [expected, fits] = rule ?? [`one of ${[...Object.keys(rules), ...OTHERS].join(", ")}`];
    // What an unknown option holds may be a secret, such as the password in a url.
    const received = rule ? describe(value) : "unknown";
    if (!fits?.(value as never)) problems.push(`option ${name} is ${received}, expected ${expected}`);
  }
  if (problems.length > 0) throw new CacheConfigError(problems);
  if (options.driver.capabilities?.parts) needed(options.shards, "use a driver of several parts", "shards: shards(64)");
  checkDefaults(options);
  const { driver, database = driver.database ?? 0, ttls = {} } = options;
  const { CACHE_TTL_SHORT = "short", CACHE_TTL_LONG = "long" } = ttls;
  const named = { ...TTL_CLASSES, short: parseTtl(CACHE_TTL_SHORT), long: parseTtl(CACHE_TTL_LONG) };
  const ttl = { ...named, default: parseTtl(options.ttl ?? "default", "ttl", named) };
  const config = {
    ...common,
    database,
    timeout: millisecondsOf(common.timeout),
    ttl,
    defaults: options,
    ttls: new Map(Object.entries(ttls).map(([name, value]) => [name, parseTtl(value, name, ttl)])),
  } as unknown as CommonConfig;
  const configured = { config, opening: readyOpening(driver) };
  return new CacheClient({
    ...(options as unknown as Pick<
      Setup<object>,
      "rateLimits" | "locks" | "fleetCounts" | "nearCache" | "shards" | "sealing"
    >),
    hooks: options,
    listener: listenerOf(options.logger),
    warn: (message) => warnOnce(options.logger, message),
    services: {},
    reserved: SERVICE_NAMES,
    configurations: { own: configured, ofService: () => configured },
  });
}
