import type { Driver } from "../../drivers/driver.ts";
import type { NodeAddress } from "../base/hosts.ts";
import type { Timeout, Ttl, TtlClasses } from "../base/ttl.ts";
import type { ClientDefaults } from "./policy.ts";

/** The drivers that a configuration can name. */
export type DriverName = "memory" | "node-redis" | "cluster" | "sentinel" | "upstash";

/**
 * The way in which databases are kept apart: by their numbers, by key prefixes, or by numbers if the store has them.
 */
export type DatabasesMode = "auto" | "numbered" | "prefixed";

/** The answer to a caller while the store fails: a miss (or `false`, 0), or an error. */
export type OnError = "miss" | "throw";

/** A server of several: `"host"`, `"host:6379"`, `"[::1]:6379"`, or its parts. */
export type NodeOption = string | { readonly host: string; readonly port?: number };

/** Returns the address by which this process reaches a server that names itself by another. */
export type MapAddress = (address: NodeAddress) => NodeAddress;

/** The options of a cluster. User, password and TLS are those of the client. */
export interface ClusterSettings {
  /**
   * Nodes to ask for the others; one that answers is enough. As text with commas between them, or as a list. Variable
   * `REDIS_CLUSTER_NODES`.
   * @default host and port of the client
   */
  readonly nodes?: string | readonly NodeOption[];
  /**
   * The number of shards that the keys of a service are spread over: 1, 4, 16, 64 or 256. It is a part of the keys, so
   * all processes of a store must have the same. Any driver takes it. Variable `CACHE_SHARDS`.
   * @default 64 with the driver `cluster`, otherwise keys are not spread
   */
  readonly shards?: number;
  /** Maps the addresses that the nodes announce. @default they are used as they are */
  readonly mapAddress?: MapAddress;
}

/** The options of Sentinel. User, password and TLS of the data nodes are those of the client. */
export interface SentinelSettings {
  /** The sentinels, as text with commas between them, or as a list. Variable `REDIS_SENTINELS`. */
  readonly sentinels?: string | readonly NodeOption[];
  /** The name that the sentinels know the master by. Variable `REDIS_SENTINEL_NAME`. */
  readonly name?: string;
  /** The ACL user of the sentinels. Variable `REDIS_SENTINEL_USERNAME`. */
  readonly username?: string;
  /** The password of the sentinels. Variable `REDIS_SENTINEL_PASSWORD`. */
  readonly password?: string;
  /** Encrypts TCP to the sentinels. Variable `REDIS_SENTINEL_TLS`. @default that of the data nodes */
  readonly tls?: boolean;
  /** Maps the addresses that the sentinels announce. @default they are used as they are */
  readonly mapAddress?: MapAddress;
}

/** The options of a client that are variables too. Each beats its variable. */
export interface ConfigOptions extends Omit<ClientDefaults, "tags"> {
  /**
   * The driver by name, or a ready driver, which the client does not close. Variable `CACHE_DRIVER`.
   * @default that of the URL, then the one that the environment names
   */
  readonly driver?: DriverName | Driver;
  /**
   * `memory:`, `redis://`, `rediss://` (or `valkey://`, `valkeys://`), `redis+cluster://`, `redis+sentinel://` (also
   * with `rediss`), `redis+unix:`, `unix:`, `https://` or `http://`. The query of a Redis URL may have `db` and `ssl`.
   * Variable `CACHE_URL`.
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
  /** Encrypts TCP. Variable `REDIS_TLS`. @default false */
  readonly tls?: boolean;
  /**
   * `size`: the number of TCP connections, 1-100, which all databases share. Variable `REDIS_POOL_SIZE`.
   * @default { size: 1 }
   */
  readonly pool?: { readonly size?: number };
  /** A cluster, and its shards: `{ nodes, shards, mapAddress }`. @default none */
  readonly cluster?: ClusterSettings;
  /** Sentinels: `{ sentinels, name, username, password, tls, mapAddress }`. @default none */
  readonly sentinel?: SentinelSettings;
  /** The start of every key, followed by a `:`. Variable `CACHE_PREFIX`. @default "" */
  readonly prefix?: string;
  /** The way in which databases are kept apart. Variable `CACHE_DATABASES`. @default "auto" */
  readonly databases?: DatabasesMode;
  /**
   * The deadline of an operation: milliseconds, or `"2s"`. It covers connecting, queueing, sending and the reply. At a
   * cold start it pauses while the driver's code is loaded, and, until the store answers for the first time, while the
   * process gets no processor. Variable `CACHE_TIMEOUT_MS`. @default 500
   */
  readonly timeout?: Timeout;
  /** The answer while the store fails. Variable `CACHE_ON_ERROR`. @default "miss" */
  readonly onError?: OnError;
  /** The TTL if nothing else gives one. Variable `CACHE_TTL_DEFAULT`. @default "1h" */
  readonly ttl?: Ttl;
  /**
   * The number of times that a command that can be repeated is sent again, 0-10. Variable `CACHE_RETRIES`.
   * @default 2
   */
  readonly retries?: number;
  /** The database of the unnamed cache, 0-15. Variable `REDIS_DB`. @default 0 */
  readonly database?: number;
  /** The maximum number of entries of the memory driver. Variable `CACHE_MAX_ENTRIES`. @default the driver's */
  readonly maxEntries?: number;
  /** The maximum number of bytes of the memory driver. Variable `CACHE_MAX_BYTES`. @default the driver's */
  readonly maxBytes?: number;
  /** Lets services share databases. Variable `CACHE_ALLOW_SHARED_DATABASES`. @default false */
  readonly allowSharedDatabases?: boolean;
  /**
   * Makes it an error that no store is named, instead of caching in the memory of this process. Variable
   * `CACHE_REQUIRE_STORE`.
   * @default false
   */
  readonly requireStore?: boolean;
}

/** The login of every data node, for the drivers over TCP. */
export interface RedisLogin {
  /** The ACL user. */
  readonly username?: string;
  /** The password. */
  readonly password?: string;
  /** Encrypts TCP. */
  readonly tls: boolean;
  /** The number of connections, which all databases share. */
  readonly poolSize: number;
}

/** The address of Redis, for the driver of one server. */
export interface RedisConfig extends RedisLogin {
  /** The host. */
  readonly host: string;
  /** The TCP port. */
  readonly port: number;
  /** The Unix socket; it beats host and port. */
  readonly path?: string;
}

/** The nodes of a cluster. */
export interface ClusterConfig {
  /** The nodes to ask for the others. */
  readonly nodes: readonly NodeAddress[];
  /** Maps the addresses that the nodes announce. */
  readonly mapAddress?: MapAddress;
}

/** The sentinels, and the master that they know. */
export interface SentinelConfig {
  /** The sentinels. */
  readonly sentinels: readonly NodeAddress[];
  /** The name of the master. */
  readonly name: string;
  /** The ACL user of the sentinels. */
  readonly username?: string;
  /** The password of the sentinels. */
  readonly password?: string;
  /** Encrypts TCP to the sentinels. */
  readonly tls: boolean;
  /** Maps the addresses that the sentinels announce. */
  readonly mapAddress?: MapAddress;
}

/** The address of Upstash, for the REST driver. */
export interface UpstashConfig {
  /** The URL, without credentials and without a trailing slash. */
  readonly url: string;
  /** The token. */
  readonly token: string;
}

/** The bounds of the memory driver; those that are left out are its own defaults. */
export interface MemoryConfig {
  /** The maximum number of entries. */
  readonly maxEntries?: number;
  /** The maximum number of bytes. */
  readonly maxBytes?: number;
}

/** The part of a configuration that is the same for every driver. */
export interface CommonConfig {
  /** The start of every key; may be empty. */
  readonly prefix: string;
  /** The way in which databases are kept apart. */
  readonly databases: DatabasesMode;
  /** The database of the unnamed cache. */
  readonly database: number;
  /** The deadline of an operation in milliseconds. */
  readonly timeout: number;
  /** The number of times that a command that can be repeated is sent again. */
  readonly retries: number;
  /** The answer while the store fails. */
  readonly onError: OnError;
  /** Lets services share databases. */
  readonly allowSharedDatabases: boolean;
  /** The number of shards of each keyspace; absent if keys are not spread. */
  readonly shards?: number;
  /** The TTLs that have a name, in milliseconds; `undefined` for no expiry. */
  readonly ttl: TtlClasses;
  /**
   * The TTLs by variable in milliseconds, `undefined` for no expiry: those that are set, and the three general ones.
   */
  readonly ttls: ReadonlyMap<string, number | undefined>;
  /** The defaults of all entries, and of the store. */
  readonly defaults: ClientDefaults;
}

/** A configuration: the part for every driver, and the chosen driver with its address or bounds. */
export type Config = CommonConfig & {
  /** `true` if a store is named; otherwise values are cached in the memory of this process. */
  readonly named: boolean;
} & (
    | { readonly driver: "memory"; readonly memory: MemoryConfig }
    | { readonly driver: "node-redis"; readonly redis: RedisConfig }
    | { readonly driver: "cluster"; readonly redis: RedisLogin; readonly cluster: ClusterConfig }
    | { readonly driver: "sentinel"; readonly redis: RedisLogin; readonly sentinel: SentinelConfig }
    | { readonly driver: "upstash"; readonly upstash: UpstashConfig }
  );

/** The input of `parseConfig` besides the variables. */
export interface ParseConfigOptions {
  /** Client options: they beat the variables, and problems name them. */
  readonly options?: ConfigOptions;
  /** Names of client options that are not configuration. @default [] */
  readonly otherOptions?: readonly string[];
  /** The TTL variables of an application's own services. @default [] */
  readonly ttlVariables?: readonly string[];
  /**
   * The names that come from the library's own files, such as `.env.cache`: unknown names among them are problems.
   * @default none
   */
  readonly inFiles?: ReadonlySet<string>;
  /** `false` on runtimes without TCP, which prefer Upstash to Redis if both are set. @default true */
  readonly tcp?: boolean;
}
