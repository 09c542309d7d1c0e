/** The servers of `larder serve` and `larder dashboard`. */
import type { Command } from "commander";
import { toBase64 } from "../base/base64.ts";
import type { FetchHandler } from "../base/web_types.ts";
import { wrapHandler } from "../runtime/handler.ts";
import { type Listener, listen } from "../runtime/listen.ts";
import { Failure } from "./errors.ts";
import { wholeNumber } from "./flags.ts";
import type { Shell } from "./shell.ts";

/** The address of a server. */
export interface ServerFlags {
  readonly port: number;
  readonly host: string;
}

/** Adds the options of the address. */
export function addServerFlags(command: Command, port: number): Command {
  return command
    .option("-p, --port <number>", "the port; 0 for any free one", wholeNumber(0, 65_535), port)
    .option(
      "--host <address>",
      "the address; unless it is a loopback address, other machines can reach the server",
      "127.0.0.1",
    );
}

/** A handler whose streams end when it is closed. */
export interface ServedHandler extends FetchHandler {
  close(): Promise<void>;
}

/** The longest time that in-flight requests may take to end, in milliseconds. */
const GRACE_MS = 3000;
const LAST_MS = 50;

/** Starts a server. When it is closed, in-flight requests are completed first. */
export async function startServer(handler: ServedHandler, hostname: string, port: number): Promise<Listener> {
  let open = 0;
  let closing = false;
  let last: (() => void) | undefined;
  const counted = wrapHandler(handler, async (answer) => {
    if (closing) return new Response(JSON.stringify({ error: "the server is stopping" }), { status: 503 });
    open++;
    try {
      return await answer();
    } finally {
      open--;
      if (open === 0) last?.();
    }
  });
  let listener: Listener;
  try {
    listener = await listen(counted, { hostname, port });
  } catch (error) {
    throw new Failure(`Cannot listen on ${hostname}:${port}: ${reason(error)}`);
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
      // Only the handler can end its streams.
      const ended = handler.close();
      await Promise.race([Promise.all([quiet, ended]), timer]);
      // Time for the last responses to be sent.
      await new Promise((resolve) => setTimeout(resolve, LAST_MS));
      await listener.close();
    },
  };
}

/** Waits for Ctrl-C, then closes the server. Warns if other machines can reach it. */
export async function serveUntilStopped({ output, signal }: Shell, server: Listener, host: string): Promise<void> {
  if (!LOOPBACK.test(host)) {
    output.note(
      `warning: ${host} is not a loopback address: other machines can reach this server, ` +
        "and its tokens are sent unencrypted",
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
    return "the port is taken, expected another one, or 0 for any";
  }
  if (code === "EACCES") return "permission denied, expected a port of 1024 or more";
  return message;
}

/** Returns a random token for URLs and headers. */
export function randomToken(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return toBase64(bytes).replace(/[+/=]/g, (sign) => ({ "+": "-", "/": "_" })[sign] ?? "");
}
