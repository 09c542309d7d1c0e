import { type RawReply, StoreError } from "../../../drivers/driver.ts";
import { isRefusal, unknownCommand } from "../../base/store_error.ts";
import type { LocationOf } from "../../client/types.ts";
import { type ManagedConnection, openManagedConnection } from "../connection.ts";
import type { ManagedClient, StepOptions } from "../target.ts";

/** What was found of one question. */
export interface Finding {
  /** The question, such as `"eviction"`. */
  readonly check:
    | "connection"
    | "authentication"
    | "version"
    | "replication"
    | "databases"
    | "scripts"
    | "commands"
    | "near caches"
    | "encryption"
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

export type Info = ReadonlyMap<string, string>;

/** How many keys a step looks at. */
export const PAGE = 500;

export const HIDDEN = "the store does not let this user look at its keys";

export const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

export function amount(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), 3);
  return `${(bytes / 1024 ** power).toFixed(1)} ${["", "KiB", "MiB", "GiB"][power]}`;
}

export const warning = (check: Finding["check"], evidence: string, advice: string): Finding => ({
  check,
  level: "warning",
  evidence,
  advice,
});

export const unknown = (check: Finding["check"], evidence: string): Finding => ({ check, level: "info", evidence });

/**
 * Why a question has no answer. Every Redis knows what is asked over TCP, but may not tell everyone, or under another
 * name.
 */
export function untold(driver: string, command: string, reply: RawReply | undefined): string {
  if (driver !== "node-redis") return `not available over ${driver}`;
  return reply instanceof StoreError && unknownCommand(reply) !== undefined
    ? `the server does not know ${command}: it is renamed or switched off`
    : "the store does not tell this user";
}

/** Opens a database; `undefined` where the store has no such one, which is a finding of its own, or lets this user not look. */
export async function usable(
  client: ManagedClient,
  options: LocationOf & StepOptions,
): Promise<ManagedConnection | undefined> {
  let connection: ManagedConnection | undefined;
  try {
    connection = await openManagedConnection(client, options);
    await connection.must([connection.scanCommand("0", "*", 1)]);
    return connection;
  } catch (error) {
    await connection?.close();
    if (isRefusal(error)) return undefined;
    throw error;
  }
}
