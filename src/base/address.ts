/**
 * Reads the addresses of stores, URLs and host names, for the configuration and for drivers. Every part of an address
 * is either honoured or rejected.
 *
 * @module
 */

import { defined } from "./defined.ts";

/** The parts of an address, under the names of the options that set the same. */
export interface Address {
  /** The driver that serves the address. */
  readonly driver: "memory" | "node-redis" | "upstash";
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
}

/**
 * The reason why an address is rejected, with a remedy. It shows names of settings, but no other part of the address.
 */
export class Refusal extends TypeError {}

/** The accepted forms. */
export const ADDRESS_ACCEPTED =
  "memory: redis://host:6379/0 rediss://host:6379/0 unix:/path redis+unix:/path https://host or http://host";

const UNIX = /^(redis\+)?unix$/;
const ENCODE = "expected / ? # % and \\ in its user and password as %2F %3F %23 %25 %5C";
const QUOTES = "expected no quotes around it";
const AZURE =
  "expected a URL instead of another client's connection string: " +
  "rediss://:password@host:6380, the password percent-encoded";
const HOST = "expected a host name or an IP address";
const ONE_HOST = "several hosts are not served by this version, expected one";

function reject(reason: string): never {
  throw new Refusal(reason);
}

/** Reads the rest of the address of a TCP store, of which the scheme and the server are known to be well-formed. */
type ReadTcp = (url: URL, scheme: string) => Address;

/** Throws for text that cannot be an address or a host name, such as text in quotes. */
function checkText(text: string): void {
  if (/^["'`\u201c\u2018]|["'`\u201d\u2019]$/.test(text)) reject(QUOTES);
  if (/[\t\r\n]/.test(text)) reject("expected no tabs and line breaks");
  if (/^[^/@]*,\s*\w+\s*=/.test(text)) reject(AZURE);
}

/**
 * Reads a URL.
 *
 * @param given The URL.
 * @param accepted The accepted forms, for the message.
 * @returns The parts of the URL.
 * @throws {Refusal} With the reason, if it is not the URL of a store, or cannot be honoured.
 */
export function readAddress(given: unknown, accepted: string = ADDRESS_ACCEPTED): Address {
  return readUrl(given, accepted, readTcp);
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
  if (!tcp && (unix || /^(redis|valkey)/.test(name))) return { driver: "node-redis" };
  const [, mode] = /^(?:redis|valkey)s?[+-](sentinel|cluster)$/.exec(name) ?? [];
  if (mode)
    reject(`${mode === "cluster" ? "clusters are" : "Sentinel is"} not served by this version, expected one host`);
  if (text !== "" && !slashes && !unix) reject(`expected ${accepted}; its scheme is missing`);
  if (!unix && !/^(https?|rediss?|valkeys?)$/.test(name)) reject(`expected ${accepted}`);
  if (unix && !/^\/./.test(rest)) reject("expected unix:/path; user and password are settings of their own");
  if (!unix) {
    const at = rest.lastIndexOf("@");
    if (/[/\\?#]|%(?![\da-f]{2})/i.test(rest.slice(0, Math.max(at, 0)))) reject(ENCODE);
    const [server = ""] = rest.slice(at + 1).split(/[/?#]/, 1);
    if (/^(:\d*)?$/.test(server)) reject(`expected ${accepted}; its host is missing`);
    if (server.includes(",")) reject(ONE_HOST);
    const port = /[^:]:([^\]:]+)$/.exec(server)?.[1] ?? 1;
    if (!(+port >= 1 && +port <= 65535)) reject("expected a port from 1 to 65535");
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
function readTcp(url: URL, name: string): Address {
  const unix = UNIX.test(name);
  const { database, tls } = queryOf(url, unix);
  if (unix) return defined({ driver: "node-redis", path: decoded(url.pathname), database });
  const secure = /^(rediss|valkeys)$/.test(name) || undefined;
  if (secure && tls === false) reject(`expected ssl=true in its query, because ${name}:// is with TLS`);
  const [, path = reject("expected a database from 0 to 15, as in redis://host:6379/0")] =
    /^\/?(\d|1[0-5]|)$/.exec(url.pathname) ?? [];
  const named = path === "" ? database : Number(path);
  if (database !== undefined && named !== database)
    reject("expected one database, but its path and its query name two");
  return defined({
    driver: "node-redis",
    host: readHost(decoded(url.hostname.replace(/^\[|\]$/g, ""))),
    port: Number(url.port || 6379),
    username: decoded(url.username) || undefined,
    password: decoded(url.password) || undefined,
    tls: secure ?? tls,
    database: named,
  });
}

/** Reads the database and TLS from a query. */
function queryOf({ searchParams }: URL, unix: boolean): { database?: number | undefined; tls?: boolean | undefined } {
  const settings: { database?: number | undefined; tls?: boolean | undefined } = {};
  const others = new URLSearchParams(searchParams);
  const take = (name: string, accepted: RegExp, what: string): string | undefined => {
    const values = new Set(searchParams.getAll(name).map((value) => value.toLowerCase()));
    const [value] = values;
    if (value !== undefined && !(values.size === 1 && accepted.test(value)))
      reject(`expected ${what} as ${name} in its query`);
    others.delete(name);
    return value;
  };
  const database = take("db", /^(\d|1[0-5])$/, "a database from 0 to 15");
  if (database !== undefined) settings.database = Number(database);
  const tls = unix ? undefined : take("ssl", /^(true|false|1|0)$/, "true or false");
  if (tls !== undefined) settings.tls = tls === "true" || tls === "1";
  if (others.size > 0)
    reject(`${without(others)}, which takes ${unix ? "db" : "db and ssl"}; more are options of nodeRedis`);
  return settings;
}

/** Names the parameters that a query must not have. It shows nothing that may be a secret. */
function without(query: URLSearchParams): string {
  // A lone token looks like a name, and one that ends with the = of base64 like a name without a value.
  const shown = [...query].filter(([name, value]) => /^[a-z_-]{1,30}$/i.test(name) && /\w/.test(value));
  return `expected no ${[...new Set(shown.map(([name]) => name))].join(", ") || "such parameter"} in its query`;
}

/**
 * Reads a host name. A name that is not ASCII is converted to the ASCII form that DNS uses.
 *
 * @param given The name, or an IP address.
 * @returns The name in ASCII.
 * @throws {Refusal} With the reason, if it is not a host name.
 */
export function readHost(given: unknown): string {
  const text = typeof given === "string" ? given : "";
  checkText(text);
  let host = text;
  if (/[^\0-\x7f]/.test(text) && !/[\s/\\?#@:%]/.test(text)) {
    try {
      host = new URL(`http://${text}`).hostname;
    } catch {}
  }
  if (/^([\w.-]+|[\da-f]*(:[\da-f.]*){2,})$/i.test(host)) return host;
  if (text.includes("://")) reject(`${HOST}; a URL is a setting of its own: REDIS_URL, CACHE_URL, option url`);
  if (text.includes(",")) reject(ONE_HOST);
  if (/^[^:]+:\d+$/.test(text)) reject(`${HOST}; the port is a setting of its own: REDIS_PORT, option port`);
  return reject(HOST);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return reject(ENCODE);
  }
}
