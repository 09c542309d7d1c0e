/**
 * What only commands use of a machine: arguments, the terminal, files, signals and the exit code, on Bun, Deno and Node. No
 * bundle for the edge has it.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, lstat, open, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

/** What a file could not be used for, in words for a person. */
export class FileError extends Error {
  /** Always `"FileError"`. */
  override name = "FileError";
  /** The system's code, such as `"ENOSPC"`; empty where there is none. */
  readonly code: string;

  /**
   * Makes an error.
   *
   * @param action What could not be done, such as `"write menu.jsonl"`.
   * @param cause What the system says.
   */
  constructor(action: string, cause: unknown) {
    const { code = "", message = `${cause}` } = (cause ?? {}) as { code?: string; message?: string };
    // Deno's words where it has no code.
    super(`cannot ${action}: ${WORDS[code] ?? message.replace(/ \(os error \d+\)$/, "")}`, { cause });
    this.code = code;
  }
}

const WORDS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOENT: "there is no such file or folder",
  ENOTDIR: "a part of the path is no folder",
  EISDIR: "it is a folder",
  ENOSPC: "no space is left on the device",
  EDQUOT: "the quota is used up",
  EFBIG: "the file would be too large",
  EMFILE: "too many files are open",
  EIO: "the device failed",
  EPIPE: "nobody reads it any more",
};

/** The arguments of the command, without the runtime and the file. */
export function commandArguments(): string[] {
  return process.argv.slice(2);
}

/** A variable of the environment; empty is unset. */
export function variable(name: string): string | undefined {
  try {
    return process.env[name] || undefined;
  } catch {
    // Deno without the permission for it.
    return undefined;
  }
}

/** A stream of the command. */
export type StreamName = "stdin" | "stdout" | "stderr";

/** Whether a stream is a terminal. */
export function isTerminal(stream: StreamName): boolean {
  return process[stream].isTTY === true;
}

/**
 * The streams that questions are asked on: answers come from the one, the other shows.
 *
 * @param plain Whether they are asked without colours.
 * @returns The streams.
 */
export function questionStreams(plain: boolean): { input: typeof process.stdin; output: typeof process.stderr } {
  // What paints them asks the environment.
  if (plain) process.env.NO_COLOR = "1";
  // Some terminals do not know their size, and in no columns at all a question stands a letter a line.
  process.stderr.columns ||= 80;
  return { input: process.stdin, output: process.stderr };
}

/** The columns of the terminal. */
export function columns(): number {
  return process.stderr.columns || process.stdout.columns || 80;
}

/** The rows of the terminal. */
export function rows(): number {
  return process.stderr.rows || process.stdout.rows || 24;
}

/**
 * Writes to a stream of the command.
 *
 * @param stream Which one.
 * @param data Text, or bytes.
 * @returns Resolves when the system has taken it.
 * @throws {FileError} When it cannot be written: its reader is gone (`EPIPE`), or the disk that it goes to is full.
 */
export async function writeTo(stream: "stdout" | "stderr", data: string | Uint8Array): Promise<void> {
  const target = process[stream];
  // Without a listener, the stream's error would end the process.
  if (target.listenerCount("error") === 0) target.on("error", () => {});
  await new Promise<void>((resolve, reject) => {
    const failed = (error: unknown) =>
      reject(new FileError(`write to standard ${stream === "stdout" ? "output" : "error"}`, error));
    try {
      target.write(data, (error) => (error ? failed(error) : resolve()));
    } catch (error) {
      failed(error);
    }
  });
}

/** A signal that asks a command to stop. */
export type StopSignal = "SIGINT" | "SIGTERM" | "SIGHUP";

/** The codes with which a shell tells of a command that a signal stopped. */
export const SIGNAL_CODES: Readonly<Record<StopSignal, number>> = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };

/**
 * Listens to the signals that ask a command to stop, in the place of what the system does then.
 *
 * @param listener Called with each.
 * @returns Stops listening.
 */
export function onStop(listener: (signal: StopSignal) => void): () => void {
  const stops: (() => void)[] = [];
  for (const signal of Object.keys(SIGNAL_CODES) as StopSignal[]) {
    const heard = () => listener(signal);
    try {
      process.on(signal, heard);
      stops.push(() => process.off(signal, heard));
    } catch {
      // A system without this signal.
    }
  }
  return () => {
    for (const stop of stops) stop();
  };
}

/** Ends the process at once. */
export function exit(code: number): never {
  process.exit(code);
}

/** Sends this process a signal that its keyboard did not turn into one. */
export function raise(signal: StopSignal): void {
  process.kill(process.pid, signal);
}

/** A file that comes to be as a whole or not at all. */
export interface NewFile {
  /** Adds bytes. */
  write(chunk: Uint8Array): Promise<void>;
  /** Puts it in its place, on the disk. */
  commit(): Promise<void>;
  /** Leaves nothing behind. Never throws. */
  discard(): Promise<void>;
}

/**
 * Begins a file that only its owner may read (mode 0600). Until it is committed it is `{path}.partial`; what stands at the path
 * stays as it is until then. A device or a pipe is written to directly, `-` is standard output.
 *
 * @param path Where it will be.
 * @returns The file.
 * @throws {FileError} When it cannot be written; so do its methods.
 */
export async function createFile(path: string): Promise<NewFile> {
  if (path === "-")
    return { write: (chunk) => writeTo("stdout", chunk), commit: async () => {}, discard: async () => {} };
  const doing = `write ${path}`;
  return guard(doing, async () => {
    const there = await stat(path).catch((error) => {
      if (error.code !== "ENOENT") throw error;
    });
    if (there?.isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" });
    // A link goes on pointing where it points.
    const target = there ? await realpath(path) : path;
    if (there && !there.isFile()) return direct(doing, await open(target, "w"));
    const partial = `${target}.partial`;
    // What a killed process left. Opened exclusively, nobody can plant a link here.
    await rm(partial, { force: true });
    return replacing(doing, await open(partial, "wx", 0o600), partial, target);
  });
}

function direct(doing: string, file: FileHandle): NewFile {
  return {
    write: (chunk) => guard(doing, () => writeAll(file, chunk)),
    commit: () => guard(doing, () => file.close()),
    discard: () => file.close().catch(() => {}),
  };
}

async function replacing(doing: string, file: FileHandle, partial: string, target: string): Promise<NewFile> {
  const { ino } = await file.stat();
  const isOwn = async (): Promise<boolean> => (await lstat(partial)).ino === ino;
  return {
    write: (chunk) => guard(doing, () => writeAll(file, chunk)),
    commit: () =>
      guard(doing, async () => {
        await file.sync();
        if (!(await isOwn())) throw new Error("another command writes it at the same time");
        await file.close();
        await rename(partial, target);
        await syncFolder(dirname(target));
      }),
    async discard() {
      await file.close().catch(() => {});
      // It is gone where the file is in its place, and another's where that has taken its name.
      if (await isOwn().catch(() => false)) await rm(partial, { force: true }).catch(() => {});
    },
  };
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at, chunk.length - at)).bytesWritten;
}

/** A rename is on the disk when its folder is; not every system can do that. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close().catch(() => {});
}

async function guard<T>(doing: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw error instanceof FileError ? error : new FileError(doing, error);
  }
}

/** Whether something stands at a path; a device or a pipe does not count. */
export async function fileExists(path: string): Promise<boolean> {
  const there = await stat(path).catch(() => undefined);
  return there?.isFile() === true;
}

/**
 * Reads a file in pieces; `-` is standard input.
 *
 * @param path Where it is.
 * @returns Its bytes.
 * @throws {FileError} When it cannot be read.
 */
export async function* readFile(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    if (path !== "-" && (await stat(path)).isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" });
    yield* path === "-" ? process.stdin : createReadStream(path, { highWaterMark: 1 << 18 });
  } catch (error) {
    throw new FileError(`read ${path === "-" ? "standard input" : path}`, error);
  }
}

/**
 * Loads a module of the user's.
 *
 * @param path Its file.
 * @returns What it exports.
 * @throws {FileError} When it is missing, or the runtime cannot run it; what the module itself throws comes as it is.
 */
export async function importModule(path: string): Promise<Record<string, unknown>> {
  if (!(await stat(path).catch(() => undefined))?.isFile()) {
    throw new FileError(`load ${path}`, { code: "ENOENT" });
  }
  try {
    return await import(pathToFileURL(resolve(path)).href);
  } catch (error) {
    const { code, name, message } = error as { code?: string; name?: string; message?: string };
    // Deno's and Bun's words for it.
    if (name === "SyntaxError" || name === "BuildMessage" || message?.startsWith("SyntaxError: ")) {
      throw new FileError(`load ${path}`, new Error(message, { cause: error }));
    }
    if (code !== "ERR_UNKNOWN_FILE_EXTENSION") throw error;
    throw new FileError(
      `load ${path}`,
      new Error(
        `Node ${process.versions.node} does not run it: accepted are .js and .mjs, or Bun, Deno, Node 22.18 and newer`,
      ),
    );
  }
}

/** A SHA-256 of bytes that come in parts. */
export interface Digest {
  /** Adds bytes. */
  update(bytes: Uint8Array): void;
  /** The digest of all of them, in lower-case hex. Called once. */
  hex(): string;
}

/** Begins a SHA-256. */
export function sha256Stream(): Digest {
  const hash = createHash("sha256");
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") };
}
