/** The epochs of a service or database, one a shard, read and set by backups, restores and copies. */
import { EPOCH_KEY } from "../base/own_keys.ts";
import { displayText, type ManagedConnection } from "./connection.ts";
import type { Bulk } from "./target.ts";

/** An epoch: its text, its value, and its value at the last invalidation of everything. */
export interface EpochText {
  readonly text: string;
  readonly seq: number;
  readonly all: number;
}

/** The epochs by shard; `undefined` for shards that have none. */
export type Epochs = readonly (EpochText | undefined)[];

/** Returns whether no shard has an epoch. */
export const isNew = (epochs: Epochs): boolean => epochs.every((epoch) => epoch === undefined);

/** Parses the text of an epoch; `undefined` if it is not one. */
export function toEpoch(reply: Bulk | null | undefined): EpochText | undefined {
  if (reply === null || reply === undefined) return undefined;
  const text = displayText(reply);
  const [seq = Number.NaN, all = Number.NaN] = text.split(" ").map(Number);
  return Number.isSafeInteger(seq) && Number.isSafeInteger(all) ? { text, seq, all } : undefined;
}

/** Returns the keys of the epochs, by shard. */
const keysOf = (connection: ManagedConnection): string[] =>
  connection.layout.tags.map((_, shard) => connection.start(shard) + EPOCH_KEY);

/** Reads the epochs of a service or database. */
export async function readEpochs(connection: ManagedConnection): Promise<Epochs> {
  const replies = await connection.send(keysOf(connection).map((key) => ["GET", key]));
  return replies.map((reply) =>
    typeof reply === "string" || reply instanceof Uint8Array ? toEpoch(reply) : undefined,
  );
}

/**
 * Sets the epochs of a service or database that has none.
 *
 * @param connection The connection to it.
 * @param epochs The epochs, of as many shards.
 * @returns `true` if its epochs are these now: it had none, or an earlier run set them.
 */
export async function claimEpochs(connection: ManagedConnection, epochs: Epochs): Promise<boolean> {
  const keys = keysOf(connection);
  const claims = epochs.flatMap((epoch, shard) =>
    epoch ? [{ shard, command: ["SET", keys[shard] as string, epoch.text, "NX"] }] : [],
  );
  const replies = await connection.must(claims.map(({ command }) => command));
  if (replies.every((reply) => reply !== null)) return true;
  const now = await readEpochs(connection);
  return claims.every(({ shard }) => now[shard]?.text === epochs[shard]?.text);
}

/** Sets the first epochs of shards that have none, if the source had any. */
export async function ensureEpochs(connection: ManagedConnection, theirs: Epochs): Promise<void> {
  if (isNew(theirs)) return;
  const first = `${Date.now() * 1000} 0 0`;
  await connection.must(keysOf(connection).map((key) => ["SET", key, first, "NX"]));
}
