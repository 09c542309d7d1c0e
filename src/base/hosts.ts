/** Reads host names and lists of nodes, as they stand in settings and in addresses. */

/**
 * The reason why an address is rejected, with a remedy. It shows names of settings, but no other part of the address.
 */
export class Refusal extends TypeError {}

/** One server of several. */
export interface NodeAddress {
  /** The host: a name, or an IP address without brackets. */
  readonly host: string;
  /** The TCP port. */
  readonly port: number;
}

/** The reason why a list is rejected where one host is expected. */
export const ONE_HOST =
  "expected one host; several are for redis+cluster://, redis+sentinel://, REDIS_CLUSTER_NODES or REDIS_SENTINELS";

const HOST = "expected a host name or an IP address";
const AZURE =
  "expected a URL instead of another client's connection string: " +
  "rediss://:password@host:6380, the password percent-encoded";

/** Throws a {@linkcode Refusal}. */
export function reject(reason: string): never {
  throw new Refusal(reason);
}

/** Throws for text that cannot be an address or a host name, such as text in quotes. */
export function checkText(text: string): void {
  if (/^["'`\u201c\u2018]|["'`\u201d\u2019]$/.test(text)) reject("expected no quotes around it");
  if (/[\t\r\n]/.test(text)) reject("expected no tabs and line breaks");
  if (/^[^/@]*,\s*\w+\s*=/.test(text)) reject(AZURE);
}

/** Throws if the port after a host, or after brackets, is not one. */
export function checkPort(server: string): void {
  const port = /[^:]:([^\]:]+)$/.exec(server)?.[1] ?? 1;
  if (!(+port >= 1 && +port <= 65535)) reject("expected a port from 1 to 65535");
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

/**
 * Reads a list of servers.
 *
 * @param given Text with commas between the servers, or a list. A server is `host`, `host:port`, an IPv6 address
 *   (with a port in brackets: `[::1]:6379`), or in a list `{ host, port }`.
 * @param defaultPort The port of servers that name none.
 * @returns The servers, each once, in their order.
 * @throws {Refusal} With the reason, if one is not a server, and for an empty list.
 */
export function readNodes(given: unknown, defaultPort: number): NodeAddress[] {
  if (typeof given === "string") checkText(given.trim());
  const servers = typeof given === "string" ? given.split(",") : Array.isArray(given) ? given : [];
  if (servers.length === 0) reject(`expected servers as host:${defaultPort},host:${defaultPort}`);
  const nodes = servers.map((server: unknown) => readNode(server, defaultPort));
  return [...new Map(nodes.map((node) => [`${node.host} ${node.port}`, node])).values()];
}

/** Returns the name of a server: `host:port`, with an IPv6 address in brackets. */
export function nodeName({ host, port }: NodeAddress): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function readNode(given: unknown, defaultPort: number): NodeAddress {
  if (typeof given !== "string") {
    const { host, port = defaultPort, ...others } = Object(given);
    if (Object.keys(others).length > 0) reject("expected each server as host:port or { host, port }");
    if (!Number.isInteger(port)) reject("expected a port from 1 to 65535");
    checkPort(`h:${port}`);
    return { host: readHost(host), port };
  }
  const text = given.trim();
  if (text === "") reject("expected a server before and after each comma");
  if (/[@/]/.test(text)) reject("expected servers as host:port; user, password and TLS are settings of their own");
  // An address with more than one colon is IPv6. Only in brackets it can have a port.
  if (/^[^[]*:.*:\w{5,}$/.test(text)) reject("expected an IPv6 address with a port as in [::1]:6379");
  if (/^[^[]*:.*:/.test(text)) return { host: readHost(text), port: defaultPort };
  checkPort(text);
  const [, inBrackets, name, port = defaultPort] = /^(?:\[([^\]]*)\]|([^:[\]]+))(?::(\d+))?$/.exec(text) ?? [];
  return { host: readHost(inBrackets ?? name), port: Number(port) };
}
