/** Errors of code that is not ours: functions of the application, drivers, and the loaders of runtimes. */

import { isStoreError, StoreError } from "./store_error.ts";

/** What is told of a function of the application's that threw: its name, and what may be told of the error. */
export function hookError(name: string, thrown: unknown, hint = ""): StoreError {
  return new StoreError("protocol", `the application's ${name} threw ${tellOf(thrown)}${hint}`, { cause: thrown });
}

/** Any thrown value as a {@linkcode StoreError}; what is none already becomes one of kind `"connection"`. */
export function toStoreError(error: unknown): StoreError {
  if (isStoreError(error)) return error;
  return new StoreError("connection", `the driver failed without a store error: ${tellOf(error)}`, { cause: error });
}

/** What a runtime or a bundle says of code that it cannot load: names of modules and files. */
const NOT_LOADED =
  /^(Dynamic require of|(Cannot|Could not|Failed to) (find|load|resolve|fetch)\b.*\b(module|package)|No such (built-in )?module|.*\bnot found in (import map|node_modules))/i;

/**
 * What may be told of an error of unknown origin. Its message may hold values: it is told only where it says what could
 * not be loaded.
 *
 * @param error What was thrown.
 * @returns Its name and code, and those of its cause; the type of what is no error.
 */
export function tellOf(error: unknown): string {
  if (!(error instanceof Error)) return `a value of type ${typeof error}`;
  const { message, cause } = error;
  const line = `${message}`.split("\n")[0] ?? "";
  const more = NOT_LOADED.test(line) ? `: ${line.slice(0, 300)}` : "";
  return `${nameOf(error)}${more}${cause instanceof Error ? `, caused by ${nameOf(cause)}` : ""}`;
}

/** An error's name and code, where they are words. */
function nameOf({ name, code }: Error & { readonly code?: unknown }): string {
  return [name, code].filter((word) => /^[A-Za-z][\w.-]{0,60}$/.test(`${word ?? ""}`)).join(" ") || "Error";
}

/** Loads a driver's code. @throws {StoreError} With what the runtime says where it cannot be loaded. */
export async function loadDriver<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    const line = `${(error as Error | undefined)?.message}`.split("\n")[0] ?? "";
    const hint = /^Dynamic require/.test(line)
      ? "; a bundle in ESM format needs a `require`: leave redis out of it, or define one by createRequire"
      : "";
    const text = `the code of the driver ${name} cannot be loaded: ${line.slice(0, 300)}${hint}`;
    throw new StoreError("connection", text, { cause: error });
  }
}
