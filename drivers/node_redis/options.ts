/** The options of the TCP driver: their types and checks, and the address in their URL. */

import { type Address, readAddress } from "../../src/base/address.ts";
import { checkNames, checkOptions, checkWhole, invalid, type Rules, TEXT, whole } from "../../src/base/check.ts";
import { defined } from "../../src/base/defined.ts";
import { readHost } from "../../src/base/hosts.ts";
import { parseTimeout, type Timeout } from "../../src/base/ttl.ts";

/** TLS settings, named as in Node's `tls.connect`. Files are given by their contents. */
export interface NodeRedisTls {
  /** The certificates to trust instead of the well-known ones, as PEM. */
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[];
  /** The client's certificate, as PEM. */
  readonly cert?: string | Uint8Array;
  /** The client's private key, as PEM. */
  readonly key?: string | Uint8Array;
  /** The passphrase of the private key. */
  readonly passphrase?: string;
  /** The name that the server's certificate must carry. @default the host */
  readonly servername?: string;
  /** False to accept a certificate that cannot be verified. @default true */
  readonly rejectUnauthorized?: boolean;
}

/** The members of a ready client that the driver uses: node-redis 4, 5 and 6 all have them. */
export interface NodeRedisClient {
  /** True if commands can be sent now. */
  readonly isReady: boolean;
  /** The options that the client was created with. */
  readonly options?: object | undefined;
  /** Sends one command. */
  sendCommand(args: string[], options?: object): Promise<unknown>;
  /** Creates a client like this one, not yet connected. */
  duplicate(overrides?: object): unknown;
  /** Listens to an event. */
  on(event: "error", listener: (error: Error) => void): unknown;
}

/** Options of {@linkcode nodeRedis}. */
export interface NodeRedisOptions {
  /**
   * `redis://[[username]:password@]host[:port][/database]`, `rediss://` for TLS, or `unix:/path`; `valkey://` and
   * `valkeys://` are the same. The options below override its parts.
   */
  readonly url?: string;
  /** The name or address of the server. @default "localhost" */
  readonly host?: string;
  /** The port of the server. @default 6379 */
  readonly port?: number;
  /** The path of a Unix socket, instead of host and port. */
  readonly path?: string;
  /** The ACL user. @default the server's default user */
  readonly username?: string;
  /** The password of the user. */
  readonly password?: string;
  /** True for an encrypted connection, or its settings. @default true for `rediss://`, otherwise false */
  readonly tls?: boolean | NodeRedisTls;
  /**
   * `size`: the most connections, which all databases share. Another one is opened if all are busy.
   * @default { size: 1 }
   */
  readonly pool?: { readonly size?: number };
  /** The longest time to open a connection, login included: milliseconds, or `"5s"`. @default 5000 */
  readonly connectTimeout?: Timeout;
  /**
   * The silence after which a PING keeps a connection alive: milliseconds, or `"1m"`.
   * @default no PING; 10 s on the connection for invalidation messages
   */
  readonly pingInterval?: Timeout;
  /**
   * A connected client of node-redis 4, 5 or 6, instead of everything above except `connectTimeout` and `pingInterval`.
   * It serves its own database, and the driver never closes it. Other databases are served by duplicates, which the
   * driver closes. The client may reconnect by itself, but nothing is sent to it while it is not ready.
   */
  readonly client?: NodeRedisClient;
  /**
   * The database, 0-15, that a cache client takes if nothing else names one, or the one that `client` has selected.
   * Each send names its own.
   * @default the one of the URL or of the ready client's options, otherwise 0
   */
  readonly database?: number;
}

/** The URLs that are accepted. */
const URLS = "redis://host:6379/0 rediss://host:6379/0 or unix:/path";
/** The known options. Those without a rule are checked by the functions that read them. */
const RULES: Rules = {
  url: TEXT,
  host: TEXT,
  port: whole(1, 65535),
  path: TEXT,
  username: TEXT,
  password: TEXT,
  tls: undefined,
  pool: undefined,
  connectTimeout: undefined,
  pingInterval: undefined,
  client: undefined,
  database: whole(0, 15),
};
const TLS = ["ca", "cert", "key", "passphrase", "servername", "rejectUnauthorized"];
/** Options that a ready client decides. */
const OF_ADDRESS = ["url", "host", "port", "path", "username", "password", "tls", "pool"] as const;

/**
 * Throws for options that are unknown or of another form, and for options of a connection next to a ready client.
 *
 * @throws {TypeError} With the name of the option.
 * @throws {RangeError} With the name of the option, for a number out of range.
 */
export function checkNodeRedisOptions(options: NodeRedisOptions): void {
  checkOptions(options, RULES, "nodeRedis");
  const { client, pool, tls } = options;
  if (client !== undefined) checkClient(client);
  if (pool !== undefined) checkOptions(pool, { size: whole(1) }, "nodeRedis.pool");
  checkTls(tls, "nodeRedis.tls");
  const misplaced = client && OF_ADDRESS.find((name) => options[name] !== undefined);
  if (misplaced) {
    throw invalid("use a ready client with nodeRedis", misplaced, "client, connectTimeout, pingInterval, database");
  }
}

/** Throws for TLS settings that are unknown or of another form. */
export function checkTls(tls: unknown, what: string): void {
  if (tls !== undefined && typeof tls !== "boolean") checkNames(tls, TLS, what, "true, false or ");
}

/**
 * Returns the options, completed from the URL.
 *
 * @throws {TypeError} For a URL that cannot be honoured. The message shows nothing of the URL.
 */
export function addressOf({ url, ...options }: NodeRedisOptions): NodeRedisOptions {
  try {
    const { driver = "node-redis", ...parts }: Partial<Address> = url === undefined ? {} : readAddress(url, URLS);
    const other = driver === "cluster" || driver === "sentinel" ? `; this URL is for the driver ${driver}` : "";
    if (driver !== "node-redis") throw new TypeError(`expected ${URLS}${other}`);
    const { host, ...rest } = { ...parts, ...defined(options) };
    return { ...rest, ...(host !== undefined && { host: readHost(host) }) };
  } catch (error) {
    throw new TypeError(`Cannot use the address of nodeRedis: ${(error as Error).message}`);
  }
}

/** Similar clients that do not fit, by a member that only they have. */
const OTHERS: Readonly<Record<string, string>> = {
  isCluster: "a client of ioredis",
  slots: "a cluster client of node-redis",
  acquire: "a Sentinel client of node-redis",
  execute: "a pool of clients of node-redis",
};

/** Throws if a value is not a client of a single server. The message says what it is instead. */
function checkClient(client: unknown): void {
  const given = (typeof client === "object" && client !== null ? client : {}) as Partial<NodeRedisClient>;
  const other = Object.keys(OTHERS).find((name) => name in given);
  const fits = typeof given.isReady === "boolean" && given.sendCommand && given.duplicate && given.on;
  if (fits && !other) return;
  const expected = "a client of node-redis 4, 5 or 6 for a single server, made by createClient of redis";
  const received =
    client === given ? `an object of type ${given.constructor?.name}` : `a value of type ${typeof client}`;
  throw invalid("set client of nodeRedis", client, expected, TypeError, (other && OTHERS[other]) ?? received);
}

/** Returns a time in whole milliseconds. @throws {TypeError | RangeError} With the name of the option. */
export function parseTime(value: Timeout, name: string): number {
  const milliseconds = parseTimeout(value, name);
  checkWhole(milliseconds, name, 1);
  return milliseconds;
}
