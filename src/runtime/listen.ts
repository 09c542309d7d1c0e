import type { WebRequest, WebResponse } from "../base/web_types.ts";

/** A fetch-style request handler. */
export type FetchHandler = (request: WebRequest) => WebResponse | Promise<WebResponse>;

/** Options of {@linkcode listen}. */
export interface ListenOptions {
  /** The address to bind. @default "127.0.0.1" */
  readonly hostname?: string;
  /** The TCP port; 0 takes a free one. @default 0 */
  readonly port?: number;
}

/** A server that {@linkcode listen} started. */
export interface Listener {
  /** The base URL, without a trailing slash. */
  readonly url: string;
  /** The TCP port. */
  readonly port: number;
  /** Stops listening and drops the open connections. */
  close(): Promise<void>;
}

/**
 * Serves a fetch-style handler over HTTP on Deno, Bun or Node. Bodies are streamed in both directions, and the signal
 * of a request aborts when its client goes away.
 *
 * @param handler Answers each request. If it throws, the error is logged and the client gets status 500.
 * @param options The address and the port.
 * @returns The running server.
 * @throws {Error} If the address is taken, or the runtime cannot listen.
 *
 * @example
 * ```ts ignore
 * const server = await listen(() => new Response("hello"));
 * console.log(await (await fetch(server.url)).text()); // "hello"
 * await server.close();
 * ```
 */
export async function listen(handler: FetchHandler, options: ListenOptions = {}): Promise<Listener> {
  const hostname = options.hostname ?? "127.0.0.1";
  const port = options.port ?? 0;
  const runtime = globalThis as unknown as ServingRuntime;
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  const serving: FetchHandler = async (request) => {
    try {
      return await handler(request);
    } catch (error) {
      console.error(error);
      return new Response("Internal Server Error", { status: 500 });
    }
  };
  const started = (port: number, close: () => Promise<void>) => ({ url: `http://${host}:${port}`, port, close });
  if (runtime.Deno) {
    const stop = new AbortController();
    const server = runtime.Deno.serve({ hostname, port, signal: stop.signal, onListen() {} }, serving);
    return started(server.addr.port, () => {
      stop.abort();
      return server.finished;
    });
  }
  if (runtime.Bun) {
    const server = runtime.Bun.serve({ hostname, port, fetch: serving, development: false, idleTimeout: 60 });
    return started(server.port, async () => void (await server.stop(true)));
  }
  const http = runtime.process?.getBuiltinModule?.("node:http") as typeof import("node:http") | undefined;
  if (!http) throw new Error("Cannot listen: received a runtime without an HTTP server, expected Bun, Deno or Node");
  const server = http.createServer((incoming, outgoing) => {
    // Only a body that breaks off fails here. The client must see that it is cut.
    answer(serving, incoming, outgoing).catch(() => outgoing.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, hostname, resolve);
  });
  return started(
    (server.address() as { port: number }).port,
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
}

/** The used part of the globals of runtimes that can listen. */
interface ServingRuntime {
  readonly Deno?: {
    serve(
      options: { hostname: string; port: number; signal: AbortSignal; onListen(): void },
      handler: FetchHandler,
    ): { addr: { port: number }; finished: Promise<void> };
  };
  readonly Bun?: {
    serve(options: {
      hostname: string;
      port: number;
      fetch: FetchHandler;
      development: boolean;
      idleTimeout: number;
    }): { port: number; stop(force: boolean): Promise<void> };
  };
  readonly process?: { getBuiltinModule?(name: string): unknown };
}

/** Answers one request of node:http with a fetch-style handler. */
async function answer(
  handler: FetchHandler,
  incoming: import("node:http").IncomingMessage,
  outgoing: import("node:http").ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  outgoing.once("close", () => outgoing.writableFinished || gone.abort());
  const request = toRequest(incoming, gone.signal, await readSmall(incoming));
  if (!request) return void outgoing.writeHead(400).end("Bad Request");
  const response = await handler(request);
  const headers = [...response.headers].filter(([name]) => name !== "set-cookie").flat();
  for (const cookie of response.headers.getSetCookie()) headers.push("set-cookie", cookie);
  outgoing.writeHead(response.status, headers);
  if (!response.body) return void outgoing.end();
  if (Number(response.headers.get("content-length") ?? Number.NaN) <= WHOLE) {
    return void outgoing.end(new Uint8Array(await response.arrayBuffer()));
  }
  // The headers of a stream leave before its first chunk.
  if (!response.headers.has("content-length")) outgoing.flushHeaders();
  const reader = response.body.getReader();
  const cancel = () => void reader.cancel().catch(() => {});
  // The client may have left before the response was ready.
  if (gone.signal.aborted) cancel();
  gone.signal.addEventListener("abort", cancel);
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (!outgoing.write(part.value) && !gone.signal.aborted) {
      await new Promise<void>((resolve) => {
        outgoing.once("drain", resolve);
        gone.signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }
  outgoing.end();
}

/** The longest body that is read and written whole, in bytes. A short one costs less to copy than to stream. */
const WHOLE = 2 ** 16;

/** Reads the body of a request if its announced length is short. Longer bodies are left to be streamed. */
async function readSmall(incoming: import("node:http").IncomingMessage): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const length = Number(incoming.headers["content-length"] ?? Number.NaN);
  if (!(length > 0 && length <= WHOLE)) return undefined;
  const body = new Uint8Array(length);
  let size = 0;
  await new Promise<void>((resolve, reject) => {
    incoming.on("data", (chunk: Uint8Array) => {
      body.set(chunk, size);
      size += chunk.length;
    });
    incoming.once("end", resolve);
    incoming.once("error", reject);
  });
  return body;
}

/** Turns a request of node:http into a `Request`. Returns `undefined` if fetch has no such request. */
function toRequest(
  incoming: import("node:http").IncomingMessage,
  signal: AbortSignal,
  body: Uint8Array<ArrayBuffer> | undefined,
): Request | undefined {
  const { method = "GET", url = "/", headers: received } = incoming;
  const headers = new Headers();
  for (const [name, value] of Object.entries(received)) {
    for (const each of Array.isArray(value) ? value : [value ?? ""]) headers.append(name, each);
  }
  const init: RequestInit & { duplex?: "half" } = { method, headers, signal };
  if (method !== "GET" && method !== "HEAD") {
    init.body = body ?? toStream(incoming);
    init.duplex = "half";
  }
  try {
    return new Request(url.startsWith("/") ? `http://${received.host ?? "localhost"}${url}` : url, init);
  } catch {
    return undefined;
  }
}

/** Streams the body of a request as the handler reads it. If the handler cancels, the rest is read and dropped. */
function toStream(incoming: import("node:http").IncomingMessage): ReadableStream<Uint8Array> {
  // Destroying the request would destroy its socket, and the answer with it.
  const chunks = incoming.iterator({ destroyOnReturn: false }) as AsyncIterator<Uint8Array>;
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(new Uint8Array(value));
      },
      async cancel() {
        await chunks.return?.();
        incoming.resume();
      },
    },
    { highWaterMark: 0 },
  );
}
