/**
 * The configuration: one schema, pure, over options and the variables of the same meaning.
 *
 * An option beats the environment, and an address among the options (`url`, `host`, a ready driver) beats the whole address
 * of the environment. A URL beats the variables `REDIS_*`, which fill in what it leaves out; beside `REDIS_URL` they must agree
 * with it.
 *
 * @module
 */

import * as v from "valibot";
import type { Driver } from "../../drivers/driver.ts";
import { ADDRESS_ACCEPTED, type Address, Refusal, readAddress, readHost } from "../base/address.ts";
import { describe } from "../base/check.ts";
import { CacheConfigError } from "../base/errors.ts";
import { defined } from "../base/options.ts";
import { slips } from "../base/slips.ts";
import {
  type Duration,
  durations,
  millisecondsOf,
  parseDuration,
  type Timeout,
  TTL_ACCEPTED,
  type Ttl,
  type TtlClasses,
} from "../base/ttl.ts";
import { type EncryptionOptions, keyRing } from "../entry/seal.ts";
import { Breaker } from "../wire/breaker.ts";
import { type ClientDefaults, checkDefaults } from "./policy.ts";

/** The wires that the configuration can choose. */
export type DriverName = "memory" | "node-redis" | "upstash";

/** How services' databases are kept apart: as numbered databases, by key prefixes, or as the driver can. */
export type DatabasesMode = "auto" | "numbered" | "prefixed";

/** What a failing store means for a caller: a miss (or `false`, 0), or an error. */
export type OnError = "miss" | "throw";

/** The options of a client that are variables too. Each beats its variable. */
export interface ConfigOptions extends Omit<ClientDefaults, "tags"> {
  /** The wire, by name or ready (then it is not closed with the client). Variable `CACHE_DRIVER`. @default by the URL, then by what the environment names */
  readonly driver?: DriverName | Driver;
  /**
   * `memory:`, `redis://`, `rediss://` (or `valkey://`, `valkeys://`), `redis+unix:`, `unix:`, `https://` or `http://`.
   * The query of those of Redis may say `db` and `ssl`. Variable `CACHE_URL`.
   */
  readonly url?: string;
  /** The REST token. Variable `UPSTASH_REDIS_REST_TOKEN`. */
  readonly token?: string;
  /** The host of Redis. Variable `REDIS_HOST`. @default "localhost" */
  readonly host?: string;
  /** The TCP port of Redis. Variable `REDIS_PORT`. @default 6379 */
  readonly port?: number;
  /** The ACL user. Variable `REDIS_USERNAME`. */
  readonly username?: string;
  /** The password. Variable `REDIS_PASSWORD`. */
  readonly password?: string;
  /** Whether TCP is encrypted. Variable `REDIS_TLS`. @default false */
  readonly tls?: boolean;
  /** `size`: TCP connections a database, 1-100. Variable `REDIS_POOL_SIZE`. @default { size: 1 } */
  readonly pool?: { readonly size?: number };
  /** What every key starts with, a `:` after it. Variable `CACHE_PREFIX`. @default "" */
  readonly prefix?: string;
  /** How databases are kept apart. Variable `CACHE_DATABASES`. @default "auto" */
  readonly databases?: DatabasesMode;
  /**
   * The deadline of an operation: milliseconds, or `"2s"`. It covers connecting, queueing, sending and the reply; at a
   * cold start it stands still while the driver's code is loaded, and until the store's first answer also while the
   * process gets no processor. Variable `CACHE_TIMEOUT_MS`, in milliseconds. @default 500
   */
  readonly timeout?: Timeout;
  /** What a failing store means for a caller. Variable `CACHE_ON_ERROR`. @default "miss" */
  readonly onError?: OnError;
  /** The TTL where nothing else gives one. Variable `CACHE_TTL_DEFAULT`. @default "1h" */
  readonly ttl?: Ttl;
  /** How often a command that can be repeated is sent again, 0-10. Variable `CACHE_RETRIES`. @default 2 */
  readonly retries?: number;
  /** The database of the unnamed cache, 0-15. Variable `REDIS_DB`. @default 0 */
  readonly database?: number;
  /** The most entries of the memory driver. Variable `CACHE_MAX_ENTRIES`. @default the driver's */
  readonly maxEntries?: number;
  /** The most bytes of the memory driver. Variable `CACHE_MAX_BYTES`. @default the driver's */
  readonly maxBytes?: number;
  /** Whether two services may share a database. Variable `CACHE_ALLOW_SHARED_DATABASES`. @default false */
  readonly allowSharedDatabases?: boolean;
  /**
   * Whether it is an error that no store is named, which leaves the memory of this process. Variable
   * `CACHE_REQUIRE_STORE`.
   * @default false
   */
  readonly requireStore?: boolean;
}

/** Where Redis is, for the TCP driver. */
export interface RedisConfig {
  /** The host. */
  readonly host: string;
  /** The TCP port. */
  readonly port: number;
  /** The Unix socket; host and port do not count where it is given. */
  readonly path?: string;
  /** The ACL user. */
  readonly username?: string;
  /** The password. */
  readonly password?: string;
  /** Whether TCP is encrypted. */
  readonly tls: boolean;
  /** Connections a database. */
  readonly poolSize: number;
}

/** Where Upstash is, for the REST driver. */
export interface UpstashConfig {
  /** The URL, without credentials and without a trailing slash. */
  readonly url: string;
  /** The token. */
  readonly token: string;
}

/** The bounds of the memory driver; its own defaults where they are left out. */
export interface MemoryConfig {
  /** The most entries. */
  readonly maxEntries?: number;
  /** The most bytes. */
  readonly maxBytes?: number;
}

/** What holds for every driver. */
export interface CommonConfig {
  /** What every key starts with; may be empty. */
  readonly prefix: string;
  /** How databases are kept apart. */
  readonly databases: DatabasesMode;
  /** The database of the unnamed cache. */
  readonly database: number;
  /** The deadline of an operation in milliseconds. */
  readonly timeout: number;
  /** How often a command that can be repeated is sent again. */
  readonly retries: number;
  /** What a failing store means for a caller. */
  readonly onError: OnError;
  /** Whether two services may share a database. */
  readonly allowSharedDatabases: boolean;
  /** The TTLs that have a name, in milliseconds; `undefined` is for ever. */
  readonly ttl: TtlClasses;
  /** The TTLs by variable in milliseconds, `undefined` for ever: those that were set, and the three general ones. */
  readonly ttls: ReadonlyMap<string, number | undefined>;
  /** What holds for all entries where nothing nearer says otherwise, and for the store. */
  readonly defaults: ClientDefaults;
}

/** A configuration: what holds for every driver, and the chosen driver with what it needs. */
export type Config = CommonConfig & {
  /** Whether a store was named; otherwise the memory of this process is what is left. */
  readonly named: boolean;
} & (
    | { readonly driver: "memory"; readonly memory: MemoryConfig }
    | { readonly driver: "node-redis"; readonly redis: RedisConfig }
    | { readonly driver: "upstash"; readonly upstash: UpstashConfig }
  );

/** What {@linkcode parseConfig} takes beside the variables. */
export interface ParseConfigOptions {
  /** Client options: they beat the variables, and problems name them. */
  readonly options?: ConfigOptions;
  /** Names of client options that are not configuration. @default [] */
  readonly otherOptions?: readonly string[];
  /** The TTL variables of an application's own services. @default [] */
  readonly ttlVariables?: readonly string[];
  /**
   * The names that come from the library's own files, `.env.cache` and its like: what nobody knows among them is a
   * problem.
   * @default none
   */
  readonly inFiles?: ReadonlySet<string>;
  /** Whether the runtime has TCP: where not, Upstash is taken before Redis when both are set. @default true */
  readonly tcp?: boolean;
}

function reject(): never {
  throw new RangeError();
}

/**
 * A setting: `parse` answers its value, or throws when what was given is not what `accepted` says: a `Refusal` by its
 * reason.
 */
function setting<T>(accepted: string, parse: (given: unknown) => T, fallback?: string) {
  const schema = v.pipe(
    v.unknown(),
    v.rawTransform<unknown, T>(({ dataset, addIssue, NEVER }) => {
      try {
        return parse(dataset.value);
      } catch (error) {
        addIssue({ message: error instanceof Refusal ? error.message : `expected ${accepted}` });
        return NEVER;
      }
    }),
  );
  return v.optional(schema, fallback);
}

function oneOf<const T extends string>(names: T[], fallback?: T) {
  return setting(`one of ${names.join(", ")}`, (given) => names.find((name) => name === given) ?? reject(), fallback);
}

function whole(min: number, max: number, fallback?: string) {
  const parse = (given: unknown) =>
    /^\d{1,16}$/.test(`${given}`) && Number(given) >= min && Number(given) <= max ? Number(given) : reject();
  return setting(`a whole number from ${min} to ${max}`, parse, fallback);
}

function flag(fallback?: string) {
  const parse = (given: unknown) => /^(true|1)$/i.test(`${given}`) || (!/^(false|0)$/i.test(`${given}`) && reject());
  return setting("true, false, 1 or 0", parse, fallback);
}

function text(accepted = "a string", pattern = /^/, fallback?: string) {
  return setting(accepted, (given) => (typeof given === "string" && pattern.test(given) ? given : reject()), fallback);
}

/**
 * A TTL; seconds may be text. `Infinity` stands for ever, because `undefined` is what is not set. One of `names` stands
 * for itself until it is known how long that is.
 */
function ttl(names: readonly (keyof TtlClasses)[], fallback?: string) {
  const parse = (given: unknown): number | keyof TtlClasses => {
    const duration = (/^\d+$/.test(`${given}`) ? Number(given) : given) as Duration;
    return names.find((name) => name === given) ?? parseDuration(duration, "ttl") ?? Number.POSITIVE_INFINITY;
  };
  return setting(durations(...names), parse, fallback);
}

/** A TTL of one's own, which may be one that has a name. */
const ownTtl = ttl(["default", "short", "long"]);

/** What holds for all entries and for the store: as an option, or as the text of its variable. */
function asDefault<N extends keyof ClientDefaults>(name: N, accepted: string) {
  const parse = (given: unknown): ClientDefaults[N] => {
    const value = typeof given === "string" ? ofText(name, given) : given;
    checkDefault(name, value);
    return value as ClientDefaults[N];
  };
  return setting(accepted, parse);
}

function ofText(name: keyof ClientDefaults, text: string): unknown {
  if (name === "encryption") {
    const pairs = text.split(",").map((pair) => pair.trim().split(/:(.*)/s).slice(0, 2));
    return { keys: Object.fromEntries(pairs), current: pairs[0]?.[0] };
  }
  if (/^(false|off|0)$/i.test(text)) return name === "jitter" ? 0 : false;
  // The variables say in their names that they are in milliseconds.
  if (/Timeout$/.test(name)) return Number(text);
  if (/^(true|on)$/i.test(text) || (text === "1" && /^(lock|near|fleetStats)$/.test(name))) return true;
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

function checkDefault(name: keyof ClientDefaults, value: unknown): void {
  checkDefaults({ [name]: value });
  if (name === "encryption") keyRing(value as EncryptionOptions);
  if (name === "breaker" && value !== false) new Breaker(value as object, Date.now, () => {});
  if (name === "fleetStats" && typeof value !== "boolean") reject();
}

/** What the names of Upstash's variables start with: its own, and those of its integration in Vercel. */
const REST = ["UPSTASH_REDIS_REST", "KV_REST_API"] as const;

const SCHEMA = {
  driver: oneOf(["memory", "node-redis", "upstash"]),
  url: setting(ADDRESS_ACCEPTED, (given) => readAddress(given)),
  token: text("a token without spaces", /^[!-~]+$/),
  host: setting("a host", readHost),
  port: whole(1, 65535),
  username: text(),
  password: text(),
  tls: flag(),
  pool: whole(1, 100, "1"),
  prefix: text("a string", /^/, ""),
  databases: oneOf(["auto", "numbered", "prefixed"], "auto"),
  database: whole(0, 15),
  timeout: whole(1, 2 ** 31 - 1, "500"),
  onError: oneOf(["miss", "throw"], "miss"),
  ttl: ttl(["short", "long"], "1h"),
  CACHE_TTL_SHORT: ttl([], "5m"),
  CACHE_TTL_LONG: ttl([], "2h"),
  retries: whole(0, 10, "2"),
  allowSharedDatabases: flag("0"),
  requireStore: flag("0"),
  maxEntries: whole(1, 2 ** 53 - 1),
  maxBytes: whole(1, 2 ** 53 - 1),
  staleFor: asDefault("staleFor", `${TTL_ACCEPTED}, or false`),
  failSafeFor: asDefault("failSafeFor", `${TTL_ACCEPTED}, or false`),
  negativeTtl: asDefault("negativeTtl", `${TTL_ACCEPTED}, or false`),
  softTimeout: asDefault("softTimeout", "milliseconds up to 2147483647, or false"),
  hardTimeout: asDefault("hardTimeout", "milliseconds up to 2147483647, or false"),
  jitter: asDefault("jitter", "a share from 0 to 1"),
  earlyRefresh: asDefault("earlyRefresh", "true, false or a number up to 1000"),
  lock: asDefault("lock", "true, false or { ttl, wait }"),
  near: asDefault("near", "true, false or { maxEntries, maxBytes, ttl, clone }"),
  compressAbove: asDefault("compressAbove", "a number of characters, or false"),
  encryption: asDefault("encryption", "keys of 16 or 32 bytes in base64, as id:key,id:key or { keys, current }"),
  breaker: asDefault("breaker", "false or { failures, openFor, maxOpenFor }"),
  fleetStats: asDefault("fleetStats", "true or false"),
};

const DEFAULTS = [
  "staleFor",
  "failSafeFor",
  "negativeTtl",
  "softTimeout",
  "hardTimeout",
  "jitter",
  "earlyRefresh",
  "lock",
  "near",
  "compressAbove",
  "encryption",
  "breaker",
  "fleetStats",
] as const;

/** The variable of each option. */
const VARIABLES: Readonly<Record<keyof ConfigOptions, string>> = {
  driver: "CACHE_DRIVER",
  url: "CACHE_URL",
  token: "UPSTASH_REDIS_REST_TOKEN",
  host: "REDIS_HOST",
  port: "REDIS_PORT",
  username: "REDIS_USERNAME",
  password: "REDIS_PASSWORD",
  tls: "REDIS_TLS",
  pool: "REDIS_POOL_SIZE",
  prefix: "CACHE_PREFIX",
  databases: "CACHE_DATABASES",
  database: "REDIS_DB",
  timeout: "CACHE_TIMEOUT_MS",
  onError: "CACHE_ON_ERROR",
  ttl: "CACHE_TTL_DEFAULT",
  retries: "CACHE_RETRIES",
  allowSharedDatabases: "CACHE_ALLOW_SHARED_DATABASES",
  requireStore: "CACHE_REQUIRE_STORE",
  maxEntries: "CACHE_MAX_ENTRIES",
  maxBytes: "CACHE_MAX_BYTES",
  staleFor: "CACHE_STALE_FOR",
  failSafeFor: "CACHE_FAIL_SAFE_FOR",
  negativeTtl: "CACHE_NEGATIVE_TTL",
  softTimeout: "CACHE_SOFT_TIMEOUT_MS",
  hardTimeout: "CACHE_HARD_TIMEOUT_MS",
  jitter: "CACHE_JITTER",
  earlyRefresh: "CACHE_EARLY_REFRESH",
  lock: "CACHE_LOCK",
  near: "CACHE_NEAR",
  compressAbove: "CACHE_COMPRESS_ABOVE",
  encryption: "CACHE_ENCRYPTION_KEYS",
  breaker: "CACHE_BREAKER",
  fleetStats: "CACHE_FLEET_STATS",
};

/** The TTL variables that are no option: the general ones and those of the services in this library. */
const TTL_VARIABLES =
  "SHORT LONG SESSIONS ROUTES PRODUCTS SEARCH CATEGORIES PERMISSIONS TOKENS PROFILES PREFERENCES ADDRESSES CARTS ORDER_STATUS ORDERS ORDER_HISTORY DASHBOARDS REPORTS PAYMENT_METHODS TRANSACTIONS TEMPLATES NOTIFICATION_PREFERENCES"
    .split(" ")
    .map((name) => `CACHE_TTL_${name}`);

/** The variables that {@linkcode parseConfig} knows, those of an application's own services aside. */
export const CONFIG_VARIABLES: readonly string[] = [
  ...Object.values(VARIABLES),
  "REDIS_URL",
  ...REST.flatMap((api) => [`${api}_URL`, `${api}_TOKEN`]),
  ...TTL_VARIABLES,
];

/** What names in the library's own files start with, if they are to be known. */
const OURS = /^(CACHE|REDIS|UPSTASH_REDIS_REST|KV_REST_API)_/;

/** What was given, by setting: variables, and the options that beat them. */
interface Given {
  readonly given: Record<string, unknown>;
  /** What each came from, for messages. */
  readonly labels: Record<string, string>;
  /** The TTL variables beside `CACHE_TTL_DEFAULT`. */
  readonly ttlNames: Set<string>;
  /** What the names of Upstash's variables start with. */
  readonly api: string;
}

function gather(
  record: Readonly<Record<string, string | undefined>>,
  { options = {}, otherOptions = [], ttlVariables = [], tcp = true, inFiles }: ParseConfigOptions,
  problems: string[],
): Given {
  const given: Record<string, unknown> = {};
  const labels: Record<string, string> = {};
  const take = (key: string, name: string) => {
    if (!env[name]) return;
    // Kubernetes sets REDIS_PORT to "tcp://10.0.0.1:6379" where a service is named redis.
    given[key] = key === "port" ? env[name].replace(/^tcp:.*:/, "") : env[name];
    labels[key] = name;
  };

  const env: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(record)) {
    // Spaces around a password or a prefix may be meant.
    env[name] = /PASSWORD|PREFIX/.test(name) ? value : value?.trim();
  }
  const chosen: unknown = (options.driver as Driver | undefined)?.send ? "memory" : options.driver;
  const moved = chosen !== options.driver || (options.url ?? options.host) !== undefined;
  const addresses = ["CACHE_DRIVER", "CACHE_URL", "REDIS_URL", ...REST.map((api) => `${api}_URL`)];
  if (moved) for (const name of addresses) delete env[name];
  if (chosen !== undefined && driverOf(env.CACHE_URL) !== chosen) delete env.CACHE_URL;

  for (const [option, name] of Object.entries(VARIABLES)) take(option, name);
  const ttlNames = new Set([...TTL_VARIABLES, ...ttlVariables]);
  const known = [...CONFIG_VARIABLES, ...ttlVariables];
  for (const name of Object.keys(env)) {
    const ours = inFiles?.has(name) ?? false;
    if (!env[name] || known.includes(name) || !(ours ? OURS : /^CACHE_/).test(name)) continue;
    const near = nearest(name, known);
    const ttl = name.startsWith("CACHE_TTL_");
    if (isSlip(name, near) || (ours && !ttl)) problems.push(`${name} is not a known variable, the nearest is ${near}`);
    else if (ttl && !LINK.test(name)) ttlNames.add(name);
  }
  for (const name of ttlNames) take(name, name);
  const pool = Object(options.pool) === options.pool ? options.pool?.size : options.pool;
  if (pool !== options.pool && Object.keys(options.pool ?? {}).some((name) => name !== "size")) {
    problems.push(`option "pool" is { ${Object.keys(options.pool ?? {}).join(", ")} }, expected { size }`);
  }
  for (const [option, value] of Object.entries({ ...options, driver: chosen, pool })) {
    if (!Object.hasOwn(VARIABLES, option)) {
      const accepted = [...Object.keys(VARIABLES), ...otherOptions];
      if (!accepted.includes(option)) {
        problems.push(`option ${describe(option)} is unknown, expected one of ${accepted.join(", ")}`);
      }
    } else if (value !== undefined) {
      given[option] = (/imeout$/.test(option) && millisecondsOf(value)) || value;
      labels[option] = `option "${option}"`;
    }
  }

  const named = (options.driver as Driver | undefined)?.database;
  if (options.database === undefined && named !== undefined) {
    given.database = named;
    labels.database = "the database of the driver";
  }
  const api = REST.find((api) => env[`${api}_URL`]) ?? REST[0];
  if (given.url === undefined) {
    const redis = env.REDIS_URL || given.host;
    given.driver ??= env[`${api}_URL`] && !(tcp && redis) ? "upstash" : redis ? "node-redis" : undefined;
    if (given.driver === "node-redis") take("url", "REDIS_URL");
    if (given.driver === "upstash") {
      take("url", `${api}_URL`);
      if (options.token === undefined) take("token", `${api}_TOKEN`);
    }
  }
  return { given, labels, ttlNames, api };
}

/**
 * Makes a configuration from variables and options.
 *
 * The driver is `CACHE_DRIVER`, else that of `CACHE_URL`, else node-redis when `REDIS_URL` or `REDIS_HOST` is set, else
 * upstash when `UPSTASH_REDIS_REST_URL` or `KV_REST_API_URL` is set, else memory. URLs of other drivers are not looked
 * at. An empty variable is unset. A TTL variable that nobody declared is accepted unless its name is a slip of a known
 * one. Other unknown `CACHE_*` are passed over, because other programs have such names too, unless they are nearly one
 * of this library's; in its own files they are problems.
 *
 * @param record The variables, such as `process.env`; only those of this library are looked at.
 * @param settings The client's options, the TTL variables of an application's services, whether there is TCP.
 * @returns The configuration.
 * @throws {CacheConfigError} With every problem at once, free of passwords, tokens and credentials in URLs.
 *
 * @example
 * ```ts
 * import { parseConfig } from "@foodfast/larder";
 *
 * const config = parseConfig({ CACHE_URL: "redis://localhost:6379", CACHE_TTL_PRODUCTS: "2h" });
 * console.log(config.driver); // "node-redis"
 * ```
 */
export function parseConfig(
  record: Readonly<Record<string, string | undefined>>,
  settings: ParseConfigOptions = {},
): Config {
  const problems: string[] = [];
  const { options = {} } = settings;
  const { given, labels, ttlNames, api } = gather(record, settings, problems);
  const say = (key: string, message: string) => problems.push(`${labels[key]} is ${show(key, given[key])}, ${message}`);

  const own = Object.fromEntries([...ttlNames].map((name) => [name, SCHEMA[name as "CACHE_TTL_LONG"] ?? ownTtl]));
  const result = v.safeParse(v.object({ ...own, ...SCHEMA }), given);
  const values = result.output as Partial<typeof result.output & Address> & Record<string, unknown>;
  for (const { path, message } of result.issues ?? []) {
    const key = path?.[0].key as string;
    // An option takes more than its variable, whose name says that it is in milliseconds.
    const timed = /imeout$/.test(key) && options[key as keyof ConfigOptions] !== undefined;
    const times = 'expected milliseconds up to 2147483647, or a string such as "2s"';
    say(key, timed ? message.replace(/^[^,]*/, times) : message);
    delete values[key];
  }
  for (const [key, said] of Object.entries(values.url ?? {})) {
    const option = options[key as keyof ConfigOptions] !== undefined;
    if (values[key] !== undefined && values[key] !== said) {
      if (key === "driver") say("url", `but the driver is ${values[key]}`);
      else if (option && options.url === undefined) continue;
      else if (option || labels.url === "REDIS_URL") say(key, `but ${labels.url} says otherwise`);
    }
    values[key] = said;
  }
  if (values.driver === "upstash" && (given.driver ?? "upstash") === "upstash") {
    for (const key of ["url", "token"]) {
      if ((given[key] ?? values[key]) !== undefined) continue;
      problems.push(
        `${api}_${key.toUpperCase()} (option "${key}") is not set, expected the ${key} of Upstash's REST API`,
      );
    }
  }
  const isNamed = (given.driver ?? given.url) !== undefined;
  if (values.requireStore && !isNamed) {
    say(
      "requireStore",
      "but no store is named, expected CACHE_URL, REDIS_URL, REDIS_HOST, UPSTASH_REDIS_REST_URL or CACHE_DRIVER",
    );
  }
  if (problems.length > 0) throw new CacheConfigError(problems);

  const named: Record<string, unknown> = { short: values.CACHE_TTL_SHORT, long: values.CACHE_TTL_LONG };
  const spanOf = (given: unknown): unknown => {
    const milliseconds = typeof given === "string" ? named[given] : given;
    return milliseconds === Number.POSITIVE_INFINITY ? undefined : milliseconds;
  };
  named.default = typeof values.ttl === "string" ? named[values.ttl] : values.ttl;
  const ttls = new Map<string, unknown>();
  for (const name of ttlNames) if (values[name] !== undefined) ttls.set(name, spanOf(values[name]));
  ttls.set("CACHE_TTL_DEFAULT", spanOf("default"));
  const { driver = "memory", base, token, host, port, path, username, password, tls, maxEntries, maxBytes } = values;
  return {
    driver,
    named: isNamed,
    memory: defined({ maxEntries, maxBytes }),
    redis: defined({
      host: host ?? "localhost",
      port: port ?? 6379,
      path,
      username,
      password,
      tls: tls ?? false,
      poolSize: values.pool,
    }),
    upstash: { url: base, token },
    prefix: values.prefix,
    databases: values.databases,
    database: values.database ?? 0,
    timeout: values.timeout,
    retries: values.retries,
    onError: values.onError,
    allowSharedDatabases: values.allowSharedDatabases,
    ttl: { default: spanOf("default"), short: spanOf("short"), long: spanOf("long") },
    ttls,
    defaults: defined(Object.fromEntries(DEFAULTS.map((name) => [name, values[name]]))),
  } as unknown as Config;
}

/** Which driver a URL is for, by its scheme. */
function driverOf(url = ""): DriverName {
  return /^http/i.test(url) ? "upstash" : /^memory/i.test(url) ? "memory" : "node-redis";
}

/** Shows the value of a setting without its secrets. */
function show(key: string, value: unknown): string {
  if (/^(password|token|encryption)$/.test(key)) return "***";
  // Of options with names of their own, these tell which was meant.
  if (/^(lock|near|breaker)$/.test(key) && Object(value) === value)
    return `{ ${Object.keys(value as object).join(", ")} }`;
  const url = typeof value === "string" && (key === "url" || /[@=]|:\/\//.test(value));
  return describe(url ? redactUrl(value) : value);
}

/**
 * Takes the secrets out of a URL: user, password, query and fragment. Of what has not the form of a URL, at most the
 * scheme is left.
 *
 * @param url The URL, malformed or not.
 * @returns The URL with `***` in the place of its secrets.
 *
 * @example
 * ```ts
 * import { redactUrl } from "@foodfast/larder";
 *
 * redactUrl("redis://app:secret@cache.internal:6379/0"); // "redis://***@cache.internal:6379/0"
 * ```
 */
export function redactUrl(url: string): string {
  const [match, scheme = "", user, host = "", tail] =
    /^([a-z][\w+.-]*:\/\/)([^?#]*@)?((?:\[[\da-f:.]*\]|[\w.-]*)(?::\d{0,5})?(?:\/[\w./-]*)?)([?#][^@]*)?$/i.exec(url) ??
    [];
  if (match === undefined) return `${/^[a-z][\w+.-]*:\/\//i.exec(url) ?? ""}***`;
  return scheme + (user ? "***@" : "") + host + (tail ? "?***" : "");
}

/** A name without the ending that is left out most. */
const stem = (name: string): string => name.replace(/_(MS|FOR)$/, "");

const farOf = (name: string, other: string): number => Math.min(slips(name, other), slips(stem(name), stem(other)));

/** The name that is nearest. */
function nearest(name: string, known: readonly string[]): string {
  const far = new Map(known.map((other) => [other, farOf(name, other)]));
  return known.reduce((best, other) => ((far.get(other) as number) < (far.get(best) as number) ? other : best));
}

/**
 * Whether a name is nearly another, so that hardly anybody else's is: of TTLs, which applications name themselves, less
 * is a slip.
 */
function isSlip(name: string, other: string): boolean {
  const far = farOf(name, other);
  if (!name.startsWith("CACHE_TTL_")) return far <= (stem(other).length > 13 ? 2 : 1);
  const [letters, others] = [name, other].map((each) => [...each].sort().join());
  return letters === others || (far < 2 && name.length !== other.length);
}

/** What Kubernetes and Docker set for a service, and for each of its ports. */
const LINK = /_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_[A-Z]+(_(PROTO|PORT|ADDR))?)?)$/;
