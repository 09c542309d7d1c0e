/**
 * What differs between the runtimes: the only file that touches `Deno`, `Bun`, `process`, files or a listening socket.
 *
 * @module
 */

import { CacheConfigError } from "../base/errors.ts";
import { parseDotenv } from "./dotenv.ts";

/** What {@linkcode readEnvironment} reads. */
export interface ReadEnvironmentOptions {
  /** The variables to read beside all `CACHE_*`. Deno with some permissions only cannot list: it reads these. */
  readonly names: readonly string[];
  /** The service whose file `.env.cache.{service}` is read over `.env.cache`. @default none */
  readonly service?: string;
  /** Where the files are. @default the current directory */
  readonly directory?: string;
  /** Keeps what was read of each file by its path, so that none is read twice. @default nothing is kept */
  readonly files?: Map<string, ReadonlyMap<string, string>>;
  /** Takes the names of the variables that the files hold. @default nobody wants to know */
  readonly inFiles?: Set<string>;
}

/**
 * Reads the environment's variables: on Deno those that it permits, without asking; nothing where a runtime has none.
 *
 * @param names The variables to read beside all `CACHE_*`.
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
 * Whether nobody can know what the environment says: Deno permits none of the names, or the runtime has no variables,
 * as a Worker's.
 *
 * @param names The variables that matter.
 */
export function hidesVariables(names: readonly string[]): boolean {
  const { Deno, process } = globalThis as unknown as EnvironmentRuntime;
  if (!Deno) return Object.keys(process?.env ?? {}).length === 0;
  return !permits(Deno, { name: "env" }) && !names.some((variable) => permits(Deno, { name: "env", variable }));
}

/**
 * Reads the configuration's variables: `.env.cache`, over it `.env.cache.{service}`, over both the real environment, in
 * which an empty variable unsets what the files say. The files are read where the runtime has files, on Deno where it
 * permits to read them.
 *
 * @param options The variables, the service and the directory.
 * @returns The values by name.
 * @throws {CacheConfigError} When a file is there and cannot be read, or has a line that is no assignment.
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

/** Reads a file; `undefined` when there is none, or none can be read in this runtime. */
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

/** The globals of the runtimes that have variables and files, as far as they are used here. */
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
