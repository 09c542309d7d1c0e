/**
 * The dashboard: a web page about the caches and the keys in them, as a fetch handler. It shows hit rate and latency
 * over time, keys and memory by service, alerts, slow commands, and a key browser.
 *
 * Every request needs the token. The page loads nothing from other servers. Data of the store is shown as text, never
 * as HTML, and the content security policy makes the browser enforce that. Requests that pages of other origins send
 * are refused, even if they carry the cookie.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 * import { dashboard } from "@foodfast/larder/dashboard";
 *
 * await using client = createCacheClient({ driver: "memory" });
 * // To serve it: Bun.serve({ fetch: page }), Deno.serve(page), or listen(page) on Node.
 * await using page = dashboard(client, { token: "a-local-token" });
 * console.log((await page(new Request("http://localhost/"))).status); // 401
 * const headers = { authorization: "Bearer a-local-token" };
 * console.log((await page(new Request("http://localhost/", { headers }))).status); // 200
 * ```
 *
 * @module
 */
import { checkOptions, FLAG, type Rules, TEXT } from "../base/check.ts";
import { formatBytes } from "../base/format.ts";
import { RequestError } from "../base/request_error.ts";
import { isStoreError } from "../base/store_error.ts";
import { bearerOf, checkToken, sameToken, urlOf } from "../base/token.ts";
import { type Duration, parseTimeout, type Timeout } from "../base/ttl.ts";
import type { WebRequest, WebResponse } from "../base/web_types.ts";
import { diagnose, type Finding, type Target } from "../manager/mod.ts";
import type { AlertRule } from "../monitor/mod.ts";
import { fetchHandler, type PlainRequest } from "../runtime/handler.ts";
import { sha256 } from "../runtime/sha256.ts";
import { ASSETS } from "./assets.ts";
import { EventStreams } from "./event_streams.ts";
import { deleteKey, findKeys, requestedKey, slowCommands, viewKey } from "./keys.ts";
import { SharedConnections } from "./shared_connections.ts";
import { type WatchedClient, Watcher } from "./watcher.ts";

export type { WebRequest, WebResponse } from "../base/web_types.ts";
export { type FetchHandler, type Listener, type ListenOptions, listen } from "../runtime/listen.ts";
export type { WatchedClient } from "./watcher.ts";

/** Options of {@linkcode dashboard}. */
export interface DashboardOptions {
  /**
   * The token that every request needs. A browser sends it as `?token=` in the first URL, and gets a cookie for it;
   * programs send it as `Authorization: Bearer`.
   */
  readonly token: string;
  /** Allows keys to be deleted. @default false */
  readonly write?: boolean;
  /** The name of the store on the page. @default the driver's name */
  readonly name?: string;
  /** The path of the page, which begins and ends with a slash. @default "/" */
  readonly path?: string;
  /** The time between samples. @default "2s"; "30s" over REST, where commands are billed */
  readonly interval?: Duration;
  /** The rules whose alerts are shown. @default FLEET_RULES */
  readonly rules?: readonly AlertRule[];
  /** The deadline of each question to the store: milliseconds, or `"5s"`. @default 5000 */
  readonly timeout?: Timeout;
}

/** A fetch handler. It answers every request and never throws. */
export interface Dashboard {
  (request: WebRequest): Promise<WebResponse>;
  /** Stops sampling, ends the streams and closes the connections. The client stays open. */
  close(): Promise<void>;
  /** Closes the dashboard at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void>;
}

const OPTIONS: Rules = {
  token: undefined,
  write: FLAG,
  name: TEXT,
  path: [
    'a path that begins and ends with a slash, such as "/cache/"',
    (path: unknown) => typeof path === "string" && /^\/(?:[\w.~-]+\/)*$/.test(path),
  ],
  interval: undefined,
  rules: undefined,
  timeout: undefined,
};

/**
 * Makes a dashboard. It takes samples from now on, so that the page has a past to show when it is opened. It needs
 * timers, so it does not run at the edge.
 *
 * @param client The client. Its own counts are shown if no process has `fleetStats`.
 * @param options The token, and the options of the page.
 * @returns The handler, to be closed.
 * @throws {TypeError | RangeError} For bad options.
 */
export function dashboard(client: WatchedClient, options: DashboardOptions): Dashboard {
  checkOptions(options, OPTIONS, "a dashboard");
  const { token, write = false, path = "/", name = client.driver, interval, rules } = options;
  const timeout = parseTimeout(options.timeout ?? 5000, "timeout");
  checkToken(token);
  const watcher = new Watcher(client, { interval, rules, timeout });
  const context: Context = {
    client,
    token,
    write,
    path,
    timeout,
    connections: new SharedConnections(client),
    streams: new EventStreams(watcher, () => ({
      name,
      driver: client.driver,
      databases: client.databases,
      writable: write,
      interval: watcher.interval,
    })),
  };
  const handler = fetchHandler(async (request) => {
    try {
      const response = await answer(request, context);
      if (request.method !== "HEAD") return response;
      await response.body?.cancel();
      return new Response(null, response);
    } catch (error) {
      return failure(error, request);
    }
  });
  const close = async (): Promise<void> => {
    context.streams.close();
    await Promise.all([watcher.close(), context.connections.close()]);
  };
  return Object.assign(handler, { close, [Symbol.asyncDispose]: close });
}

/** The parts of a running dashboard. */
interface Context {
  readonly client: WatchedClient;
  readonly token: string;
  readonly write: boolean;
  readonly path: string;
  readonly timeout: number;
  readonly connections: SharedConnections;
  readonly streams: EventStreams;
}

async function answer(request: PlainRequest, context: Context): Promise<Response> {
  const url = urlOf(request);
  const { path, token } = context;
  const isPage = url.pathname === path;
  const given = isPage ? url.searchParams.get("token") : null;
  // Without the last slash, the browser would look for the page's files elsewhere.
  if (`${url.pathname}/` === path) return respond(308, "", "text/plain", { location: `${path}${url.search}` });
  if (!authorized(request, given, token)) {
    throw new RequestError(
      401,
      "Cannot open this without its token: open the URL that larder dashboard printed, or add ?token= to this one",
    );
  }
  if (given !== null) {
    // The token must not stay in the address bar, in the history and in screenshots.
    const secure = url.protocol === "https:" ? "; Secure" : "";
    const cookie = `${cookieOf(token)}=${encodeURIComponent(token)}; Path=${path}; HttpOnly; SameSite=Lax${secure}`;
    return respond(303, "", "text/plain", { location: path, "set-cookie": cookie });
  }
  if (!url.pathname.startsWith(path)) throw new RequestError(404, "Cannot find this page");
  const route = url.pathname.slice(path.length);
  const isKey = route === "api/key";
  if (!(isKey ? /^(GET|HEAD|POST|DELETE)$/ : /^(GET|HEAD)$/).test(request.method)) {
    throw new RequestError(405, `Cannot answer this method: expected GET${isKey ? ", POST or DELETE" : ""}`);
  }
  if (!route.startsWith("api/")) return asset(route || "index.html");
  if (!ofOwnPage(request, url))
    throw new RequestError(403, "Cannot answer pages of other servers: expected a request of the dashboard's own page");
  return api(route.slice(4), request, await parametersOf(request, url), context);
}

/** The maximum number of bytes of a request's body. */
const MOST_BYTES = 2 ** 20;

/** Reads the parameters of a request: from its URL, or from its body, because keys may be longer than a URL. */
async function parametersOf(request: PlainRequest, url: URL): Promise<URLSearchParams> {
  if (!/^(POST|DELETE)$/.test(request.method)) return url.searchParams;
  const long = new RequestError(413, `Cannot read the request: expected a body of at most ${formatBytes(MOST_BYTES)}`);
  if (Number(request.headers.get("content-length")) > MOST_BYTES) throw long;
  const body = await request.text();
  if (body.length > MOST_BYTES) throw long;
  return body === "" ? url.searchParams : new URLSearchParams(body);
}

async function api(route: string, request: PlainRequest, query: URLSearchParams, context: Context): Promise<Response> {
  const { client, connections, streams, timeout, write } = context;
  switch (route) {
    case "events":
      return respond(200, streams.open(), "text/event-stream; charset=utf-8");
    case "keys": {
      const [match, cursor, limit] = [
        query.get("match") ?? "",
        query.get("cursor") ?? "0",
        query.get("limit") ?? "100",
      ];
      if (!/^\d{1,20}$/.test(cursor))
        throw new RequestError(400, "Cannot list keys: expected the cursor of the last page");
      if (!(/^\d{1,4}$/.test(limit) && Number(limit) > 0))
        throw new RequestError(400, "Cannot list keys: expected a limit from 1 to 9999");
      const search = { match: match.toWellFormed(), cursor, limit: Number(limit), timeout };
      return json(200, await findKeys(connections, { ...targetOf(query), ...search }));
    }
    case "key": {
      const key = requestedKey(query);
      if (key === undefined) throw new RequestError(400, "Cannot choose a key: expected key, or key64 in base64");
      const target = { ...targetOf(query), key, timeout };
      if (request.method === "DELETE") {
        if (!write)
          throw new RequestError(
            403,
            "Cannot delete keys: the dashboard is read-only, expected --write or write: true",
          );
        return json(200, await deleteKey(connections, target));
      }
      return json(200, (await viewKey(connections, target)) ?? null);
    }
    case "slow":
      return json(200, await slowCommands(connections, timeout));
    case "doctor": {
      const findings: Finding[] = [];
      for await (const finding of diagnose(client, { timeout })) findings.push(finding);
      return json(200, { findings });
    }
    default:
      throw new RequestError(404, "Cannot find this page");
  }
}

function targetOf(query: URLSearchParams): Target {
  const [service, database] = [query.get("service"), query.get("database")];
  if (service !== null && database === null) return { service };
  if (service === null && database !== null && /^\d{1,2}$/.test(database)) return { database: Number(database) };
  throw new RequestError(400, "Cannot choose keys: expected a service, such as service=product, or database=0 to 15");
}

/** Returns whether the page itself sent a request. Browsers send a cookie to every port of a machine. */
function ofOwnPage({ headers }: PlainRequest, { host }: URL): boolean {
  const [site, origin] = [headers.get("sec-fetch-site"), headers.get("origin")];
  if (site !== null) return site === "same-origin" || site === "none";
  // A proxy that ends TLS changes the scheme, but not the host.
  return origin === null || origin === `http://${host}` || origin === `https://${host}`;
}

/** Returns whether a request carries the token: in its URL, as a bearer token, or by the cookie. */
function authorized(request: PlainRequest, given: string | null, token: string): boolean {
  if (given !== null) return sameToken(given, token);
  if (request.headers.has("authorization")) return sameToken(bearerOf(request), token);
  const name = cookieOf(token);
  const pairs = (request.headers.get("cookie") ?? "").split(/; */).map((pair) => pair.split("="));
  const [, value = ""] = pairs.find(([own]) => own === name) ?? [];
  return sameToken(value, encodeURIComponent(token));
}

/** Returns the name of the cookie. Ports share cookies, so dashboards with other tokens need other names. */
function cookieOf(token: string): string {
  return `larder_${sha256(token).slice(0, 8)}`;
}

/** The policy: the browser runs only the page's script, connects only to this server, and makes no HTML from text. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
  "require-trusted-types-for 'script'; trusted-types 'none'";

function asset(name: string): Response {
  const found = Object.hasOwn(ASSETS, name) ? ASSETS[name] : undefined;
  if (!found) throw new RequestError(404, "Cannot find this page");
  return respond(200, found.body, found.type, { "content-security-policy": POLICY });
}

function failure(error: unknown, { headers }: PlainRequest): Response {
  if (error instanceof RequestError) {
    // A person sees this in a browser.
    if (headers.get("accept")?.includes("text/html")) return respond(error.status, error.message, "text/plain");
    return json(error.status, { error: error.message });
  }
  if (isStoreError(error)) return json(error.kind === "command" ? 400 : 503, { error: error.message });
  if (error instanceof TypeError || error instanceof RangeError) return json(400, { error: error.message });
  return json(500, { error: "Cannot answer: the dashboard failed" });
}

function json(status: number, body: unknown): Response {
  return respond(status, JSON.stringify(body), "application/json; charset=utf-8");
}

function respond(
  status: number,
  body: string | ReadableStream<Uint8Array>,
  type: string,
  more: Readonly<Record<string, string>> = {},
): Response {
  const headers = new Headers({
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "content-type": type,
    ...more,
  });
  if (typeof body !== "string") return new Response(body, { status, headers });
  const bytes = new TextEncoder().encode(body);
  // Without a length, the response is sent in chunks.
  headers.set("content-length", `${bytes.length}`);
  return new Response(bytes, { status, headers });
}
