import type { Command } from "commander";
import { bridge } from "../bridge/bridge.ts";
import { type FetchHandler, type Listener, listen } from "../runtime.ts";
import { Failure } from "./errors.ts";
import { addExamples, addOutputFlags, whole } from "./flags.ts";
import type { Run } from "./run.ts";
import type { CommonFlags } from "./shell.ts";

interface Flags extends CommonFlags {
  readonly port: number;
  readonly host: string;
  readonly database?: number;
  readonly url: string;
  readonly token?: string;
  /** `true` without a token. */
  readonly readOnlyToken?: string | true;
}

/** How long requests under way may take to end, in milliseconds. */
const GRACE_MS = 3000;
const LAST_MS = 50;

/** Adds `larder serve`. */
export function addServe(program: Command, run: Run): void {
  const command = program
    .command("serve")
    .summary("serve Upstash's REST API over memory or Redis")
    .description(
      "Serves what @upstash/redis speaks, over an embedded store or any Redis, and prints the two variables to set. Ctrl-C ends it, with exit code 0.",
    )
    .option("-p, --port <number>", "the port; 0 takes a free one", whole(0, 65_535), 8079)
    .option(
      "--host <address>",
      "the address; others than this machine's reach it where it is not a loopback address",
      "127.0.0.1",
    )
    .option("--token <token>", "the token that may do everything (default: a random one)")
    .option("--read-only-token [token]", "a token that may only read (default: none; without a value a random one)")
    .option("--url <url>", "the store: memory:, redis://, rediss://, unix:", "memory:")
    .option("-d, --database <number>", "its database, 0-15 (default: the URL's, or 0)", whole(0, 15));
  addOutputFlags(command);
  addExamples(command, "serve", "serve --port 8080 --token local --url redis://localhost:6379");
  command.action((flags: Flags) =>
    run(flags, async (shell) => {
      const { output, json, signal } = shell;
      const { host, port, token = random() } = flags;
      const readOnlyToken = flags.readOnlyToken === true ? random() : flags.readOnlyToken;
      const { client, name, database: urls } = await shell.open({ url: flags.url });
      const { database = urls } = flags;
      const { driver } = await client.place({ database });
      const numbered = driver.capabilities.numbered ? database : 0;
      const handler = bridge({
        driver,
        token,
        database: numbered,
        ...(readOnlyToken !== undefined && { readOnlyToken }),
      });
      const server = await start(handler, host, port);
      output.hide();
      if (json) {
        await output.json({ url: server.url, token, ...(readOnlyToken !== undefined && { readOnlyToken }) });
      } else {
        await output.line(`UPSTASH_REDIS_REST_URL=${server.url}`);
        await output.line(`UPSTASH_REDIS_REST_TOKEN=${token}`);
        if (flags.readOnlyToken === true) output.note(`The read-only token: ${readOnlyToken}`);
      }
      await output.flush();
      if (!LOOPBACK.test(host)) {
        output.note(
          `warning: ${host} is no loopback address: others may reach this server, and its tokens are not encrypted on their way`,
        );
      }
      output.note(`Serving ${name}; Ctrl-C ends it`);
      if (client.driver === "memory")
        output.note("It knows strings and hashes; --url redis://... serves all of a Redis");
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
      await server.close();
      return 0;
    }),
  );
}

const LOOPBACK = /^(127\.[\d.]+|localhost|::1|\[::1\])$/;

/** Listens, and when it is closed lets requests under way come to their end. */
async function start(handler: ReturnType<typeof bridge>, hostname: string, port: number): Promise<Listener> {
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
      // Streams end by themselves only when the bridge ends them.
      const ended = handler.close();
      await Promise.race([Promise.all([quiet, ended]), timer]);
      // The last answers are on their way.
      await new Promise((resolve) => setTimeout(resolve, LAST_MS));
      await listener.close();
    },
  };
}

function reason(error: unknown): string {
  const { code = "", message } = error as { code?: string; message: string };
  if (/EADDRINUSE/.test(`${code} ${message}`) || (error as Error).name === "AddrInUse") {
    return "the port is taken; accepted is another one, or 0 for any";
  }
  if (code === "EACCES") return "permission denied; accepted are ports from 1024 on";
  return message;
}

function random(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return btoa(String.fromCharCode(...bytes)).replace(/[+/=]/g, (sign) => ({ "+": "-", "/": "_" })[sign] ?? "");
}
