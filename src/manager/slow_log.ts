/** The server's list of slow commands. */
import type { RawReply } from "../../drivers/driver.ts";
import { type ManagedConnection, word } from "./connection.ts";
import type { Bulk } from "./target.ts";

/** The name of the dashboard's connections. Slow commands on them are not those of the applications. */
export const DASHBOARD = "larder-dashboard";

/** A slow command. */
export interface SlowEntry {
  /** Its number, which grows until the server restarts. */
  readonly id: number;
  /** The time of its start by the store's clock, in milliseconds since 1970. */
  readonly at: number;
  /** Its duration in milliseconds. */
  readonly took: number;
  /** The command's name, in upper case. */
  readonly name: string;
  /** The command and its arguments, as the server keeps them. */
  readonly args: readonly Bulk[];
  /** `true` if a monitoring tool sent it, such as the dashboard. */
  readonly ofTools: boolean;
  /** The node of a cluster that ran it. */
  readonly node?: string;
}

/**
 * Reads the slow log; of a cluster, those of all nodes that answer.
 *
 * @param connection The connection.
 * @param count The maximum number of entries of a node.
 * @returns The entries, the latest first; `undefined` if the store has no slow log, or this user may not read it.
 * @throws {StoreError} When the store does not answer.
 */
export async function slowLog(connection: ManagedConnection, count: number): Promise<SlowEntry[] | undefined> {
  const parts = await connection.parts();
  if (parts.length > 0) {
    const logs = await Promise.allSettled(parts.map((part) => slowLog(connection.onPart(part), count)));
    const read = logs.flatMap((log) => (log.status === "fulfilled" && log.value) || []);
    if (logs.every((log) => log.status === "rejected")) throw (logs[0] as PromiseRejectedResult).reason;
    if (logs.every((log) => log.status === "rejected" || !log.value)) return undefined;
    return read.sort((a, b) => b.at - a.at);
  }
  const [reply] = await connection.send([["SLOWLOG", "GET", count]]);
  if (reply instanceof Error || !Array.isArray(reply)) return undefined;
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
      ...(connection.part !== undefined && { node: connection.part }),
      ofTools: word(client) === DASHBOARD || /^(SLOWLOG|INFO)$/.test(name),
    };
  });
}
