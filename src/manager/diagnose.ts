import type { InspectedClient } from "./inspect.ts";
import { type StepOptions, unfinished } from "./target.ts";

/** What was found of one question. */
export interface Finding {
  /** The question, such as `"eviction"`. */
  readonly check:
    | "connection"
    | "authentication"
    | "version"
    | "databases"
    | "eviction"
    | "memory"
    | "hit rate"
    | "expiry"
    | "big keys"
    | "slow queries"
    | "clock";
  /** How it is. `"info"` where the store cannot answer, or there is too little to judge. */
  readonly level: "ok" | "info" | "warning" | "error";
  /** What was seen, with its numbers; no values and no secrets. */
  readonly evidence: string;
  /** What to do. */
  readonly advice?: string;
}

/** Options of {@linkcode diagnose}. */
export interface DiagnoseOptions extends StepOptions {
  /** How many keys are looked at in each database, for those without TTL and big ones. @default 10_000 */
  readonly sample?: number | undefined;
  /** From how many bytes on a key is big. @default 1 MiB */
  readonly bigKey?: number | undefined;
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined;
}

/**
 * Looks for what is wrong with a store and with how it is used.
 *
 * @param client The client.
 * @param options How much is looked at.
 * @returns A finding a question. When the store is away, that is the last one.
 */
export async function* diagnose(
  client: InspectedClient,
  options: DiagnoseOptions = {},
): AsyncGenerator<Finding, void, void> {
  yield* unfinished(client, options);
}
