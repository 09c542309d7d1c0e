/** Runs a file of bench/ once more in a process of its own, on the same runtime. */
import { spawn } from "node:child_process";
import process from "node:process";

/** The output of a child, with the times of each line and of its end in milliseconds since its start. */
export interface ChildRun {
  readonly lines: readonly string[];
  /** When its last line came. */
  readonly printed: number;
  /** When it ended; `undefined` when it had to be killed. */
  readonly ended: number | undefined;
  readonly code: number | null;
}

/** A process that runs. */
export interface Child {
  /** Resolves when it has ended. */
  readonly ended: Promise<ChildRun>;
  /** Resolves when its output has a text. */
  said(text: string): Promise<void>;
  /** Writes to its standard input. */
  type(text: string): void;
}

/**
 * Runs a file in a process of its own, to its end.
 *
 * @param file Its path.
 * @param args Its arguments.
 * @param patience Milliseconds after which it is killed.
 */
export function runChild(file: string, args: readonly string[], patience?: number): Promise<ChildRun> {
  return startChild(file, args, patience).ended;
}

/**
 * Starts a file in a process of its own.
 *
 * @param file Its path.
 * @param args Its arguments.
 * @param patience Milliseconds after which it is killed.
 */
export function startChild(file: string, args: readonly string[], patience = 15_000): Child {
  const how = process.versions.deno ? ["run", "-A", "--no-check", file] : [file];
  const start = performance.now();
  const child = spawn(process.execPath, [...how, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.on("error", () => {});
  let output = "";
  let printed = 0;
  let killed = false;
  let heard = (): void => {};
  child.stdout.on("data", (chunk: unknown) => {
    output += chunk;
    printed = performance.now() - start;
    heard();
  });
  const timer = setTimeout(() => {
    killed = true;
    child.kill("SIGKILL");
  }, patience);
  const ended = new Promise<ChildRun>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      const ended = killed ? undefined : performance.now() - start;
      resolve({ lines: output.split("\n").filter(Boolean), printed, ended, code });
    });
  });
  return {
    ended,
    said: (text) =>
      new Promise((resolve, reject) => {
        heard = () => output.includes(text) && resolve();
        heard();
        ended.then(() => reject(new Error(`${file} ended without "${text}"`)), reject);
      }),
    type: (text) => void child.stdin.write(text),
  };
}
