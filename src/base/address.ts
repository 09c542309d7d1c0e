/**
 * Where a store is: the one reader of URLs and host names, for the configuration and for drivers. What an address says
 * is honoured or refused.
 *
 * @module
 */

import { defined } from "./defined.ts";

/** What an address says; its names are those of the options that say the same. */
export interface Address {
  /** The wire that the address is for. */
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
  /** Whether TCP is encrypted; left out where the address does not say. */
  readonly tls?: boolean;
  /** The database. */
  readonly database?: number;
}

/** Why an address is refused, and what to do: words that hold nothing of it but names of settings. */
export class Refusal extends TypeError {}

/** The forms that are accepted. */
export const ADDRESS_ACCEPTED =
  "memory: redis://host:6379/0 rediss://host:6379/0 unix:/path redis+unix:/path https://host or http://host";

const ENCODE = "percent-encode / ? # % and \\ in its user and password, as %2F %3F %23 %25 %5C";
const QUOTES = "leave out the quotes around it";
const AZURE =
  "expected a URL in the place of another client's connection string: " +
  "rediss://:password@host:6380, the password percent-encoded";
const HOST = "expected a host name or an IP address";
const ONE_HOST = "several hosts are not served by this version, expected one";

function no(reason: string): never {
  throw new Refusal(reason);
}

/** What is wrong with any setting of an address, whatever it is meant to be. */
function checkText(text: string): void {
  if (/^["'`\u201c\u2018]|["'`\u201d\u2019]$/.test(text)) no(QUOTES);
  if (/[\t\r\n]/.test(text)) no("leave out its tabs and line breaks");
  if (/^[^/@]*,\s*\w+\s*=/.test(text)) no(AZURE);
}

/**
 * Reads a URL.
 *
 * @param given The URL.
 * @param accepted The forms that are accepted, for the message.
 * @returns What it says.
 * @throws {Refusal} For what is no URL of a store, and for what cannot be honoured in one, with the reason.
 */
export function readAddress(given: unknown, accepted: string = ADDRESS_ACCEPTED): Address {
  const text = typeof given === "string" ? given.trim() : "";
  checkText(text);
  const [, scheme = "", slashes, rest = ""] = /^([a-z][\w+.-]*):(\/\/)?(.*)/i.exec(text) ?? [];
  const name = scheme.toLowerCase();
  if (name === "memory") return rest === "" ? { driver: "memory" } : no("memory: takes nothing more");
  const [, mode] = /^(?:redis|valkey)s?[+-](sentinel|cluster)$/.exec(name) ?? [];
  if (mode) no(`${mode === "cluster" ? "clusters are" : "Sentinel is"} not served by this version, expected one host`);
  const unix = /^(redis\+)?unix$/.test(name);
  if (text !== "" && !slashes && !unix) no(`expected ${accepted}; its scheme is missing`);
  if (!unix && !/^(https?|rediss?|valkeys?)$/.test(name)) no(`expected ${accepted}`);
  if (unix && !/^\/./.test(rest)) no("expected unix:/path; user and password are settings of their own");
  if (!unix) {
    const at = rest.lastIndexOf("@");
    if (/[/\\?#]|%(?![\da-f]{2})/i.test(rest.slice(0, Math.max(at, 0)))) no(ENCODE);
    const [place = ""] = rest.slice(at + 1).split(/[/?#]/, 1);
    if (/^(:\d*)?$/.test(place)) no(`expected ${accepted}; its host is missing`);
    if (place.includes(",")) no(ONE_HOST);
    const port = /[^:]:([^\]:]+)$/.exec(place)?.[1] ?? 1;
    if (!(+port >= 1 && +port <= 65535)) no("a port is 1 to 65535");
  }
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return no(`expected ${accepted}`);
  }
  const username = decoded(url.username) || undefined;
  const password = decoded(url.password) || undefined;
  if (text.includes("#")) no("leave out its fragment, or percent-encode the # as %23");
  if (name.startsWith("http")) {
    if (url.search) no(`${leaveOut(url.searchParams)}: the token is a setting of its own, UPSTASH_REDIS_REST_TOKEN`);
    if (username && (username !== "default" || !password)) {
      no("a REST store has no users, expected https://default:token@host");
    }
    return defined({ driver: "upstash", base: (url.origin + url.pathname).replace(/\/+$/, ""), token: password });
  }
  const { database, tls } = queryOf(url, unix);
  if (unix) return defined({ driver: "node-redis", path: decoded(url.pathname), database });
  const secure = /^(rediss|valkeys)$/.test(name) || undefined;
  if (secure && tls === false) no(`${name}:// is with TLS, and its query says without`);
  const [, path = no("a database is 0 to 15, as in redis://host:6379/0")] =
    /^\/?(\d|1[0-5]|)$/.exec(url.pathname) ?? [];
  const named = path === "" ? database : Number(path);
  if (database !== undefined && named !== database) no("its path and its query name two databases");
  return defined({
    driver: "node-redis",
    host: readHost(decoded(url.hostname.replace(/^\[|\]$/g, ""))),
    port: Number(url.port || 6379),
    username,
    password,
    tls: secure ?? tls,
    database: named,
  });
}

/** What a query says of the database and of TLS. */
function queryOf({ searchParams }: URL, unix: boolean): { database?: number | undefined; tls?: boolean | undefined } {
  const said: { database?: number | undefined; tls?: boolean | undefined } = {};
  const others = new URLSearchParams(searchParams);
  const take = (name: string, accepted: RegExp, what: string): string | undefined => {
    const values = new Set(searchParams.getAll(name).map((value) => value.toLowerCase()));
    const [value] = values;
    if (value !== undefined && !(values.size === 1 && accepted.test(value))) no(`${name} in its query is ${what}`);
    others.delete(name);
    return value;
  };
  const database = take("db", /^(\d|1[0-5])$/, "a database, 0 to 15");
  if (database !== undefined) said.database = Number(database);
  const tls = unix ? undefined : take("ssl", /^(true|false|1|0)$/, "true or false");
  if (tls !== undefined) said.tls = tls === "true" || tls === "1";
  if (others.size > 0)
    no(`${leaveOut(others)}, which takes ${unix ? "db" : "db and ssl"}; more are options of nodeRedis`);
  return said;
}

/** Says what is to be left out of a query: by name, where no secret can be taken for one. */
function leaveOut(query: URLSearchParams): string {
  // A token alone would be a name, and with base64's = at its end a name without a value.
  const shown = [...query].filter(([name, value]) => /^[a-z_-]{1,30}$/i.test(name) && /\w/.test(value));
  return `leave ${[...new Set(shown.map(([name]) => name))].join(", ") || "what it says"} out of its query`;
}

/**
 * Reads a host name. One that is not ASCII becomes what DNS knows it by.
 *
 * @param given The name, or an IP address.
 * @returns The name in ASCII.
 * @throws {Refusal} For what is none, with the reason.
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
  if (text.includes("://")) no(`${HOST}; a URL is a setting of its own: REDIS_URL, CACHE_URL, option url`);
  if (text.includes(",")) no(ONE_HOST);
  if (/^[^:]+:\d+$/.test(text)) no(`${HOST}; the port is a setting of its own: REDIS_PORT, option port`);
  return no(HOST);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return no(ENCODE);
  }
}
