/** Servers that commands start: `larder serve`, `larder dashboard`. */
import type { Command } from "commander";
import { type FetchHandler, type Listener, listen } from "../runtime/listen.ts";
import { Failure } from "./errors.ts";
import { wholeNumber } from "./flags.ts";
import type { Shell } from "./shell.ts";

/** Where a server listens. */
export interface ServerFlags {
  readonly port: number;
  readonly host: string;
}

/** Adds where it listens. */
export function addServerFlags(command: Command, port: number): Command {
  return command
    .option("-p, --port <number>", "the port; 0 takes a free one", wholeNumber(0, 65_535), port)
    .option(
      "--host <address>",
      "the address; others than this machine's reach it where it is not a loopback address",
      "127.0.0.1",
    );
}

/** A handler that ends what it streams when it is closed. */
export interface ServedHandler extends FetchHandler {
  close(): Promise<void>;
}

/** How long requests under way may take to end, in milliseconds. */
const GRACE_MS = 3000;
const LAST_MS = 50;

/** Listens, and when it is closed lets requests under way come to their end. */
export async function startServer(handler: ServedHandler, hostname: string, port: number): Promise<Listener> {
  let open = 0;
  let closing = false;
  let last: (() => void) | undefined;
  const counted: FetchHandler = async (request) => {
    if (closing) return new Response(JSON.stringify({ error: "the server is stopping" }), { status: 503 });
    open++;
    try {
      return await handler(request);
    } finally {
      open--;
      if (open === 0) last?.();
    }
  };
  let listener: Listener;
  try {
    listener = await listen(counted, { hostname, port });
  } catch (error) {
    throw new Failure(`cannot listen on ${hostname}:${port}: ${reason(error)}`);
  }
  return {
    ...listener,
    async close() {
      closing = true;
      const quiet = new Promise<void>((resolve) => {
        last = resolve;
        if (open === 0) resolve();
      });
      const timer = new Promise<void>((resolve) => setTimeout(resolve, GRACE_MS));
      // Streams end only when the handler ends them.
      const ended = handler.close();
      await Promise.race([Promise.all([quiet, ended]), timer]);
      // The last answers are on their way.
      await new Promise((resolve) => setTimeout(resolve, LAST_MS));
      await listener.close();
    },
  };
}

/** Waits for Ctrl-C, then closes the server. Warns where others may reach it. */
export async function serveUntilStopped({ output, signal }: Shell, server: Listener, host: string): Promise<void> {
  if (!LOOPBACK.test(host)) {
    output.note(
      `warning: ${host} is no loopback address: others may reach this server, and its tokens are not encrypted on their way`,
    );
  }
  await output.flush();
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  await server.close();
}

const LOOPBACK = /^(127\.[\d.]+|localhost|::1|\[::1\])$/;

function reason(error: unknown): string {
  const { code = "", message } = error as { code?: string; message: string };
  if (/EADDRINUSE/.test(`${code} ${message}`) || (error as Error).name === "AddrInUse") {
    return "the port is taken; accepted is another one, or 0 for any";
  }
  if (code === "EACCES") return "permission denied; accepted are ports from 1024 on";
  return message;
}

/** A token that nobody guesses, for URLs and headers. */
export function randomToken(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return btoa(String.fromCharCode(...bytes)).replace(/[+/=]/g, (sign) => ({ "+": "-", "/": "_" })[sign] ?? "");
}
