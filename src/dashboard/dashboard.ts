/**
 * A web page that shows how the caches do, and the keys in them, as a fetch handler: hit rate and latency over time, keys and memory a service, alerts,
 * slow commands, and a key browser.
 *
 * Nothing is answered without the token. The page loads nothing from elsewhere, and what comes from the store is text on it, never HTML: the browser is
 * told to refuse anything else. Over what other local servers' pages send, the cookie alone does not decide.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 * import { dashboard } from "@foodfast/larder/dashboard";
 *
 * await using client = createCacheClient({ driver: "memory" });
 * await using page = dashboard(client, { token: "a-local-token" }); // Bun.serve({ fetch: page }), Deno.serve(page), on Node listen(page)
 * console.log((await page(new Request("http://localhost/"))).status); // 401
 * const headers = { authorization: "Bearer a-local-token" };
 * console.log((await page(new Request("http://localhost/", { headers }))).status); // 200
 * ```
 *
 * @module
 */
import { checkNames, describe, refuse } from "../base/check.ts";
import { sha256 } from "../base/hash.ts";
import { isStoreError } from "../base/store_error.ts";
import { bearerOf, checkToken, sameToken, urlOf } from "../base/token.ts";
import { type Duration, parseTimeout, type Timeout } from "../base/ttl.ts";
import type { WebRequest, WebResponse } from "../base/web_types.ts";
import { diagnose, type Finding, type Target } from "../manager/mod.ts";
import type { AlertRule } from "../monitor/mod.ts";
import { ASSETS } from "./assets.ts";
import { SharedConnections } from "./connections.ts";
import { EventStreams } from "./event_streams.ts";
import { deleteKey, findKeys, requestedKey, slowCommands, viewKey } from "./keys.ts";
import { type WatchedClient, Watcher } from "./watcher.ts";

export type { WebRequest, WebResponse } from "../base/web_types.ts";
export { type FetchHandler, type Listener, type ListenOptions, listen } from "../runtime/listen.ts";
export type { WatchedClient } from "./watcher.ts";

/** Options of {@linkcode dashboard}. */
export interface DashboardOptions {
  /** What a browser has to bring: as `?token=` in the URL that is opened first, which a cookie then stands for, or as `Authorization: Bearer`. */
  readonly token: string;
  /** Whether keys may be deleted. @default false */
  readonly write?: boolean;
  /** What the store is called on the page. @default the driver's name */
  readonly name?: string;
  /** The path that it is served at, which begins and ends with a slash. @default "/" */
  readonly path?: string;
  /** How often a sample is taken. @default "2s", over REST, where commands are billed, "30s" */
  readonly interval?: Duration;
  /** The rules whose alerts are shown. @default FLEET_RULES */
  readonly rules?: readonly AlertRule[];
  /** The deadline of each question to the store: milliseconds, or `"5s"`. @default 5000 */
  readonly timeout?: Timeout;
}

/** A fetch handler; it answers every request and never throws. */
export interface Dashboard {
  (request: WebRequest): Promise<WebResponse>;
  /** Stops sampling, ends the streams and closes its connections. The client stays open. */
  close(): Promise<void>;
  /** Closes it at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void>;
}

const OPTIONS = ["token", "write", "name", "path", "interval", "rules", "timeout"];

/**
 * Makes a dashboard. It samples from then on, so that there is a past to be shown when it is opened; it needs timers, which the edge has not.
 *
 * @param client The client. Its own counts are shown where no processes count together (`fleetStats`).
 * @param options The token, and what is shown.
 * @returns The handler, to be closed.
 * @throws {TypeError | RangeError} For bad options.
 */
export function dashboard(client: WatchedClient, options: DashboardOptions): Dashboard {
  checkNames(options, OPTIONS, "dashboard");
  const { token, write = false, path = "/", name = client.driver, interval, rules } = options;
  const timeout = parseTimeout(options.timeout ?? 5000, "timeout");
  checkToken(token);
  if (typeof name !== "string") refuse(`name ${describe(name)} of dashboard`, "text");
  if (typeof write !== "boolean") refuse(`write ${describe(write)}`, "true and false");
  if (!(typeof path === "string" && /^\/(?:[\w.~-]+\/)*$/.test(path))) {
    refuse(`path ${describe(path)}`, 'paths that begin and end with a slash, such as "/cache/"');
  }
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
  const handler = async (request: Request): Promise<Response> => {
    try {
      const response = await answer(request, context);
      if (request.method !== "HEAD") return response;
      await response.body?.cancel();
      return new Response(null, response);
    } catch (error) {
      return failure(error, request);
    }
  };
  const close = async (): Promise<void> => {
    context.streams.close();
    await Promise.all([watcher.close(), context.connections.close()]);
  };
  return Object.assign(handler, { close, [Symbol.asyncDispose]: close });
}

/** A dashboard at work. */
interface Context {
  readonly client: WatchedClient;
  readonly token: string;
  readonly write: boolean;
  readonly path: string;
  readonly timeout: number;
  readonly connections: SharedConnections;
  readonly streams: EventStreams;
}

/** What a request is not answered for. */
class RequestError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function answer(request: Request, context: Context): Promise<Response> {
  const url = urlOf(request);
  const { path, token } = context;
  const isPage = url.pathname === path;
  const given = isPage ? url.searchParams.get("token") : null;
  // Without its last slash, the page's own files would be looked for elsewhere.
  if (`${url.pathname}/` === path) return respond(308, "", "text/plain", { location: `${path}${url.search}` });
  if (!authorized(request, given, token)) {
    throw new RequestError(
      401,
      "the token is missing or wrong: open the URL that larder dashboard printed, or this one with ?token=",
    );
  }
  if (given !== null) {
    // The token shall not stay in the address bar, in the history and in screenshots.
    const secure = url.protocol === "https:" ? "; Secure" : "";
    const cookie = `${cookieOf(token)}=${encodeURIComponent(token)}; Path=${path}; HttpOnly; SameSite=Lax${secure}`;
    return respond(303, "", "text/plain", { location: path, "set-cookie": cookie });
  }
  if (!url.pathname.startsWith(path)) throw new RequestError(404, "there is no such page");
  const route = url.pathname.slice(path.length);
  const isKey = route === "api/key";
  if (!(isKey ? /^(GET|HEAD|POST|DELETE)$/ : /^(GET|HEAD)$/).test(request.method)) {
    throw new RequestError(405, `accepted are GET${isKey ? ", POST and DELETE" : ""}`);
  }
  if (!route.startsWith("api/")) return asset(route || "index.html");
  if (!ofOwnPage(request, url)) throw new RequestError(403, "this is for the dashboard's own page");
  return api(route.slice(4), request, await parametersOf(request, url), context);
}

/** The most bytes that name a key. */
const MOST_BYTES = 2 ** 20;

/** What a request asks for: in its URL, or, for keys that are longer than a URL may be, in its body. */
async function parametersOf(request: Request, url: URL): Promise<URLSearchParams> {
  if (!/^(POST|DELETE)$/.test(request.method)) return url.searchParams;
  const long = new RequestError(413, `accepted are bodies of up to ${MOST_BYTES} bytes`);
  if (Number(request.headers.get("content-length")) > MOST_BYTES) throw long;
  const body = await request.text();
  if (body.length > MOST_BYTES) throw long;
  return body === "" ? url.searchParams : new URLSearchParams(body);
}

async function api(route: string, request: Request, query: URLSearchParams, context: Context): Promise<Response> {
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
      if (!/^\d{1,20}$/.test(cursor)) throw new RequestError(400, "accepted as cursor is what the last page said");
      if (!(/^\d{1,4}$/.test(limit) && Number(limit) > 0))
        throw new RequestError(400, "accepted as limit are 1 to 9999");
      const search = { match: match.toWellFormed(), cursor, limit: Number(limit), timeout };
      return json(200, await findKeys(connections, { ...targetOf(query), ...search }));
    }
    case "key": {
      const key = requestedKey(query);
      if (key === undefined) throw new RequestError(400, "accepted are key, and key64 in base64");
      const place = { ...targetOf(query), key, timeout };
      if (request.method === "DELETE") {
        if (!write)
          throw new RequestError(403, "this dashboard only reads: --write, or write: true, lets keys be deleted");
        return json(200, await deleteKey(connections, place));
      }
      return json(200, (await viewKey(connections, place)) ?? null);
    }
    case "slow":
      return json(200, await slowCommands(connections, timeout));
    case "doctor": {
      const findings: Finding[] = [];
      for await (const finding of diagnose(client, { timeout })) findings.push(finding);
      return json(200, { findings });
    }
    default:
      throw new RequestError(404, "there is no such page");
  }
}

function targetOf(query: URLSearchParams): Target {
  const [service, database] = [query.get("service"), query.get("database")];
  if (service !== null && database === null) return { service };
  if (service === null && database !== null && /^\d{1,2}$/.test(database)) return { database: Number(database) };
  throw new RequestError(400, "accepted are service=product and the like, or database=0 to 15");
}

/** Whether no other page sends it: to a cookie those of other ports of this machine are the same site. */
function ofOwnPage({ headers }: Request, { host }: URL): boolean {
  const [site, origin] = [headers.get("sec-fetch-site"), headers.get("origin")];
  if (site !== null) return site === "same-origin" || site === "none";
  // Who ends TLS in front of this changes the scheme, and not the host.
  return origin === null || origin === `http://${host}` || origin === `https://${host}`;
}

/** A page is opened with the token in its URL, then the cookie stands for it; programs send it as they do elsewhere. */
function authorized(request: Request, given: string | null, token: string): boolean {
  if (given !== null) return sameToken(given, token);
  if (request.headers.has("authorization")) return sameToken(bearerOf(request), token);
  const name = cookieOf(token);
  const pairs = (request.headers.get("cookie") ?? "").split(/; */).map((pair) => pair.split("="));
  const [, value = ""] = pairs.find(([own]) => own === name) ?? [];
  return sameToken(value, encodeURIComponent(token));
}

/** Cookies belong to a host whatever the port: dashboards with other tokens have others. */
function cookieOf(token: string): string {
  return `larder_${sha256(token).slice(0, 8)}`;
}

/** The browser runs our script and no other, asks nobody else, and makes no HTML of text. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; " +
  "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

function asset(name: string): Response {
  const found = Object.hasOwn(ASSETS, name) ? ASSETS[name] : undefined;
  if (!found) throw new RequestError(404, "there is no such page");
  return respond(200, found.body, found.type, { "content-security-policy": POLICY });
}

function failure(error: unknown, { headers }: Request): Response {
  if (error instanceof RequestError) {
    // A person looks at it in a browser.
    if (headers.get("accept")?.includes("text/html")) return respond(error.status, error.message, "text/plain");
    return json(error.status, { error: error.message });
  }
  if (isStoreError(error)) return json(error.kind === "command" ? 400 : 503, { error: error.message });
  if (error instanceof TypeError || error instanceof RangeError) return json(400, { error: error.message });
  return json(500, { error: "the dashboard failed" });
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
  // Without it, a response is sent in chunks.
  headers.set("content-length", `${bytes.length}`);
  return new Response(bytes, { status, headers });
}
