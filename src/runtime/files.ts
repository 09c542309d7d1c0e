import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, lstat, open, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { FileError } from "./file_error.ts";
import { writeTo } from "./process.ts";

/** A file that is written as a whole or not at all. */
export interface NewFile {
  /** Adds bytes. */
  write(chunk: Uint8Array): Promise<void>;
  /** Moves it to its path, safely on disk. */
  commit(): Promise<void>;
  /** Removes what was written. Never throws. */
  discard(): Promise<void>;
}

/**
 * Begins a file that only its owner may read (mode 0600). Until it is committed it is called `{path}.partial`, and an
 * existing file at the path stays as it is. A device or a pipe is written to directly. `-` is standard output.
 *
 * @param path The path of the file.
 * @returns The file.
 * @throws {FileError} If it cannot be written. Its methods throw the same.
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
    // A link keeps pointing to its target, which is replaced.
    const target = there ? await realpath(path) : path;
    if (there && !there.isFile()) return direct(doing, await open(target, "w"));
    const partial = `${target}.partial`;
    // A killed process may have left one. It is opened exclusively, so that no link can be planted here.
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
      // After a commit it no longer exists, or another command has taken the name.
      if (await isOwn().catch(() => false)) await rm(partial, { force: true }).catch(() => {});
    },
  };
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at, chunk.length - at)).bytesWritten;
}

/** Writes a folder to disk, and with it the renames in it. Not every system can do that. */
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

/** Returns true if a file exists at a path. Devices and pipes do not count. */
export async function fileExists(path: string): Promise<boolean> {
  const there = await stat(path).catch(() => undefined);
  return there?.isFile() === true;
}

/**
 * Reads a file in pieces; `-` is standard input.
 *
 * @param path The path of the file.
 * @returns Its bytes.
 * @throws {FileError} If it cannot be read.
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
 * Loads a module of the user.
 *
 * @param path The path of its file.
 * @returns Its exports.
 * @throws {FileError} If it does not exist, or the runtime cannot run it. Its own errors are thrown as they are.
 */
export async function importModule(path: string): Promise<Record<string, unknown>> {
  if (!(await stat(path).catch(() => undefined))?.isFile()) {
    throw new FileError(`load ${path}`, { code: "ENOENT" });
  }
  try {
    return await import(pathToFileURL(resolve(path)).href);
  } catch (error) {
    const { code, name, message } = error as { code?: string; name?: string; message?: string };
    // Deno and Bun name syntax errors in their own ways.
    if (name === "SyntaxError" || name === "BuildMessage" || message?.startsWith("SyntaxError: ")) {
      throw new FileError(`load ${path}`, new Error(message, { cause: error }));
    }
    if (code !== "ERR_UNKNOWN_FILE_EXTENSION") throw error;
    throw new FileError(
      `load ${path}`,
      new Error(
        `Node ${process.versions.node} cannot run it: expected .js or .mjs, or Bun, Deno, or Node 22.18 or newer`,
      ),
    );
  }
}

/** A SHA-256 of bytes that arrive in parts. */
export interface Digest {
  /** Adds bytes. */
  update(bytes: Uint8Array): void;
  /** Returns the digest in lower-case hex. To be called once. */
  hex(): string;
}

/** Starts a SHA-256. */
export function sha256Stream(): Digest {
  const hash = createHash("sha256");
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") };
}
