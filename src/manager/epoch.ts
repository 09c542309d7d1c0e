/** The epoch of a service or database, read and set by backups, restores and copies. */
import { EPOCH_KEY } from "../base/own_keys.ts";
import { displayText, type ManagedConnection } from "./connection.ts";
import type { Bulk } from "./target.ts";

/** An epoch: its text, its value, and its value at the last invalidation of everything. */
export interface EpochText {
  readonly text: string;
  readonly seq: number;
  readonly all: number;
}

/** Parses the text of an epoch; `undefined` if it is not one. */
export function toEpoch(reply: Bulk | null | undefined): EpochText | undefined {
  if (reply === null || reply === undefined) return undefined;
  const text = displayText(reply);
  const [seq = Number.NaN, all = Number.NaN] = text.split(" ").map(Number);
  return Number.isSafeInteger(seq) && Number.isSafeInteger(all) ? { text, seq, all } : undefined;
}

/** Reads the epoch of a service or database. */
export async function readEpoch(connection: ManagedConnection): Promise<EpochText | undefined> {
  const [reply] = await connection.send([["GET", connection.physical(EPOCH_KEY)]]);
  return typeof reply === "string" || reply instanceof Uint8Array ? toEpoch(reply) : undefined;
}

/**
 * Sets the epoch of a service or database that has none.
 *
 * @param connection The connection to it.
 * @param epoch The epoch.
 * @returns `true` if its epoch is this one now: it had none, or an earlier run set it.
 */
export async function claimEpoch(connection: ManagedConnection, epoch: EpochText): Promise<boolean> {
  const [reply] = await connection.must([["SET", connection.physical(EPOCH_KEY), epoch.text, "NX"]]);
  return reply !== null || (await readEpoch(connection))?.text === epoch.text;
}

/** Sets the first epoch of a service or database that has none, if the source had one. */
export async function ensureEpoch(connection: ManagedConnection, theirs: EpochText | undefined): Promise<void> {
  if (!theirs) return;
  await connection.must([["SET", connection.physical(EPOCH_KEY), `${Date.now() * 1000} 0 0`, "NX"]]);
}
