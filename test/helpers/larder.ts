/** Runs the command `larder` as a user does: in a pipe, or in a terminal. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import type { Ended } from "./run.ts";
import { installed } from "./run.ts";

/** The running command. */
export interface Command {
  /** Resolves when it has ended. In a terminal, `stdout` is all that it showed. */
  readonly ended: Promise<Ended>;
  /** Waits until it has printed what matches; answers the match. */
  said(pattern: RegExp): Promise<RegExpExecArray>;
  /** Types, or writes to its standard input. */
  type(text: string): void;
  /** Sends it a signal. */
  signal(name: "SIGINT" | "SIGTERM"): void;
}

/** The options of a run of the command. */
export interface CommandOptions {
  /** Its variables, over `PATH` and the like: nothing that configures a cache is handed down. */
  readonly env?: Readonly<Record<string, string>>;
  /** The text of its standard input. @default empty, at its end */
  readonly input?: string;
  /** Keeps standard input open, for {@linkcode Command.type}. @default false */
  readonly open?: boolean;
  /** A shell's redirection of its output, such as `"> /dev/full"`. */
  readonly redirect?: string;
  /** A shell command that runs before it, such as `"ulimit -f 8"`. */
  readonly before?: string;
  /** The columns of its terminal; 0 is a terminal that does not know them. @default 100 */
  readonly columns?: number;
  /** The working directory. @default the repository's root */
  readonly cwd?: string;
}

/** The program and arguments by which this runtime runs the command. */
export const RUNTIME: readonly string[] = process.versions.bun
  ? [installed("bun"), "src/cli/main.ts"]
  : "Deno" in globalThis
    ? [
        installed("deno"),
        ...["run", "--quiet", "--no-check", "--no-prompt"],
        ...["--allow-net", "--allow-env", "--allow-read", "--allow-write", "src/cli/main.ts"],
      ]
    : ["node", "dist/src/cli/main.js"];

const running = new Set<ChildProcess>();
process.on("exit", () => running.forEach((child) => void send(child, "SIGKILL")));

function send(child: ChildProcess, name: NodeJS.Signals): void {
  try {
    process.kill(-(child.pid as number), name);
  } catch {
    // It has ended.
  }
}

function launch(
  file: string,
  args: readonly string[],
  { env = {}, input, open = false, cwd }: CommandOptions,
): Command {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(CACHE_|REDIS_|UPSTASH_|KV_|FORCE_COLOR|NO_COLOR|NODE_TEST|TERM$|CI$)/.test(name),
  );
  const child = spawn(file, args, {
    env: { ...Object.fromEntries(kept), TERM: "xterm", ...env },
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
    ...(cwd !== undefined && { cwd }),
  });
  running.add(child);
  let stdout = "";
  let stderr = "";
  let heard = () => {};
  child.stdout?.setEncoding("utf8");
  child.stderr?.setEncoding("utf8");
  child.stdout?.on("data", (data) => {
    stdout += data;
    heard();
  });
  child.stderr?.on("data", (data) => {
    stderr += data;
    heard();
  });
  child.stdin?.on("error", () => {});
  if (input !== undefined) child.stdin?.write(input);
  if (!open) child.stdin?.end();
  let gone = false;
  const ended = once(child, "close").then(([code]) => {
    running.delete(child);
    gone = true;
    heard();
    return { code: code as number | null, stdout, stderr };
  });
  return {
    ended,
    async said(pattern) {
      for (;;) {
        const found = pattern.exec(stdout) ?? pattern.exec(stderr);
        if (found) return found;
        if (gone) throw new Error(`it ended without ${pattern}: ${stdout}${stderr}`);
        await new Promise<void>((resolve) => {
          heard = resolve;
        });
      }
    },
    type: (text) => void child.stdin?.write(text),
    signal: (name) => send(child, name),
  };
}

const quoted = (words: readonly string[]): string =>
  words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");

const COMMANDS = ["clear", "list", "get", "backup", "restore", "copy", "warm", "stats", "doctor", "capacity"];

/** In a pipe, progress is a line after 5 s: on a busy machine it would stand among what is expected. */
function quietly(args: readonly string[]): string[] {
  const [command = "", ...rest] = args;
  return COMMANDS.includes(command) ? [command, "--quiet", ...rest] : [...args];
}

/**
 * Starts the command with its output in pipes.
 *
 * @param args Its arguments.
 * @param options Variables, input, and what a shell does around it.
 */
export function startLarder(args: readonly string[], options: CommandOptions = {}): Command {
  const [file, ...first] = [...RUNTIME, ...quietly(args)] as [string, ...string[]];
  const { before, redirect } = options;
  if ((before ?? redirect) === undefined) return launch(file, first, options);
  const line = `${before ? `${before}; ` : ""}exec ${quoted([file, ...first])} ${redirect ?? ""}`;
  return launch("sh", ["-c", line], options);
}

/**
 * Runs the command with its output in pipes, to its end.
 *
 * @param args Its arguments.
 * @param options Variables, input, and what a shell does around it.
 */
export function larder(args: readonly string[], options: CommandOptions = {}): Promise<Ended> {
  return startLarder(args, options).ended;
}

/**
 * Runs lines of a shell, in which `larder` is the command, to their end; the first that fails ends them.
 *
 * @param lines The lines.
 * @param options Variables, and the folder.
 */
export function inShell(lines: string, options: CommandOptions = {}): Promise<Ended> {
  const root = process.cwd();
  const words = RUNTIME.map((word) => (/^(node_modules|src|dist)\//.test(word) ? `${root}/${word}` : word));
  // Deno finds the packages of a file in another folder by its configuration.
  if (words[1] === "run") words.splice(2, 0, "--config", `${root}/deno.json`);
  return launch("sh", ["-ec", `larder() { ${quoted(words)} "$@"; }\n${lines}`], options).ended;
}

/**
 * Starts the command in a terminal.
 *
 * @param args Its arguments.
 * @param options Variables, and the terminal's columns.
 */
export function inTerminal(args: readonly string[], options: CommandOptions = {}): Command {
  // `script` has no terminal of its own here, so the new one's size is set.
  const line = `stty cols ${options.columns ?? 100} rows 30; exec ${quoted([...RUNTIME, ...args])}`;
  return launch("script", ["-qfec", line, "/dev/null"], { ...options, open: true });
}

/** Returns the final text of a terminal without its control sequences. Wiped parts of a line are not in it. */
export function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: an order to a terminal begins with one
  const orders = /\x1b\[[\d;?]*[A-Za-z]/g;
  return text
    .replaceAll("\r\n", "\n")
    .replaceAll("\r\x1b[2K", "\v")
    .replace(/[^\n]*\v/g, "")
    .replace(orders, "");
}
