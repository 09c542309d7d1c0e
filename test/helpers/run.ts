/** Runs programs as child processes, without the configuration of the person that runs the tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import process from "node:process";

/** A program that ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running program. */
export interface Running {
  /** Resolves when it has ended. */
  readonly ended: Promise<Ended>;
  /** Kills it, and resolves when it is gone. */
  stop(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.on("exit", () => running.forEach(kill));

/** Kills the program and what it started: the command of a package may be a script that starts the program itself. */
function kill(child: ChildProcess): void {
  try {
    process.kill(-(child.pid as number), "SIGKILL");
  } catch {
    child.kill("SIGKILL");
  }
}

/** The path of an installed command. The tests run in the repository's root. */
export function installed(name: string): string {
  return `node_modules/.bin/${name}`;
}

/**
 * Starts a program in the repository's root.
 *
 * @param command The program.
 * @param args Its arguments.
 * @param env Its variables, over `PATH` and the like: nothing that configures a cache is handed down.
 */
export function start(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(CACHE_|REDIS_|UPSTASH_|KV_|FORCE_COLOR|NODE_TEST)/.test(name),
  );
  const child = spawn(command, args, {
    env: { ...Object.fromEntries(kept), NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  running.add(child);
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (data) => {
    stdout += data;
  });
  child.stderr?.on("data", (data) => {
    stderr += data;
  });
  const ended = once(child, "close").then(([code]) => {
    running.delete(child);
    return { code: code as number | null, stdout, stderr };
  });
  return {
    ended,
    async stop() {
      if (running.has(child)) kill(child);
      await ended;
    },
  };
}

/** Starts a file of test/fixtures with arguments, on this runtime. */
export function startFixture(name: string, ...args: readonly string[]): Running {
  const file = import.meta.filename.replace(/helpers\/run\.(\w+)$/, `fixtures/${name}.$1`);
  return start(process.execPath, [...(process.versions.deno ? ["run", "-A", "--no-check", file] : [file]), ...args]);
}

/**
 * Waits until a server listens on 127.0.0.1.
 *
 * @param port The port that it will listen on.
 * @param server The program; when it ends instead, the error says what it printed.
 */
export async function listening(port: number, server: Running): Promise<void> {
  let gone: Ended | undefined;
  server.ended.then((ended) => {
    gone = ended;
  });
  for (let tries = 0; tries < 300; tries++) {
    const socket = connect(port, "127.0.0.1");
    try {
      await once(socket, "connect");
      return;
    } catch {
      if (gone) throw new Error(`the server ended with code ${gone.code}: ${gone.stdout}${gone.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    } finally {
      socket.destroy();
    }
  }
  throw new Error(`nothing listens on port ${port} after 15 s`);
}
