/** Errors of foreign code: functions of the application, drivers, and the module loaders of runtimes. */

import { isStoreError, StoreError } from "./store_error.ts";

/** Makes the error of an application's function that threw, in the words of {@linkcode describeError}. */
export function hookError(name: string, thrown: unknown, hint = ""): StoreError {
  return new StoreError("protocol", `The application's ${name} threw ${describeError(thrown)}${hint}`, {
    cause: thrown,
  });
}

/** Returns a thrown value as a {@linkcode StoreError}: others become the cause of one of kind `"connection"`. */
export function toStoreError(error: unknown): StoreError {
  if (isStoreError(error)) return error;
  return new StoreError("connection", `The driver failed without a store error: ${describeError(error)}`, {
    cause: error,
  });
}

/** Messages of runtimes and bundles about code that they cannot load. They contain names of modules and files only. */
const NOT_LOADED = new RegExp(
  "^(Dynamic require of|(Cannot|Could not|Failed to) (find|load|resolve|fetch)\\b.*\\b(module|package)|" +
    "No such (built-in )?module|.*\\bnot found in (import map|node_modules))",
  "i",
);

/**
 * Describes an error of unknown origin. Its message may contain values, so it is shown only if it is about code that
 * could not be loaded.
 *
 * @param error The thrown value.
 * @returns The name and code of the error and of its cause, or the type of another value.
 */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return `a value of type ${typeof error}`;
  const { message, cause } = error;
  const line = `${message}`.split("\n")[0] ?? "";
  const more = NOT_LOADED.test(line) ? `: ${line.slice(0, 300)}` : "";
  return `${nameOf(error)}${more}${cause instanceof Error ? `, caused by ${nameOf(cause)}` : ""}`;
}

/** Returns the name and the code of an error, if they are words. */
function nameOf({ name, code }: Error & { readonly code?: unknown }): string {
  return [name, code].filter((word) => /^[A-Za-z][\w.-]{0,60}$/.test(`${word ?? ""}`)).join(" ") || "Error";
}

/** Loads the code of a driver. @throws {StoreError} With the message of the runtime, if the code cannot be loaded. */
export async function loadDriver<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    const line = `${(error as Error | undefined)?.message}`.split("\n")[0] ?? "";
    const hint = /^Dynamic require/.test(line)
      ? "; a bundle in ESM format needs a `require`: leave redis out of it, or define one by createRequire"
      : "";
    const text = `Cannot load the code of the driver ${name}: ${line.slice(0, 300)}${hint}`;
    throw new StoreError("connection", text, { cause: error });
  }
}
