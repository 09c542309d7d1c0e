/** The options of the TCP wire: their types, what they must be, and what a URL among them says. */

import { type Address, readAddress, readHost } from "../../src/base/address.ts";
import { checkOptions, defined, fields, type Rules, whole } from "../../src/base/options.ts";
import { parseTimeout, type Timeout } from "../../src/base/ttl.ts";

/** TLS settings, named as in Node's `tls.connect`; files are given by their contents. */
export interface NodeRedisTls {
  /** Certificates to trust instead of the well-known ones, as PEM. */
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[];
  /** The client's certificate, as PEM. */
  readonly cert?: string | Uint8Array;
  /** The client's private key, as PEM. */
  readonly key?: string | Uint8Array;
  /** The passphrase of the private key. */
  readonly passphrase?: string;
  /** The name that the server's certificate must carry. @default the host */
  readonly servername?: string;
  /** Whether a certificate that cannot be verified ends the connection. @default true */
  readonly rejectUnauthorized?: boolean;
}

/** What the driver uses of a ready client: node-redis 4, 5 and 6 all have it. */
export interface NodeRedisClient {
  /** Whether commands can be sent now. */
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
   * `valkeys://` are the same. The options below win over its parts.
   */
  readonly url?: string;
  /** The server's name or address. @default "localhost" */
  readonly host?: string;
  /** The server's port. @default 6379 */
  readonly port?: number;
  /** The path of a Unix socket, in the place of host and port. */
  readonly path?: string;
  /** The ACL user. @default the server's default user */
  readonly username?: string;
  /** The password of the user. */
  readonly password?: string;
  /** Whether the connection is encrypted, or how. @default true for `rediss://`, otherwise false */
  readonly tls?: boolean | NodeRedisTls;
  /** `size`: the most connections for each database, each opened when all others are busy. @default { size: 1 } */
  readonly pool?: { readonly size?: number };
  /** How long opening a connection may take, log-in included: milliseconds, or `"5s"`. @default 5000 */
  readonly connectTimeout?: Timeout;
  /**
   * How long a connection is silent before a PING keeps it alive: milliseconds, or `"1m"`. @default no PING; 10 s on
   * the connection that tells of changes
   */
  readonly pingInterval?: Timeout;
  /**
   * A connected client of node-redis 4, 5 or 6, in the place of everything above but `connectTimeout` and `pingInterval`.
   * It serves its own database and is never closed by the driver; other databases are served by duplicates of it, which
   * the driver closes. It may reconnect by itself, but nothing is sent to it while it is not ready.
   */
  readonly client?: NodeRedisClient;
  /**
   * The database, 0-15, that a cache client takes where nothing else names one; that which `client` has selected. Each
   * send names its own.
   * @default the URL's, or the one in the client's options, otherwise 0
   */
  readonly database?: number;
}

/** The URLs that are accepted. */
const URLS = "redis://host:6379/0 rediss://host:6379/0 or unix:/path";
const STRING: Rules[string] = ["a string", (value) => typeof value === "string"];
/** Times are looked at where they are read. */
const TIME: Rules[string] = ["", () => true];
/** What options must be. */
export const OPTIONS: Rules = {
  url: STRING,
  host: STRING,
  port: whole(1, 65535),
  path: STRING,
  username: STRING,
  password: STRING,
  tls: fields(
    ["ca", "cert", "key", "passphrase", "servername", "rejectUnauthorized"],
    "true, false or ",
    (tls) => typeof tls === "boolean",
  ),
  pool: fields(["size"]),
  connectTimeout: TIME,
  pingInterval: TIME,
  client: ["a connected client of node-redis", (client) => Object(client) === client],
  database: whole(0, 15),
};

/** The options over what the URL says. @throws {TypeError} For what cannot be honoured; it shows nothing of the URL. */
export function addressOf({ url, ...options }: NodeRedisOptions): NodeRedisOptions {
  try {
    const { driver = "node-redis", ...said }: Partial<Address> = url === undefined ? {} : readAddress(url, URLS);
    if (driver !== "node-redis") throw new TypeError(`expected ${URLS}`);
    const { host, ...rest } = { ...said, ...defined(options) };
    return { ...rest, ...(host !== undefined && { host: readHost(host) }) };
  } catch (error) {
    throw new TypeError(`Cannot use the address of nodeRedis: ${(error as Error).message}`);
  }
}

/** A time in whole milliseconds. */
export function time(name: string, value: Timeout): number {
  const milliseconds = parseTimeout(value, name);
  checkOptions("nodeRedis", { [name]: milliseconds }, { [name]: whole(1) });
  return milliseconds;
}
