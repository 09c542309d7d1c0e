import type { RawReply } from "../../../drivers/driver.ts";
import { isRefusal, unknownCommand } from "../../base/store_error.ts";
import type { LocationOf } from "../../client/types.ts";
import { type ManagedConnection, openManagedConnection } from "../connection.ts";
import type { ManagedClient, StepOptions } from "../target.ts";

/** The result of one check. */
export interface Finding {
  /** The name of the check, such as `"eviction"`. */
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
    | "clock"
    | "addresses"
    | "cluster"
    | "open slots"
    | "replicas"
    | "replica lag"
    | "coverage"
    | "failover"
    | "nodes"
    | "tls"
    | "balance"
    | "big slots"
    | "layout"
    | "sentinels";
  /** The level. `"info"` if the store cannot answer, or if there is too little data to judge. */
  readonly level: "ok" | "info" | "warning" | "error";
  /** The evidence with its numbers. It shows no values and no secrets. */
  readonly evidence: string;
  /** The remedy. */
  readonly advice?: string;
}

/** The number of keys that one step reads. */
export const PAGE = 500;

/** The evidence of checks that need keys which the user may not read. */
export const HIDDEN = "this user may not read the keys";

/** Makes a warning. */
export const warning = (check: Finding["check"], evidence: string, advice: string): Finding => ({
  check,
  level: "warning",
  evidence,
  advice,
});

/** Makes the finding of a check that has no result. */
export const unknown = (check: Finding["check"], evidence: string): Finding => ({ check, level: "info", evidence });

/** Returns whether a driver sends over TCP to servers of Redis. */
export function isOverTcp(driver: string): boolean {
  return /^(node-redis|cluster|sentinel)$/.test(driver);
}

/** Returns the reason why a check has no result: over TCP, commands may be renamed, or forbidden to this user. */
export function unavailable(driver: string, command: string, reply: RawReply | undefined): string {
  if (!isOverTcp(driver)) return `not available over ${driver}`;
  return reply instanceof Error && unknownCommand(reply) !== undefined
    ? `the server does not know ${command}: it is renamed or disabled`
    : `this user may not run ${command}`;
}

/** Opens a service or a database; `undefined` if the store does not have the database, or this user may not read it. */
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
