/** What all functions of the manager take. */

import type { Timeout } from "../base/ttl.ts";
import type { Signal } from "../base/web_types.ts";
import type { Location, LocationOf } from "../client/types.ts";
import type { ServiceDefinition } from "../services/service.ts";

/** Whose keys: a service's, by its name or declaration, or a database's, 0-15. */
export type Target =
  | { readonly service: string | ServiceDefinition; readonly database?: undefined }
  | { readonly service?: undefined; readonly database: number };

/** How the steps of a long operation are taken. */
export interface StepOptions {
  /** Stops the operation between two steps: it throws the signal's reason. */
  readonly signal?: Signal | undefined;
  /** The deadline of one step, such as reading a page of keys: milliseconds, or `"10s"`. @default 10_000 */
  readonly timeout?: Timeout | undefined;
}

/** What the manager needs of a client. */
export interface ManagedClient {
  /** Where keys live. */
  locate(of: LocationOf): Promise<Location>;
}

/** A key: text, or bytes that are not UTF-8. */
export type Bulk = string | Uint8Array;

/** The name of a key that could not be read or written as it is, and why. */
export interface Problem {
  /** The key, below its service's or database's prefix; what is no text in it is replaced. */
  readonly key: string;
  /** Why. */
  readonly reason: string;
}

/**
 * Runs an operation to its end.
 *
 * @typeParam T What it tells on its way.
 * @param steps The operation.
 * @returns What it told last: the totals.
 * @throws {Error} What the operation throws.
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
  if (last === undefined) throw new Error("the operation told nothing");
  return last;
}
