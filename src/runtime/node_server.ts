/**
 * Serves fetch handlers over `node:http`.
 *
 * @module
 */

import type { FetchHandler } from "../base/web_types.ts";
import { isPlain, type PlainHandler, type PlainResponse, plainHandler } from "./handler.ts";
import { NodeRequest } from "./node_request.ts";

type Http = typeof import("node:http");
type Incoming = import("node:http").IncomingMessage;
type Outgoing = import("node:http").ServerResponse;

/**
 * Makes a server, which does not listen yet.
 *
 * @param http The module `node:http`.
 * @param handler Answers each request. If it throws, the error is logged and the client gets status 500.
 */
export function createNodeServer(http: Http, handler: FetchHandler): import("node:http").Server {
  const plain = plainHandler(handler) ?? withRequest(handler);
  return http.createServer((incoming, outgoing) => {
    // Only a body that breaks off fails here. The client must see that it is cut.
    serve(plain, incoming, outgoing).catch(() => outgoing.destroy());
  });
}

type NodeHandler = (request: NodeRequest) => ReturnType<PlainHandler>;

/** Gives a handler that is not plain a `Request`. */
function withRequest(handler: FetchHandler): NodeHandler {
  return async (request) => {
    const full = await request.toRequest();
    return full ? handler(full) : failure(400, "Bad Request");
  };
}

async function serve(handler: NodeHandler, incoming: Incoming, outgoing: Outgoing): Promise<void> {
  const request = new NodeRequest(incoming, outgoing);
  let response: PlainResponse | Response;
  try {
    response = request.valid ? await handler(request) : failure(400, "Bad Request");
  } catch (error) {
    console.error(error);
    response = failure(500, "Internal Server Error");
  }
  await (isPlain(response) ? writePlain(response, request, outgoing) : writeResponse(response, outgoing));
}

function failure(status: number, text: string): PlainResponse {
  const body = new TextEncoder().encode(text);
  return { status, headers: { "content-type": "text/plain", "content-length": `${body.length}` }, body };
}

async function writePlain(response: PlainResponse, request: NodeRequest, outgoing: Outgoing): Promise<void> {
  const { status, headers, body } = response;
  if (request.unread && !(body instanceof ReadableStream)) {
    outgoing.writeHead(status, { ...headers, connection: "close" });
    if (body) outgoing.write(body);
    await request.drop();
    outgoing.end();
    return;
  }
  outgoing.writeHead(status, headers);
  if (!body) outgoing.end();
  else if (body instanceof Uint8Array) outgoing.end(body);
  else await writeStream(body, outgoing);
}

/** The longest body of a `Response` that is written whole, in bytes. A short one costs less to copy than to stream. */
const WHOLE = 2 ** 16;

async function writeResponse(response: Response, outgoing: Outgoing): Promise<void> {
  const headers = [...response.headers].filter(([name]) => name !== "set-cookie").flat();
  for (const cookie of response.headers.getSetCookie()) headers.push("set-cookie", cookie);
  outgoing.writeHead(response.status, headers);
  if (!response.body) outgoing.end();
  else if (Number(response.headers.get("content-length") ?? Number.NaN) <= WHOLE) {
    outgoing.end(new Uint8Array(await response.arrayBuffer()));
  } else await writeStream(response.body, outgoing);
}

/** Writes a stream as fast as the client reads it. If the client leaves, the stream is cancelled. */
async function writeStream(body: ReadableStream<Uint8Array>, outgoing: Outgoing): Promise<void> {
  // The headers leave before the first chunk.
  outgoing.flushHeaders();
  const reader = body.getReader();
  let resume = () => {};
  const leave = () => {
    if (!outgoing.writableFinished) reader.cancel().catch(() => {});
    resume();
  };
  // The client may have left before the response was ready.
  if (outgoing.closed) leave();
  outgoing.once("close", leave).on("drain", () => resume());
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (outgoing.write(part.value) || outgoing.closed) continue;
    await new Promise<void>((resolve) => {
      resume = resolve;
    });
  }
  outgoing.end();
}
