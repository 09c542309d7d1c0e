/** Marks errors of this library, for every copy of the package in a process. */
const BRAND = Symbol.for("@foodfast/larder error");

/** The base of the errors that this library throws for a caller to catch. */
export class CacheError extends Error {
  static {
    Object.assign(CacheError.prototype, { [BRAND]: true });
  }

  /** Always `"CacheError"`. */
  override name = "CacheError";
}

/** Thrown for a configuration with problems. It lists all of them. */
export class CacheConfigError extends CacheError {
  /** Always `"CacheConfigError"`. */
  override name = "CacheConfigError";
  /** One line for each problem, with the name of its variable or option. */
  readonly problems: readonly string[];

  /**
   * Makes an error that lists the problems.
   *
   * @param problems One line for each problem.
   */
  constructor(problems: readonly string[]) {
    super(`Cannot configure the cache: ${problems.join("; ")}`);
    this.problems = problems;
  }
}

/** One problem that a schema found in a value. */
export interface SchemaIssue {
  /** The path in the value, such as `"price"` or `"names.0.text"`; empty for the value itself. */
  readonly path: string;
  /** The message of the schema. */
  readonly message: string;
}

/** Thrown by a write if the collection's schema rejects the value. Nothing was written. */
export class CacheSchemaError extends CacheError {
  /** Always `"CacheSchemaError"`. */
  override name = "CacheSchemaError";
  /** The problems: paths and messages, no values. */
  readonly issues: readonly SchemaIssue[];

  /**
   * Makes an error that lists the issues.
   *
   * @param target The collection, such as `"product.products"`.
   * @param issues The problems.
   */
  constructor(target: string, issues: readonly SchemaIssue[]) {
    super(`Cannot write to ${target}: ${issues.map((i) => `${i.path || "value"}: ${i.message}`).join("; ")}`);
    this.issues = issues;
  }
}

/** Thrown by an update that lost against other writers in each of its attempts. */
export class CacheConflictError extends CacheError {
  /** Always `"CacheConflictError"`. */
  override name = "CacheConflictError";
}

/** Thrown by a load that took longer than its `hardTimeout`, if no old value was kept for that case. */
export class CacheTimeoutError extends CacheError {
  /** Always `"CacheTimeoutError"`. */
  override name = "CacheTimeoutError";
}

/** Thrown if a lock could not be acquired in time, or was lost. */
export class CacheLockError extends CacheError {
  /** Always `"CacheLockError"`. */
  override name = "CacheLockError";
}

/**
 * Returns whether a value is an error of this library, across realms and copies of the package.
 *
 * @param error Any value.
 * @returns `true` for a {@linkcode CacheError} or a subclass, such as `StoreError`.
 *
 * @example
 * ```ts
 * import { CacheError, isCacheError } from "@foodfast/larder";
 *
 * console.log(isCacheError(new CacheError("no"))); // true
 * ```
 */
export function isCacheError(error: unknown): error is CacheError {
  return error instanceof Error && BRAND in error;
}
