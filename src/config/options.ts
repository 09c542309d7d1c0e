import type { Driver } from "../../drivers/driver.ts";
import type { Timeout, Ttl, TtlClasses } from "../base/ttl.ts";
import type { ClientDefaults } from "./policy.ts";

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
