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

/**
 * Runs a file in a process of its own.
 *
 * @param file Its path.
 * @param args Its arguments.
 * @param patience Milliseconds after which it is killed.
 */
export function runChild(file: string, args: readonly string[], patience = 15_000): Promise<ChildRun> {
  const how = process.versions.deno ? ["run", "-A", "--no-check", file] : [file];
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(process.execPath, [...how, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    let printed = 0;
    let killed = false;
    child.stdout.on("data", (chunk: unknown) => {
      output += chunk;
      printed = performance.now() - start;
    });
    const timer = setTimeout(() => {
      killed = true;
      child.kill("SIGKILL");
    }, patience);
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      const ended = killed ? undefined : performance.now() - start;
      resolve({ lines: output.split("\n").filter(Boolean), printed, ended, code });
    });
  });
}
