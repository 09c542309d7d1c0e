import { ManagedConnection } from "../manager/connection.ts";
import { parseInfo } from "../manager/nodes.ts";
import { serverMode } from "../manager/server.ts";
import { UsageError } from "./errors.ts";
import type { OpenedStore } from "./store.ts";

/**
 * Checks that what answers at the address of a single server is one. A server that does not say it is taken for one.
 *
 * @param store The store, which is connected.
 * @returns A warning if it is a node of a cluster, which knows no other node's keys; otherwise `undefined`.
 * @throws {UsageError} If it is a Sentinel.
 */
export async function checkKind({ client, name, timeout }: OpenedStore): Promise<string | undefined> {
  if (client.driver !== "node-redis") return undefined;
  // Its deadline keeps the process running, which the driver's sockets do not.
  const connection = new ManagedConnection(await client.locate({ database: 0 }), undefined, undefined, timeout);
  const [reply] = await connection.send([["INFO"]]);
  const info = parseInfo(reply);
  const mode = serverMode(info);
  const urlOf = (kind: string): string => name.replace(/^redis(s?):/, `redis$1+${kind}:`);
  if (mode === "sentinel") {
    const [, master = "mymaster"] = /^name=([^,]+)/.exec(info.get("master0") ?? "") ?? [];
    throw new UsageError(`Cannot use ${name}: a Sentinel answers there, expected ${urlOf("sentinel")}/${master}`);
  }
  if (mode !== "cluster") return undefined;
  return `warning: ${name} is a node of a cluster, and the keys of other nodes are not seen: use ${urlOf("cluster")}`;
}
