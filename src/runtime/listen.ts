import type { FetchHandler } from "../base/web_types.ts";
import { createNodeServer } from "./node_server.ts";

export type { FetchHandler } from "../base/web_types.ts";

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
  const server = createNodeServer(http, handler);
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
