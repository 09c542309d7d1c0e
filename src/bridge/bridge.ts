/**
 * An Upstash-compatible REST server over any driver, as a fetch handler.
 *
 * It serves the requests of `@upstash/redis`: `POST /`, `/pipeline`, `/multi-exec`, commands as paths, and
 * `/subscribe`, `/psubscribe` and `/monitor` as server-sent events, with bearer tokens, base64 replies and sync tokens.
 * In addition it promises: a command that blocks a connection or changes its state never reaches the store, numbers
 * keep all their digits, and each transaction has a connection of its own.
 *
 * If the driver opens connections of its own (TCP), bytes are sent and received unchanged. Otherwise (memory, REST) the
 * bridge carries text, and serves the commands that the driver knows, without streams.
 *
 * In front of a cluster, each command goes to the server of its first key. As there, a command or transaction whose
 * keys lie in several slots is an error (CROSSSLOT); commands about the whole store (DBSIZE, KEYS, FLUSHALL, SCRIPT
 * LOAD, ...) go to every server.
 *
 * Intentional, not bugs:
 *
 * - FLUSHALL is served unchanged: over a store with numbered databases it empties all of them.
 * - An empty segment of a path is an empty argument.
 * - `null`, lists and objects are not arguments. The reply to such a command is an error, also in a pipeline.
 * - JSON that is not UTF-8 is refused. A body that is an argument of a path, and percent-encoded parts of the path, may
 *   be any bytes if the driver opens connections of its own.
 * - Upstash's own flag `allow-key-locking` is removed from scripts, because Redis runs one script at a time. Keys that
 *   a script does not declare, which Upstash refuses with this flag, are not searched for.
 * - The slashes of `/subscribe/a/b` are part of the channel, because `@upstash/redis` does not encode them.
 *
 * @module
 */

import type { Driver, RawCommand, RawReply, StoreError } from "../../drivers/driver.ts";
import { check, checkOptions, checkWhole, invalid, type Rule, type Rules, whole } from "../base/check.ts";
import { RequestError } from "../base/request_error.ts";
import { isStoreError } from "../base/store_error.ts";
import { bearerOf, checkToken, sameToken } from "../base/token.ts";
import { parseTimeout, type Timeout } from "../base/ttl.ts";
import type { WebRequest, WebResponse } from "../base/web_types.ts";
import { fetchHandler, type PlainRequest, type PlainResponse } from "../runtime/handler.ts";
import { CommandStreams } from "./command_streams.ts";
import { mayListen } from "./commands.ts";
import { PartsProtocol } from "./parts_protocol.ts";
import { openProtocol, type Protocol } from "./protocol.ts";
import { base64Json, type Format, plainJson, resp2 } from "./reply.ts";
import {
  forbidden,
  parseBody,
  parsePath,
  parseQuery,
  parseSegments,
  partsOf,
  readBody,
  toCommand,
  type UrlParts,
} from "./request.ts";
import { serveScripts } from "./scripts.ts";

export type { WebRequest, WebResponse } from "../base/web_types.ts";

/** Options of {@linkcode bridge}. */
export interface BridgeOptions {
  /** The driver of the store. The bridge does not close it. */
  readonly driver: Driver;
  /** The token that may do everything. */
  readonly token: string;
  /**
   * A token that may only read, for use where others can see it. It reads keys and listens to channels by their names.
   * It neither lists keys or channels (SCAN, KEYS, patterns of channels) nor runs scripts. @default none
   */
  readonly readOnlyToken?: string;
  /**
   * The database of all commands, 0 to 15. @default the one that the driver's address names, else 0, the only one over
   * REST
   */
  readonly database?: number;
  /** The maximum number of bytes in one request's body. @default 10_000_000 */
  readonly maxBytes?: number;
  /** The maximum number of commands in one pipeline or transaction. @default 100_000 */
  readonly maxCommands?: number;
  /** The maximum number of connections for transactions. Further transactions wait. @default 8 */
  readonly maxTransactions?: number;
  /**
   * The maximum number of streams (subscriptions, MONITOR), each with a connection of its own; 0 for none. @default
   * 1000
   */
  readonly maxStreams?: number;
  /**
   * The deadline of a request to the store, waiting for a connection included: milliseconds, or `"10s"`.
   * @default 10_000
   */
  readonly timeout?: Timeout;
  /**
   * The time after which a comment keeps a silent stream alive: milliseconds, or `"5s"`. Bun closes streams that are
   * silent for 10 s.
   * @default 5000
   */
  readonly heartbeat?: Timeout;
}

/** A fetch handler; it answers every request and never throws. */
export interface Bridge {
  (request: WebRequest): Promise<WebResponse>;
  /**
   * Ends the streams, waits for the replies of the store, and closes the connections that the bridge opened. Later
   * requests are answered with an error. Never throws; the driver stays open.
   */
  close(): Promise<void>;
}

/**
 * Makes an Upstash-compatible REST server.
 *
 * @param options The driver and the tokens.
 * @returns A fetch handler; it answers every request and never throws.
 * @throws {TypeError} When an option is unknown or has a wrong form; when a token is empty or not made of visible ASCII
 * characters, or both tokens are the same.
 * @throws {RangeError} When a number is out of range, or a time not above 0 or longer than 2147483647 ms.
 *
 * @example
 * ```ts ignore
 * import { bridge } from "@foodfast/larder/bridge";
 * import { memory } from "@foodfast/larder/drivers/memory";
 *
 * Deno.serve(bridge({ driver: memory(), token: "secret" }));
 * ```
 */
export function bridge(options: BridgeOptions): Bridge {
  checkBridgeOptions(options);
  checkToken(options.token, "token");
  if (options.readOnlyToken !== undefined) checkToken(options.readOnlyToken, "readOnlyToken");
  if (options.readOnlyToken === options.token) {
    throw invalid("set readOnlyToken", undefined, "two different tokens", TypeError, "one token for both uses");
  }
  const { driver, database = driver.database ?? 0 } = options;
  const timeout = parseTimeout(options.timeout ?? 10_000, "timeout");
  const heartbeat = parseTimeout(options.heartbeat ?? 5000, "heartbeat");
  const protocol = serveScripts(
    openProtocol(
      { driver, database, timeout, transactions: options.maxTransactions ?? 8 },
      (options, connections) => new PartsProtocol(options, connections),
    ),
  );
  const streams = new CommandStreams({ most: options.maxStreams ?? 1000, heartbeat, timeout });
  const context = { options, protocol, streams };
  const handler = fetchHandler(async (request) => {
    try {
      return await answer(request, context);
    } catch (error) {
      return failure(error);
    }
  });
  return Object.assign(handler, {
    async close(): Promise<void> {
      streams.close();
      await protocol.close();
    },
  });
}

/** The parts of a running bridge. */
interface Context {
  readonly options: BridgeOptions;
  readonly protocol: Protocol;
  readonly streams: CommandStreams;
}

async function answer(request: PlainRequest, context: Context): Promise<PlainResponse> {
  const { options, protocol } = context;
  const url = partsOf(request.url);
  if (request.method === "OPTIONS" && request.headers.has("access-control-request-method")) return preflight(request);
  if (!/^(HEAD|GET|POST|PUT)$/.test(request.method)) throw new RequestError(405, "ERR method not allowed");
  const readOnly = authorize(request, url, options);
  const stream = toStream(url);
  if (stream) return await answerStream(request, stream, readOnly, context);
  const format = chooseFormat(request, url);
  const body = await readBody(request, options.maxBytes ?? 10_000_000);
  const vet = (item: readonly unknown[]) => toCommand(item, { readOnly, binary: protocol.binary });

  if (url.path === "/pipeline" || url.path === "/multi-exec") {
    const items = parseBody(body);
    if (!Array.isArray(items) || items.length === 0 || !items.every((item) => Array.isArray(item) && item.length > 0)) {
      throw new RequestError(400, "ERR malformed request, expected a non-empty array of non-empty command arrays");
    }
    if (items.length > (options.maxCommands ?? 100_000))
      throw new RequestError(400, "ERR max number of commands exceeded");
    const run = url.path === "/pipeline" ? pipeline : transaction;
    return respond(200, format.type, format.many(await run(items.map(vet), protocol)));
  }
  const item = url.path === "/" ? parseBody(body) : parsePath(url, body);
  if (!Array.isArray(item) || item.length === 0) {
    throw new RequestError(400, "ERR malformed request, expected a non-empty command array");
  }
  const [reply = null] = await pipeline([vet(item)], protocol);
  return respond(reply instanceof Error ? 400 : 200, format.type, format.one(reply));
}

function chooseFormat(request: PlainRequest, { path }: UrlParts): Format {
  const base64 = request.headers.get("upstash-encoding") === "base64";
  const name = request.headers.get("upstash-response-format") ?? "json";
  if (name === "json") return base64 ? base64Json : plainJson;
  if (name !== "resp2") throw new RequestError(400, "ERR unsupported response format, expected json or resp2");
  if (base64) throw new RequestError(400, "ERR the response format resp2 has no base64");
  if (path === "/multi-exec") throw new RequestError(400, "ERR transactions have no response format resp2");
  return resp2;
}

/** Checks the token of a request. Returns whether it is the token that may only read. */
function authorize(request: PlainRequest, { query }: UrlParts, { token, readOnlyToken }: BridgeOptions): boolean {
  const given = request.headers.has("authorization")
    ? bearerOf(request)
    : (new URLSearchParams(query).get("_token") ?? "");
  const full = sameToken(given, token);
  const reads = readOnlyToken !== undefined && sameToken(given, readOnlyToken);
  if (!full && !reads) throw new RequestError(401, "WRONGPASS invalid or missing auth token");
  return reads;
}

/** Runs commands in order. The reply to a refused command is its error. */
async function pipeline(
  commands: readonly (RawCommand | StoreError)[],
  protocol: Protocol,
): Promise<readonly RawReply[]> {
  const served = commands.filter((command): command is RawCommand => !(command instanceof Error));
  const replies = served.length > 0 ? await protocol.send(served) : [];
  if (served.length === commands.length) return replies;
  let next = 0;
  return commands.map((command) => (command instanceof Error ? command : (replies[next++] ?? null)));
}

/** Runs commands as one transaction. If one of them is refused, none is run. */
async function transaction(
  commands: readonly (RawCommand | StoreError)[],
  protocol: Protocol,
): Promise<readonly RawReply[]> {
  const served = commands.map((command) => {
    if (command instanceof Error) throw new RequestError(400, command.message);
    return command;
  });
  const results = await protocol.transaction(served);
  if (!results) throw new RequestError(400, "ERR transactions are not served over this store");
  if (results instanceof Error) throw new RequestError(400, results.message);
  return results;
}

/** Returns the command of `/subscribe/channel`, `/psubscribe/pattern` or `/monitor`; `undefined` for other paths. */
function toStream(url: UrlParts): readonly string[] | undefined {
  const [, name = "", slash, rest = ""] = /^\/(subscribe|psubscribe|monitor)(\/(.*))?$/i.exec(url.path) ?? [];
  if (name === "") return undefined;
  if (parseQuery(url).length > 0) throw new RequestError(400, "ERR malformed channel: its ? must be percent-encoded");
  if (/^m/i.test(name)) return slash === undefined ? [name] : undefined;
  if (rest === "") throw new RequestError(400, "ERR malformed request, expected a channel or pattern in the path");
  // The published client does not encode the slashes of a channel.
  const channel = parseSegments(rest);
  if (!channel.every((part) => typeof part === "string"))
    throw new RequestError(400, "ERR the channel is not valid UTF-8");
  return [name, channel.join("/")];
}

async function answerStream(
  request: PlainRequest,
  command: readonly string[],
  readOnly: boolean,
  { protocol, streams }: Context,
): Promise<PlainResponse> {
  const [name = "", channel = ""] = command;
  const { connect } = protocol;
  if (!connect)
    throw new RequestError(400, `ERR command "${name}" is not served over this store: it needs a Redis over TCP`);
  if (request.method === "HEAD") throw new RequestError(405, "ERR method not allowed");
  if (readOnly && !mayListen(name, channel)) throw new RequestError(400, forbidden(name).message);
  // Events are text, even if the request asks for another encoding.
  const events = await streams.open(() => connect.call(protocol), command);
  return respond(200, "text/event-stream", events);
}

function preflight(request: PlainRequest): PlainResponse {
  const wanted = request.headers.get("access-control-request-headers") ?? "authorization, content-type";
  return {
    status: 204,
    body: null,
    headers: {
      "access-control-allow-origin": "*",
      "access-control-allow-methods": "HEAD, GET, POST, PUT",
      "access-control-allow-headers": wanted,
      "access-control-max-age": "86400",
    },
  };
}

const DRIVER: Rule = [
  "a driver, such as memory()",
  (driver?: Partial<Driver> | null) => typeof driver?.send === "function",
];

const RULES: Rules = {
  driver: undefined,
  token: undefined,
  readOnlyToken: undefined,
  database: undefined,
  maxBytes: whole(1),
  maxCommands: whole(1),
  maxTransactions: whole(1),
  maxStreams: whole(0),
  timeout: undefined,
  heartbeat: undefined,
};

function checkBridgeOptions(options: BridgeOptions): void {
  checkOptions(options, RULES, "bridge");
  const { driver, database = 0 } = options;
  check(driver, "driver of bridge", DRIVER);
  checkWhole(database, "database of bridge", 0, driver.capabilities.numbered ? 15 : 0);
}

const STATUS: Partial<Record<StoreError["kind"], number>> = { command: 400, limit: 429, timeout: 504, protocol: 502 };

function failure(error: unknown): PlainResponse {
  if (error instanceof RequestError) return fail(error.status, error.message);
  if (isStoreError(error)) return fail(STATUS[error.kind] ?? 503, error.message);
  return fail(500, "The bridge failed");
}

function fail(status: number, error: string): PlainResponse {
  return respond(status, "application/json", new TextEncoder().encode(JSON.stringify({ error })));
}

function respond(
  status: number,
  type: string,
  body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>,
): PlainResponse {
  const headers: Record<string, string> = {
    "content-type": type,
    "cache-control": "no-store",
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "upstash-sync-token",
    "upstash-sync-token": crypto.randomUUID(),
  };
  // Without a length, the response would be sent in chunks.
  if (body instanceof Uint8Array) headers["content-length"] = `${body.length}`;
  if (status === 405) headers.allow = "HEAD, GET, POST, PUT";
  return { status, headers, body };
}
