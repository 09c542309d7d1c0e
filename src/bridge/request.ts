/**
 * The body of a request, and the commands in its body or its path.
 *
 * @module
 */

import { type RawCommand, StoreError } from "../../drivers/driver.ts";
import { RequestError } from "../base/request_error.ts";
import type { PlainRequest } from "../runtime/handler.ts";
import { type Argument, blocked, isRead } from "./commands.ts";
import { parseJson } from "./json.ts";

/** Reads a request's body. @throws {RequestError} When it is too large or breaks off. */
export async function readBody(request: PlainRequest, maxBytes: number): Promise<Uint8Array> {
  const declared = request.headers.get("content-length");
  if (Number(declared) > maxBytes) throw tooLarge();
  try {
    if (declared === null) return request.body ? await readParts(request.body, maxBytes) : new Uint8Array();
    const body = new Uint8Array(await request.arrayBuffer());
    if (body.length > maxBytes) throw tooLarge();
    return body;
  } catch (error) {
    throw error instanceof RequestError ? error : new RequestError(400, "ERR the request's body is incomplete");
  }
}

function tooLarge(): RequestError {
  return new RequestError(400, "ERR max request size exceeded");
}

async function readParts(body: ReadableStream<Uint8Array>, maxBytes: number): Promise<Uint8Array> {
  const reader = body.getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    size += part.value.length;
    if (size > maxBytes) {
      reader.cancel().catch(() => {});
      throw tooLarge();
    }
    parts.push(part.value);
  }
  const whole = new Uint8Array(size);
  for (const part of parts.reverse()) {
    size -= part.length;
    whole.set(part, size);
  }
  return whole;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function toText(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Parses a body of JSON. @throws {RequestError} If it is not JSON. */
export function parseBody(body: Uint8Array): unknown {
  const text = toText(body);
  if (text === undefined) throw new RequestError(400, "ERR the request's body is not valid UTF-8");
  try {
    return parseJson(text);
  } catch {
    throw new RequestError(400, "ERR failed to parse the request's body as JSON");
  }
}

/** The path and the query of a URL, still encoded. */
export interface UrlParts {
  readonly path: string;
  /** The query, without its question mark. */
  readonly query: string;
}

const URL_PARTS = /^(?:[a-z][a-z\d+.-]*:\/\/[^/?#]*)?(\/[^?#]*)?(?:\?([^#]*))?(?:#.*)?$/i;

/**
 * Returns the path and the query of a URL as they are. `URL` would remove the segments `.` and `..`, which may be
 * arguments.
 */
export function partsOf(url: string): UrlParts {
  const [whole, path = "/", query = ""] = URL_PARTS.exec(url) ?? [];
  if (!whole) throw new RequestError(400, "ERR malformed URL");
  return { path, query };
}

/** Returns the decoded segments of a path. @throws {RequestError} If they are malformed. */
export function parseSegments(path: string): Argument[] {
  return path.split("/").map(decode);
}

/** Returns the command of `/SET/key/value?EX=100`: the segments, then the body, then the query. */
export function parsePath(url: UrlParts, body: Uint8Array): Argument[] {
  const parts = parseSegments(url.path.slice(1));
  if (body.length > 0) parts.push(toText(body) ?? body);
  for (const pair of parseQuery(url)) {
    const [name = "", ...value] = pair.split("=");
    parts.push(decode(name.replaceAll("+", " ")));
    if (value.length > 0) parts.push(decode(value.join("=").replaceAll("+", " ")));
  }
  return parts;
}

/** Returns the pairs of a query without the token, still encoded. */
export function parseQuery({ query }: UrlParts): string[] {
  return query.split("&").filter((pair) => pair !== "" && !/^_token(=|$)/.test(pair));
}

/** Decodes percent-encoding: to text, or to bytes if they are not UTF-8. */
function decode(text: string): Argument {
  if (!text.includes("%")) return text;
  if (/%(?![\da-f]{2})/i.test(text)) throw new RequestError(400, "ERR malformed percent-encoding in the URL");
  try {
    return decodeURIComponent(text);
  } catch {
    const binary = text.replace(/%(..)/g, (_, code) => String.fromCharCode(Number.parseInt(code, 16)));
    return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
  }
}

/** The rights of a request. */
export interface RequestRights {
  /** `true` if it may only read. */
  readonly readOnly: boolean;
  /** `true` if arguments may be bytes. */
  readonly binary: boolean;
}

/** Returns a command to send, or the error that is its reply. */
export function toCommand(item: readonly unknown[], rights: RequestRights): RawCommand | StoreError {
  const [name] = item;
  if (typeof name !== "string" || name === "") return refused("the command's name is not a string");
  const args = item.every((value) => typeof value === "string") ? item : toArguments(item, rights);
  if (args instanceof Error) return args;
  const option = blocked(name, args);
  if (option !== undefined)
    return refused(`command ${shown(name)}${option && ` with ${option}`} is not served over REST`);
  return rights.readOnly && !isRead(name) ? forbidden(name) : args;
}

function toArguments(item: readonly unknown[], { binary }: RequestRights): readonly Argument[] | StoreError {
  const args: Argument[] = [];
  for (const value of item) {
    if (typeof value === "string" || (binary && value instanceof Uint8Array)) args.push(value);
    else if (typeof value === "boolean") args.push(String(value));
    else if (value instanceof Uint8Array)
      return refused("an argument is not valid UTF-8, and this store takes only text");
    else return refused("an argument is not a string, number or boolean");
  }
  return args;
}

/** Returns the error of a command that a read-only token may not run. */
export function forbidden(name: string): StoreError {
  return new StoreError("auth", `NOPERM this token has no permissions to run the command ${shown(name)}`);
}

function shown(name: string): string {
  return JSON.stringify(name.slice(0, 40));
}

function refused(why: string): StoreError {
  return new StoreError("command", `ERR ${why}`);
}
