/**
 * An Upstash-compatible REST server over any driver, as a fetch handler.
 *
 * It serves what `@upstash/redis` calls: `POST /`, `/pipeline`, `/multi-exec` and commands as paths, with bearer tokens,
 * base64 replies and sync tokens. What it promises beyond that: a command that holds or changes the state of a connection
 * never reaches the driver, and numbers reach it digit for digit.
 *
 * Intentional, not bugs:
 *
 * - FLUSHALL is served as it is: over a store with numbered databases it empties all of them.
 * - An empty segment of a path is an empty argument.
 * - `null`, lists and objects are no arguments: such a command is answered with an error, in a pipeline in its place.
 * - Bodies that are not UTF-8 are refused: drivers carry text, so they would not come back as they were.
 *
 * @module
 */

import { type Command, type Driver, type Reply, StoreError } from "../../drivers/driver.ts";
import { blocked, isRead } from "./commands.ts";
import { parseJson } from "./json.ts";

/** Options of {@linkcode bridge}. */
export interface BridgeOptions {
  /** The wire to the store. The bridge does not close it. */
  readonly driver: Driver;
  /** The token that may do everything. */
  readonly token: string;
  /** The token that may run commands that only read; SCAN and KEYS are not among them. @default none */
  readonly readOnlyToken?: string;
  /** The database that all commands run on. @default 0 */
  readonly database?: number;
  /** The most bytes in one request's body. @default 10_000_000 */
  readonly maxBytes?: number;
  /** Milliseconds that the store may take for one request. @default 10_000 */
  readonly timeout?: number;
}

/**
 * Makes an Upstash-compatible REST server.
 *
 * @param options The driver and the tokens.
 * @returns A fetch handler; it answers every request and never throws.
 * @throws {TypeError} When a token is empty or not made of visible ASCII characters, or both tokens are the same.
 *
 * @example
 * ```ts ignore
 * import { bridge } from "@foodfast/larder/bridge";
 * import { memory } from "@foodfast/larder/drivers/memory";
 *
 * Deno.serve(bridge({ driver: memory(), token: "secret" }));
 * ```
 */
export function bridge(options: BridgeOptions): (request: Request) => Promise<Response> {
  checkToken("token", options.token);
  if (options.readOnlyToken !== undefined) checkToken("readOnlyToken", options.readOnlyToken);
  if (options.readOnlyToken === options.token) {
    throw new TypeError("Cannot open the bridge with one token for both uses; accepted: two different tokens");
  }
  return async (request) => {
    try {
      return await answer(request, options);
    } catch (error) {
      return failure(error);
    }
  };
}

/** A request that is answered with an error as a whole. */
class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function answer(request: Request, options: BridgeOptions): Promise<Response> {
  const url = new URL(request.url);
  if (request.method === "OPTIONS" && request.headers.has("access-control-request-method")) return preflight(request);
  if (!/^(HEAD|GET|POST|PUT)$/.test(request.method)) throw new Refusal(405, "ERR method not allowed");
  const readOnly = authorize(request, url, options);
  const format = request.headers.get("upstash-response-format") ?? "json";
  if (format !== "json") throw new Refusal(400, "ERR unsupported response format, accepted: json");
  const body = await readBody(request, options.maxBytes ?? 10_000_000);
  const encode = request.headers.get("upstash-encoding") === "base64" ? toBase64 : plain;
  const vet = (item: unknown[]) => toCommand(item, readOnly);

  if (url.pathname === "/pipeline" || url.pathname === "/multi-exec") {
    const items = parseBody(body);
    if (!Array.isArray(items) || items.length === 0 || !items.every((item) => Array.isArray(item) && item.length > 0)) {
      throw new Refusal(400, "ERR malformed request, accepted: a non-empty array of non-empty command arrays");
    }
    const commands = items.map(vet);
    const run = url.pathname === "/pipeline" ? pipeline : transaction;
    return json(
      200,
      (await run(commands, options)).map((reply) => toItem(reply, encode)),
    );
  }
  const item = url.pathname === "/" ? parseBody(body) : parsePath(url, body);
  if (!Array.isArray(item) || item.length === 0) {
    throw new Refusal(400, "ERR malformed request, accepted: a non-empty command array");
  }
  const [reply = null] = await pipeline([vet(item)], options);
  return json(reply instanceof Error ? 400 : 200, toItem(reply, encode));
}

/** Checks the request's token; answers whether it is the one that may only read. */
function authorize(request: Request, url: URL, { token, readOnlyToken }: BridgeOptions): boolean {
  const header = request.headers.get("authorization");
  const given = header === null ? url.searchParams.get("_token") : /^bearer +(.*)$/i.exec(header)?.[1];
  const full = equal(given ?? "", token);
  const reads = readOnlyToken !== undefined && equal(given ?? "", readOnlyToken);
  if (!full && !reads) throw new Refusal(401, "WRONGPASS invalid or missing auth token");
  return reads;
}

/** Compares in a time that does not tell how much is right. */
function equal(given: string, token: string): boolean {
  let difference = given.length ^ token.length;
  for (let at = 0; at < token.length; at++) difference |= given.charCodeAt(at) ^ token.charCodeAt(at);
  return difference === 0;
}

async function readBody(request: Request, maxBytes: number): Promise<string> {
  const tooLarge = new Refusal(400, "ERR max request size exceeded");
  if (Number(request.headers.get("content-length")) > maxBytes) throw tooLarge;
  if (!request.body) return "";
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const reader = request.body.getReader();
  let size = 0;
  let text = "";
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      size += part.value.length;
      if (size > maxBytes) throw tooLarge;
      text += decoder.decode(part.value, { stream: true });
    }
    return text + decoder.decode();
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error === tooLarge ? error : new Refusal(400, "ERR the request's body is not valid UTF-8");
  }
}

function parseBody(body: string): unknown {
  try {
    return parseJson(body);
  } catch {
    throw new Refusal(400, "ERR failed to parse the request's body as JSON");
  }
}

/** The command of `/SET/key/value?EX=100`: segments, then the body, then the query. */
function parsePath(url: URL, body: string): string[] {
  const parts = url.pathname.slice(1).split("/").map(decode);
  if (body !== "") parts.push(body);
  for (const pair of url.search.slice(1).split("&")) {
    const [name = "", ...value] = pair.split("=");
    if (pair === "" || name === "_token") continue;
    parts.push(decode(name.replaceAll("+", " ")));
    if (value.length > 0) parts.push(decode(value.join("=").replaceAll("+", " ")));
  }
  return parts;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Refusal(400, "ERR malformed percent-encoding in the URL");
  }
}

/** A command as the driver takes it, or the error that is its reply. */
function toCommand(item: unknown[], readOnly: boolean): Command | StoreError {
  const args = item.map(toArgument);
  const [name, ...rest] = args;
  if (typeof item[0] !== "string" || !name) return refused("the command's name is not a string");
  if (!args.every((arg) => arg !== undefined)) return refused("an argument is not a string, number or boolean");
  const shown = JSON.stringify(name.slice(0, 40));
  if (blocked(name, rest as string[])) return refused(`command ${shown} is not served over REST`);
  if (readOnly && !isRead(name)) {
    return new StoreError("auth", `NOPERM this token has no permissions to run the command ${shown}`);
  }
  return args as unknown as Command;
}

function toArgument(value: unknown): string | undefined {
  return typeof value === "boolean" ? String(value) : typeof value === "string" ? value : undefined;
}

function refused(why: string): StoreError {
  return new StoreError("command", `ERR ${why}`);
}

/** Runs commands in order; those that were refused have their error in their place. */
async function pipeline(commands: (Command | StoreError)[], options: BridgeOptions): Promise<Reply[]> {
  const served = commands.filter((command): command is Command => !(command instanceof Error));
  const replies = served.length > 0 ? await send(served, options) : [];
  let next = 0;
  return commands.map((command) => (command instanceof Error ? command : (replies[next++] ?? null)));
}

/** Runs commands as one transaction; any that is refused discards all. */
async function transaction(commands: (Command | StoreError)[], options: BridgeOptions): Promise<Reply[]> {
  const { transactions } = options.driver.capabilities;
  if (!transactions) throw new Refusal(400, "ERR transactions are not served over this store");
  const served = commands.map((command) => {
    if (command instanceof Error) throw new Refusal(400, command.message);
    return command;
  });
  if (transactions === "atomic") return send(served, options);
  const replies = await send([["MULTI"], ...served, ["EXEC"]], options);
  const results = replies.at(-1);
  if (Array.isArray(results)) return results;
  if (results instanceof StoreError && results.kind !== "command") throw results;
  // The command that could not be queued says more than EXECABORT.
  const wrong = replies.find((reply) => reply instanceof Error);
  throw new Refusal(400, wrong?.message ?? "EXECABORT the transaction was discarded");
}

function send(
  commands: readonly Command[],
  { driver, database = 0, timeout = 10_000 }: BridgeOptions,
): Promise<Reply[]> {
  return driver.send(database, commands, { timeout });
}

/** How the strings of a result are written. */
type Encode = (text: string) => string;

function toItem(reply: Reply, encode: Encode): { error: string } | { result: unknown } {
  if (reply instanceof Error) return { error: reply.message };
  // A client decodes a whole result except for this one; inside a list it decodes this too.
  return { result: reply === "OK" ? reply : toResult(reply, encode) };
}

function toResult(reply: Reply, encode: Encode): unknown {
  if (reply instanceof Error) return encode(reply.message);
  if (typeof reply === "string") return encode(reply);
  return typeof reply === "object" && reply !== null ? reply.map((each) => toResult(each, encode)) : reply;
}

function plain(text: string): string {
  return text;
}

function toBase64(text: string): string {
  const bytes = new TextEncoder().encode(text);
  let binary = "";
  // As many arguments as every engine takes.
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(binary);
}

function preflight(request: Request): Response {
  const wanted = request.headers.get("access-control-request-headers") ?? "authorization, content-type";
  return new Response(null, {
    status: 204,
    headers: {
      "access-control-allow-origin": "*",
      "access-control-allow-methods": "HEAD, GET, POST, PUT",
      "access-control-allow-headers": wanted,
      "access-control-max-age": "86400",
    },
  });
}

const STATUS: Partial<Record<StoreError["kind"], number>> = { command: 400, limit: 429, timeout: 504, protocol: 502 };

function failure(error: unknown): Response {
  if (error instanceof Refusal) return json(error.status, { error: error.message });
  if (error instanceof StoreError) return json(STATUS[error.kind] ?? 503, { error: error.message });
  return json(500, { error: "the bridge failed" });
}

function json(status: number, value: unknown): Response {
  const headers: Record<string, string> = {
    "content-type": "application/json",
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "upstash-sync-token",
    "upstash-sync-token": crypto.randomUUID(),
  };
  if (status === 405) headers.allow = "HEAD, GET, POST, PUT";
  return new Response(JSON.stringify(value), { status, headers });
}

function checkToken(name: string, token: unknown): void {
  if (typeof token === "string" && /^[\x21-\x7e]+$/.test(token)) return;
  throw new TypeError(
    `Cannot open the bridge: its ${name} is missing or malformed; accepted: visible ASCII characters`,
  );
}
