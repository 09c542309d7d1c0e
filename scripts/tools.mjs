// What the scripts share: the repository's root, the installed binaries, and running them.
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The path of an installed devDependency's command. */
export function bin(name) {
  return join(root, "node_modules", ".bin", process.platform === "win32" ? `${name}.cmd` : name);
}

/** The files below a folder of the repository whose path matches, as sorted paths with forward slashes. */
export function files(folder, pattern) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)).replaceAll("\\", "/"))
    .filter((path) => pattern.test(path))
    .sort();
}

/**
 * Runs a command in the repository's root and answers `{ code, output }`.
 *
 * `stream` also shows the output while the command runs. After `timeout` milliseconds the command and its children are
 * killed, and the code is 124.
 */
export function run(command, args, { stream = false, env = {}, timeout = 600_000 } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      shell: process.platform === "win32",
      detached: process.platform !== "win32",
    });
    let output = "";
    let late = false;
    for (const [from, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      from.on("data", (data) => {
        output += data;
        if (stream) to.write(data);
      });
    }
    const kill = () => {
      try {
        process.kill(process.platform === "win32" ? child.pid : -child.pid, "SIGKILL");
      } catch {}
    };
    const interrupted = () => {
      kill();
      process.exit(130);
    };
    const timer = setTimeout(() => {
      late = true;
      kill();
    }, timeout);
    const done = (code, note = "") => {
      clearTimeout(timer);
      process.off("SIGINT", interrupted);
      resolve({ code, output: output + note });
    };
    process.once("SIGINT", interrupted);
    child.once("error", (error) => done(127, `Cannot run ${command}: ${error.message}\n`));
    child.once("close", (code) => {
      if (late) done(124, `${command} was still running after ${timeout / 1000} s and was killed\n`);
      else done(code ?? 1);
    });
  });
}
