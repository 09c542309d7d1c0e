/**
 * Fetch handlers that can also be served without a `Request` and a `Response`.
 *
 * On Node, these two and the streams between them cost four times what the rest of a short request costs. A plain
 * handler uses only the few members of a request that are below, and returns plain headers and bytes. Node's server
 * calls it directly. Everywhere else it is a fetch handler like others.
 *
 * @module
 */

import type { FetchHandler } from "../base/web_types.ts";

/** The members of a request that plain handlers use. A `Request` has them. */
export interface PlainRequest {
  readonly method: string;
  /** The URL. It may be a path alone, and a server may leave the segments `.` and `..` in it. */
  readonly url: string;
  /** The headers, by names in lower case. */
  readonly headers: Pick<Headers, "get" | "has">;
  readonly body: ReadableStream<Uint8Array> | null;
  readonly signal: AbortSignal;
  arrayBuffer(): Promise<ArrayBuffer>;
  text(): Promise<string>;
}

/** A response without a `Response`. */
export interface PlainResponse {
  readonly status: number;
  /** The headers. If the body is bytes, its length is among them, or the response is sent in chunks. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null;
}

/** A handler of plain requests. */
export type PlainHandler = (request: PlainRequest) => Promise<PlainResponse | Response>;

const plainHandlers = new WeakMap<FetchHandler, PlainHandler>();

/** Makes a fetch handler of a plain one. */
export function fetchHandler(handler: PlainHandler): (request: Request) => Promise<Response> {
  const served = async (request: Request): Promise<Response> => toResponse(await handler(request));
  plainHandlers.set(served, handler);
  return served;
}

/** Makes a handler that calls another one, plain or not, from within a function. */
export function wrapHandler(
  handler: FetchHandler,
  wrap: (answer: () => ReturnType<PlainHandler>) => ReturnType<PlainHandler>,
): FetchHandler {
  const plain = plainHandler(handler);
  if (plain) return fetchHandler((request) => wrap(() => plain(request)));
  return async (request) => toResponse(await wrap(async () => handler(request)));
}

/** Returns `false` for a `Response`, even of another realm. */
export function isPlain(response: PlainResponse | Response): response is PlainResponse {
  return !("arrayBuffer" in response);
}

function toResponse(response: PlainResponse | Response): Response {
  return isPlain(response) ? new Response(response.body, response) : response;
}

/** Returns the plain handler of a fetch handler; `undefined` if it needs a `Request`. */
export function plainHandler(handler: FetchHandler): PlainHandler | undefined {
  return plainHandlers.get(handler);
}
