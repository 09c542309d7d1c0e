/** The options and types that all functions of the manager share. */

import { checkNames } from "../base/check.ts";
import type { Timeout } from "../base/ttl.ts";
import type { Signal } from "../base/web_types.ts";
import type { Location, LocationOf } from "../client/types.ts";
import type { ServiceDefinition } from "../services/service.ts";

/** The keys of a service, by its name or declaration, or of a database, 0-15. */
export type Target =
  | { readonly service: string | ServiceDefinition; readonly database?: undefined }
  | { readonly service?: undefined; readonly database: number };

/** Throws for an unknown option: a misspelt `pattern` or `dryRun` would delete all keys. */
export function checkStepNames(options: unknown, own: readonly string[], what: string): void {
  checkNames(options, ["service", "database", ...own, "signal", "timeout"], what);
}

/** Options of the steps of a long operation. */
export interface StepOptions {
  /** Stops the operation between two steps. The operation then throws the signal's reason. */
  readonly signal?: Signal | undefined;
  /** The deadline of one step, such as reading a page of keys: milliseconds, or `"10s"`. @default 10_000 */
  readonly timeout?: Timeout | undefined;
}

/** The part of a client that the manager needs. */
export interface ManagedClient {
  /** Returns the location of a service or a database. */
  locate(of: LocationOf): Promise<Location>;
}

/** A key or a value: text, or bytes that are not UTF-8. */
export type Bulk = string | Uint8Array;

/** A key that could not be read or written unchanged, with the reason. */
export interface Problem {
  /** The key, without the prefix of its service or database. Bytes that are not UTF-8 are replaced by U+FFFD. */
  readonly key: string;
  /** The reason. */
  readonly reason: string;
}

/**
 * Runs an operation to its end.
 *
 * @typeParam T The progress that it reports.
 * @param steps The operation.
 * @returns The last progress: the totals.
 * @throws {Error} Any error that the operation throws.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 * import { clear, finish } from "@foodfast/larder/manager";
 *
 * await using client = createCacheClient({ driver: "memory" });
 * const { keys } = await finish(clear(client, { service: "product" }));
 * console.log(keys); // 0
 * ```
 */
export async function finish<T>(steps: AsyncIterable<T>): Promise<T> {
  let last: T | undefined;
  for await (const step of steps) last = step;
  if (last === undefined) throw new Error("The operation reported no progress");
  return last;
}
