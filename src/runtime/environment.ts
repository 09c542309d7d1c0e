/**
 * The environment of a process: its variables and `.env.cache` files, on each runtime that has any.
 *
 * @module
 */

import { CacheConfigError } from "../base/errors.ts";
import { parseDotenv } from "./dotenv.ts";

/** Options of {@linkcode readEnvironment}. */
export interface ReadEnvironmentOptions {
  /** The variables to read besides all `CACHE_*`. With partial permissions Deno cannot list any, so it reads these. */
  readonly names: readonly string[];
  /** The service whose file `.env.cache.{service}` is read over `.env.cache`. @default none */
  readonly service?: string;
  /** The folder of the files. @default the current one */
  readonly directory?: string;
  /** The values of files that were read before, by path, so that no file is read twice. @default no file is kept */
  readonly files?: Map<string, ReadonlyMap<string, string>>;
  /** The set to which the names of the variables in the files are added. @default none */
  readonly inFiles?: Set<string>;
}

/**
 * Reads the environment's variables. Deno reads those that its permissions allow, and never asks for more. A runtime
 * without variables has no values.
 *
 * @param names The variables to read besides all `CACHE_*`.
 * @returns The values by name.
 */
export function readVariables(names: readonly string[]): Record<string, string> {
  const { Deno, process } = globalThis as unknown as EnvironmentRuntime;
  let found: Record<string, string | undefined> = {};
  if (!Deno) found = process?.env ?? {};
  else if (permits(Deno, { name: "env" })) found = Deno.env.toObject();
  else for (const name of names) if (permits(Deno, { name: "env", variable: name })) found[name] = Deno.env.get(name);
  const values: Record<string, string> = {};
  for (const [name, value] of Object.entries(found)) {
    if (value !== undefined && (name.startsWith("CACHE_") || names.includes(name))) values[name] = value;
  }
  return values;
}

/**
 * Returns true if the environment cannot be read: Deno permits none of the names, or the runtime has no variables, for
 * example a Worker's.
 *
 * @param names The variables that matter.
 */
export function hidesVariables(names: readonly string[]): boolean {
  const { Deno, process } = globalThis as unknown as EnvironmentRuntime;
  if (!Deno) return Object.keys(process?.env ?? {}).length === 0;
  return !permits(Deno, { name: "env" }) && !names.some((variable) => permits(Deno, { name: "env", variable }));
}

/**
 * Reads the configuration's variables: from `.env.cache`, then `.env.cache.{service}`, then the real environment. Later
 * sources win, and an empty variable of the real environment unsets a file's value. The files are read if the runtime
 * has files, and if Deno's permissions allow it.
 *
 * @param options The variables, the service and the directory.
 * @returns The values by name.
 * @throws {CacheConfigError} If a file exists but cannot be read, or has a line that is not an assignment.
 *
 * @example
 * ```ts ignore
 * const config = parseConfig(readEnvironment({ names: CONFIG_VARIABLES, service: "product" }));
 * ```
 */
export function readEnvironment(options: ReadEnvironmentOptions): Record<string, string> {
  const { names, service, directory, inFiles, files } = options;
  const values: Record<string, string> = {};
  for (const file of [".env.cache", ...(service ? [`.env.cache.${service}`] : [])]) {
    const path = directory ? `${directory}/${file}` : file;
    const variables = files?.get(path) ?? parseDotenv(readText(path) ?? "", path);
    files?.set(path, variables);
    for (const [name, value] of variables) {
      values[name] = value;
      inFiles?.add(name);
    }
  }
  return { ...values, ...readVariables(names) };
}

/** Reads a file. Returns `undefined` if it does not exist, or if this runtime cannot read files. */
function readText(path: string): string | undefined {
  const { Deno, process } = globalThis as unknown as EnvironmentRuntime;
  try {
    if (Deno) return permits(Deno, { name: "read", path }) ? Deno.readTextFileSync(path) : undefined;
    return process?.getBuiltinModule?.("node:fs")?.readFileSync(path, "utf8");
  } catch (error) {
    const { code = "" } = error as { code?: string };
    // Other failures are those of a missing file, or of a runtime whose file module is a stub.
    if (!/^E(ACCES|PERM|ISDIR)$/.test(code)) return undefined;
    throw new CacheConfigError([`${path} cannot be read (${code}), expected a readable file or none`]);
  }
}

function permits(deno: NonNullable<EnvironmentRuntime["Deno"]>, permission: object): boolean {
  const { state, partial } = deno.permissions.querySync(permission);
  return state === "granted" && !partial;
}

/** The used part of the globals of runtimes that have variables and files. */
interface EnvironmentRuntime {
  readonly Deno?: {
    readonly permissions: { querySync(permission: object): { readonly state: string; readonly partial?: boolean } };
    readonly env: { get(name: string): string | undefined; toObject(): Record<string, string> };
    readTextFileSync(path: string): string;
  };
  readonly process?: {
    readonly env?: Record<string, string | undefined>;
    getBuiltinModule?(name: string): { readFileSync(path: string, encoding: "utf8"): string } | undefined;
  };
}
