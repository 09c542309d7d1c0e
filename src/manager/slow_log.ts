/** The server's list of slow commands. */
import { type RawReply, StoreError } from "../../drivers/driver.ts";
import { type ManagedConnection, word } from "./connection.ts";
import type { Bulk } from "./target.ts";

/** What the dashboard calls its connections: what is slow on them is not the applications'. */
export const DASHBOARD = "larder-dashboard";

/** A slow command. */
export interface SlowEntry {
  /** Its number: a later one has a higher one, until the server begins anew. */
  readonly id: number;
  /** When it ran, in milliseconds since 1970, by the store's clock. */
  readonly at: number;
  /** How long it took, in milliseconds. */
  readonly took: number;
  /** The command's name, in upper case. */
  readonly name: string;
  /** The command and its arguments, as the server keeps them. */
  readonly args: readonly Bulk[];
  /** Whether it is of those who only look on: the dashboard, and whoever asks a server for its state. */
  readonly ofTools: boolean;
}

/**
 * Reads the slow log.
 *
 * @param connection The connection.
 * @param count The most entries.
 * @returns The entries, the latest first; `undefined` where the store keeps none, or this user may not see it.
 * @throws {StoreError} When the store is away.
 */
export async function slowLog(connection: ManagedConnection, count: number): Promise<SlowEntry[] | undefined> {
  const [reply] = await connection.send([["SLOWLOG", "GET", count]]);
  if (reply instanceof StoreError || !Array.isArray(reply)) return undefined;
  return (reply as RawReply[][]).map(([id, at, took, args, , client]) => {
    const name = word((args as RawReply[])[0])
      .toUpperCase()
      .slice(0, 40);
    return {
      id: Number(id),
      at: Number(at) * 1000,
      took: Number(took) / 1000,
      name,
      args: args as Bulk[],
      ofTools: word(client) === DASHBOARD || /^(SLOWLOG|INFO)$/.test(name),
    };
  });
}
