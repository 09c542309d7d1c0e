/**
 * Reads the addresses of stores, URLs and host names, for the configuration and for drivers. Every part of an address
 * is either honoured or rejected.
 *
 * @module
 */

import { defined } from "./defined.ts";
import { checkPort, checkText, type NodeAddress, ONE_HOST, readHost, readNodes, reject } from "./hosts.ts";

/** The parts of an address, under the names of the options that set the same. */
export interface Address {
  /** The driver that serves the address. */
  readonly driver: "memory" | "node-redis" | "cluster" | "sentinel" | "upstash";
  /** The URL of a REST store, without credentials and without a trailing slash. */
  readonly base?: string;
  /** The token of a REST store. */
  readonly token?: string;
  /** The host. */
  readonly host?: string;
  /** The TCP port. */
  readonly port?: number;
  /** The path of a Unix socket. */
  readonly path?: string;
  /** The ACL user. */
  readonly username?: string;
  /** The password. */
  readonly password?: string;
  /** True for encrypted TCP; absent if the address does not say. */
  readonly tls?: boolean;
  /** The database. */
  readonly database?: number;
  /** Nodes of a cluster. */
  readonly "cluster.nodes"?: readonly NodeAddress[];
  /** The sentinels. */
  readonly "sentinel.sentinels"?: readonly NodeAddress[];
  /** The name that the sentinels know the master by. */
  readonly "sentinel.name"?: string;
  /** The ACL user of the sentinels. */
  readonly "sentinel.username"?: string;
  /** The password of the sentinels. */
  readonly "sentinel.password"?: string;
  /** True for encrypted TCP to the sentinels. */
  readonly "sentinel.tls"?: boolean;
}

/** The accepted forms. */
export const ADDRESS_ACCEPTED: string =
  "memory: redis://host:6379/0 rediss://host:6379/0 redis+cluster://host:6379,host:6379 " +
  "redis+sentinel://host:26379,host:26379/mymaster unix:/path redis+unix:/path https://host or http://host";

const UNIX = /^(redis\+)?unix$/;
const ENCODE = "expected / ? # % and \\ in its user and password as %2F %3F %23 %25 %5C";
const ONCE = "expected user and password once, before the first server, with @ and , in them as %40 %2C";
/** Matches the schemes of stores that several servers make up. */
const SEVERAL = /^(redis|valkey)(s?)[+-](cluster|sentinel)$/i;

/** Reads the rest of the address of a TCP store, of which the scheme and the server are known to be well-formed. */
type ReadTcp = (url: URL, scheme: string) => Address;

/**
 * Reads a URL.
 *
 * @param given The URL.
 * @param accepted The accepted forms, for the message.
 * @returns The parts of the URL.
 * @throws {Refusal} With the reason, if it is not the URL of a store, or cannot be honoured.
 */
export function readAddress(given: unknown, accepted: string = ADDRESS_ACCEPTED): Address {
  const [, scheme = "", rest = ""] = /^([^:]*):\/\/(.*)/s.exec(`${given}`.trim()) ?? [];
  const [, name, s, driver] = SEVERAL.exec(scheme) ?? [];
  if (!driver) return readUrl(given, accepted, readTcp);
  const at = rest.lastIndexOf("@") + 1;
  const login = rest.slice(0, at);
  if (/[/?#].*@/s.test(login)) reject(`${ENCODE}; in its query @ too, as %40`);
  if (/[@,]/.test(login.slice(0, -1))) reject(ONCE);
  const [servers = ""] = rest.slice(at).split(/[/?#]/, 1);
  if (/^(:\d*)?$/.test(servers)) reject(`expected ${accepted}; its host is missing`);
  // A URL has one host on every runtime, so that the list is read apart from it.
  const one = `${name}${s}://${login}h${rest.slice(at + servers.length)}`;
  const read = driver.toLowerCase() === "cluster" ? readCluster : readSentinel;
  return readUrl(one, accepted, (url) => read(url, scheme.toLowerCase(), servers));
}

/**
 * Reads a URL without TCP.
 *
 * @param given The URL.
 * @returns The parts of the URL; of that of a TCP store only the driver, which is then refused.
 * @throws {Refusal} With the reason, if it is not the URL of a store, or cannot be honoured.
 */
export function readAddressAtEdge(given: unknown): Address {
  return readUrl(given, ADDRESS_ACCEPTED);
}

function readUrl(given: unknown, accepted: string, tcp?: ReadTcp): Address {
  const text = typeof given === "string" ? given.trim() : "";
  checkText(text);
  const [, scheme = "", slashes, rest = ""] = /^([a-z][\w+.-]*):(\/\/)?(.*)/i.exec(text) ?? [];
  const name = scheme.toLowerCase();
  if (name === "memory") return rest === "" ? { driver: "memory" } : reject("expected nothing after memory:");
  const unix = UNIX.test(name);
  if (!tcp && (unix || /^(redis|valkey)/.test(name))) {
    return { driver: (SEVERAL.exec(name)?.[3] as "cluster") ?? "node-redis" };
  }
  if (text !== "" && !slashes && !unix) reject(`expected ${accepted}; its scheme is missing`);
  if (!unix && !/^(https?|rediss?|valkeys?)$/.test(name)) reject(`expected ${accepted}`);
  if (unix && !/^\/./.test(rest)) reject("expected unix:/path; user and password are settings of their own");
  if (!unix) {
    const at = rest.lastIndexOf("@");
    if (/[/\\?#]|%(?![\da-f]{2})/i.test(rest.slice(0, Math.max(at, 0)))) reject(ENCODE);
    const [server = ""] = rest.slice(at + 1).split(/[/?#]/, 1);
    if (/^(:\d*)?$/.test(server)) reject(`expected ${accepted}; its host is missing`);
    if (server.includes(",")) reject(ONE_HOST);
    checkPort(server);
  }
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return reject(`expected ${accepted}`);
  }
  const username = decoded(url.username) || undefined;
  const password = decoded(url.password) || undefined;
  if (text.includes("#")) reject("expected no fragment; a # elsewhere is written %23");
  if (tcp && !name.startsWith("http")) return tcp(url, name);
  if (url.search) reject(`${without(url.searchParams)}; the token is a setting of its own, UPSTASH_REDIS_REST_TOKEN`);
  if (username && (username !== "default" || !password)) {
    reject("a REST store has no users, expected https://default:token@host");
  }
  return defined({ driver: "upstash", base: (url.origin + url.pathname).replace(/\/+$/, ""), token: password });
}

/** Reads the rest of `redis://`, `valkey://` and `unix:`, with or without TLS. */
function readTcp(url: URL, scheme: string): Address {
  if (UNIX.test(scheme)) {
    const { db } = queryOf(url, ["db"], "nodeRedis");
    return defined({ driver: "node-redis", path: decoded(url.pathname), database: db ? Number(db) : undefined });
  }
  const query = queryOf(url, ["db", "ssl"], "nodeRedis");
  const host = readHost(decoded(url.hostname.replace(/^\[|\]$/g, "")));
  const parts = partsOf(url, scheme, query, "redis://host:6379/0");
  return defined({ driver: "node-redis", host, port: Number(url.port || 6379), ...parts });
}

/** Reads the rest of `redis+cluster://`. */
function readCluster(url: URL, scheme: string, servers: string): Address {
  const query = queryOf(url, ["db", "ssl"], "cluster");
  const parts = partsOf(url, scheme, query, "redis+cluster://host:6379/0");
  return defined({ driver: "cluster", "cluster.nodes": readNodes(servers, 6379), ...parts });
}

/** Reads the rest of `redis+sentinel://`. */
function readSentinel(url: URL, scheme: string, servers: string): Address {
  const names = ["db", "ssl", "sentinel_username", "sentinel_password", "sentinel_tls"];
  const query = queryOf(url, names, "sentinel");
  const example = "redis+sentinel://host:26379/mymaster/0";
  const [, name = "", path] = /^\/?([^/]*)(.*)$/s.exec(url.pathname) ?? [];
  return defined({
    driver: "sentinel",
    "sentinel.sentinels": readNodes(servers, 26379),
    "sentinel.name": decoded(name) || undefined,
    "sentinel.username": query.sentinel_username || undefined,
    "sentinel.password": query.sentinel_password || undefined,
    "sentinel.tls": switchOf(query.sentinel_tls),
    ...partsOf({ username: url.username, password: url.password, pathname: path ?? "" }, scheme, query, example),
  });
}

/** Returns user, password, TLS and database, which all addresses over TCP have. */
function partsOf(
  { username, password, pathname }: Pick<URL, "username" | "password" | "pathname">,
  scheme: string,
  { db, ssl }: Readonly<Record<string, string>>,
  example: string,
): { [K in "username" | "password" | "tls" | "database"]: Address[K] | undefined } {
  const secure = /^(rediss|valkeys)/.test(scheme) || undefined;
  const tls = switchOf(ssl);
  if (secure && tls === false) reject(`expected ssl=true in its query, because ${scheme}:// is with TLS`);
  const [, path = reject(`expected a database from 0 to 15, as in ${example}`)] =
    /^\/?(\d|1[0-5]|)$/.exec(pathname) ?? [];
  if (path && db && Number(path) !== Number(db)) reject("expected one database, but its path and its query name two");
  const database = path || db;
  return {
    username: decoded(username) || undefined,
    password: decoded(password) || undefined,
    tls: secure ?? tls,
    database: database ? Number(database) : undefined,
  };
}

/** The parameters of queries that have a form: what is accepted, and its name. */
const FORMS: Readonly<Record<string, readonly [accepted: RegExp, what: string]>> = {
  db: [/^(\d|1[0-5])$/, "a database from 0 to 15"],
  ssl: [/^(true|false|1|0)$/i, "true or false"],
  sentinel_tls: [/^(true|false|1|0)$/i, "true or false"],
};

/** Reads the parameters of a query, each of which may stand in it once. */
function queryOf({ search }: URL, names: readonly string[], driver: string): Readonly<Record<string, string>> {
  const values: Record<string, string> = {};
  if (/%(?![\da-f]{2})/i.test(search)) reject("expected % in its query as %25");
  // The + of a password means itself here, not a space.
  const searchParams = new URLSearchParams(search.replaceAll("+", "%2B"));
  const others = new URLSearchParams(searchParams);
  for (const name of names) {
    const [accepted, what] = FORMS[name] ?? [/^/, "one value"];
    const [value, ...more] = new Set(searchParams.getAll(name));
    others.delete(name);
    if (value === undefined) continue;
    if (more.length > 0 || !accepted.test(value)) reject(`expected ${what} as ${name} in its query`);
    values[name] = value;
  }
  if (others.size > 0) {
    const takes = names.join(", ").replace(/, (\w+)$/, " and $1");
    reject(`${without(others)}, which takes ${takes}; more are options of ${driver}`);
  }
  return values;
}

function switchOf(text: string | undefined): boolean | undefined {
  return text === undefined ? undefined : /^(true|1)$/i.test(text);
}

/** Names the parameters that a query must not have. It shows nothing that may be a secret. */
function without(query: URLSearchParams): string {
  // A lone token looks like a name, and one that ends with the = of base64 like a name without a value.
  const shown = [...query].filter(([name, value]) => /^[a-z_-]{1,30}$/i.test(name) && /\w/.test(value));
  return `expected no ${[...new Set(shown.map(([name]) => name))].join(", ") || "such parameter"} in its query`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return reject(ENCODE);
  }
}
