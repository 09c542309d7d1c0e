import { StoreError } from "../../drivers/driver.ts";

export { StoreError } from "../../drivers/driver.ts";

/** The base of the errors that this library throws for a caller to catch, {@linkcode StoreError} aside. */
export class CacheError extends Error {
  /** Always `"CacheError"`. */
  override name = "CacheError";
}

/** Thrown for a configuration with problems, all of which it lists. */
export class CacheConfigError extends CacheError {
  /** Always `"CacheConfigError"`. */
  override name = "CacheConfigError";
  /** One line a problem, each with the name of its variable or option. */
  readonly problems: readonly string[];

  /**
   * Makes an error that lists the problems.
   *
   * @param problems One line a problem.
   */
  constructor(problems: readonly string[]) {
    super(`cache configuration: ${problems.join("; ")}`);
    this.problems = problems;
  }
}

/** One thing that a schema rejected. */
export interface SchemaIssue {
  /** Where in the value, such as `"price"` or `"names.0.text"`; empty for the value itself. */
  readonly path: string;
  /** What the schema says. */
  readonly message: string;
}

/** Thrown by a write whose value the collection's schema rejects. Nothing was written. */
export class CacheSchemaError extends CacheError {
  /** Always `"CacheSchemaError"`. */
  override name = "CacheSchemaError";
  /** What the schema rejected; paths and messages, no values. */
  readonly issues: readonly SchemaIssue[];

  /**
   * Makes an error that lists the issues.
   *
   * @param target The collection, such as `"product.products"`.
   * @param issues What the schema rejected.
   */
  constructor(target: string, issues: readonly SchemaIssue[]) {
    super(`cannot write to ${target}: ${issues.map((i) => `${i.path || "value"}: ${i.message}`).join("; ")}`);
    this.issues = issues;
  }
}

/** Thrown by an update that lost against other writers as often as it may try. */
export class CacheConflictError extends CacheError {
  /** Always `"CacheConflictError"`. */
  override name = "CacheConflictError";
}

/** Thrown by a load that took longer than its `hardTimeout`, when no old value was kept for that. */
export class CacheTimeoutError extends CacheError {
  /** Always `"CacheTimeoutError"`. */
  override name = "CacheTimeoutError";
}

/** Thrown when a lock could not be had in time, or was lost. */
export class CacheLockError extends CacheError {
  /** Always `"CacheLockError"`. */
  override name = "CacheLockError";
}

/** Thrown by payment's collections for a value that carries a card number. Nothing was written. */
export class CardNumberError extends CacheError {
  /** Always `"CardNumberError"`. */
  override name = "CardNumberError";
}

/**
 * Tells whether a value is an error of this library, across realms and copies of the package.
 *
 * @param error Any value.
 * @returns `true` for a {@linkcode CacheError}, a {@linkcode StoreError} or a subclass.
 *
 * @example
 * ```ts
 * import { CacheError, isCacheError } from "@foodfast/larder";
 *
 * console.log(isCacheError(new CacheError("no"))); // true
 * ```
 */
export function isCacheError(error: unknown): error is CacheError | StoreError {
  return (
    error instanceof Error &&
    /^(Cache(Config|Schema|Conflict|Timeout|Lock)?|Store|CardNumber|Backup|Conflict)Error$/.test(error.name)
  );
}

/** Whether a thrown value is a {@linkcode StoreError}. */
export function isStoreError(error: unknown): error is StoreError {
  return error instanceof Error && error.name === "StoreError";
}

/** Whether a store refused a command to this user, or to all: another command may do. */
export function isForbidden({ code, message }: StoreError): boolean {
  return code === "NOPERM" || /^ERR unknown command/i.test(message);
}

/** Whether a store that answers refused a command: another command may do better. */
export function isRefusal(error: unknown): error is StoreError {
  return isStoreError(error) && (error.kind === "command" || error.kind === "auth");
}

/** Whether an error shows that the store is there and takes commands, though it refused this one. */
export function showsLife(error: unknown): boolean {
  return isStoreError(error) && (error.code === "NOPERM" || (error.kind === "command" && error.repeat === "none"));
}

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
