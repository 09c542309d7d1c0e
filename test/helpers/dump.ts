/** All that a database of a real Redis holds, to be compared. */
import { Buffer } from "node:buffer";
import type { Connection, RawReply } from "../../drivers/driver.ts";
import { nodeRedis } from "../../drivers/node_redis.ts";

/** Runs with a connection of its own. */
export async function withConnection<T>(
  url: string,
  database: number,
  run: (connection: Connection) => Promise<T>,
): Promise<T> {
  const driver = nodeRedis({ url });
  try {
    return await run((await driver.connect?.(database)) as Connection);
  } finally {
    await driver.close();
  }
}

const hex = (reply: RawReply): unknown =>
  reply instanceof Uint8Array ? Buffer.from(reply).toString("latin1") : Array.isArray(reply) ? reply.map(hex) : reply;

const READS: Readonly<Record<string, (key: Uint8Array) => (string | Uint8Array | number)[][]>> = {
  string: (key) => [["GET", key]],
  hash: (key) => [["HGETALL", key]],
  list: (key) => [["LRANGE", key, 0, -1]],
  set: (key) => [["SMEMBERS", key]],
  zset: (key) => [["ZRANGE", key, 0, -1, "WITHSCORES"]],
  stream: (key) => [
    ["XRANGE", key, "-", "+"],
    ["XINFO", "GROUPS", key],
    ["XINFO", "STREAM", key],
  ],
};

/** The place of a database: keys without `prefix`, each with its type, expiry and value; bytes as latin1. */
export async function dump(url: string, database: number, prefix = ""): Promise<Record<string, unknown>> {
  return withConnection(url, database, async (connection) => {
    const all: Record<string, unknown> = {};
    const [keys] = (await connection.send([["KEYS", "*"]])) as [Uint8Array[]];
    for (const key of keys) {
      const name = Buffer.from(key).toString("latin1");
      if (!name.startsWith(prefix)) continue;
      const [kind, at, time, left] = await connection.send([
        ["TYPE", key],
        ["PEXPIRETIME", key],
        ["TIME"],
        ["PTTL", key],
      ]);
      // Redis 6.2 has no PEXPIRETIME. Ten seconds are near enough.
      const seconds = Number((time as RawReply[])[0]) + Number(left) / 1000;
      const expires = at instanceof Error ? (Number(left) < 0 ? left : Math.round(seconds / 10)) : at;
      const value = (await connection.send(READS[`${kind}`]?.(key) ?? [])).map(hex);
      if (kind === "hash" || kind === "set") {
        const [flat] = value as [string[]];
        const parts =
          kind === "set" ? flat : Array.from({ length: flat.length / 2 }, (_, i) => flat.slice(2 * i, 2 * i + 2));
        value[0] = [...parts].map((part) => JSON.stringify(part)).sort();
      }
      if (kind === "stream") {
        const info = value[2] as unknown[];
        const at = (field: string): unknown => info[info.indexOf(field) + 1];
        value[2] = ["length", "last-generated-id", "max-deleted-entry-id", "entries-added", "groups"].map(at);
        value[1] = (value[1] as unknown[][]).map((group) => {
          const of = (field: string): unknown => group[group.indexOf(field) + 1];
          return ["name", "last-delivered-id", "entries-read"].map(of);
        });
      }
      all[name.slice(prefix.length)] = { kind, expires, value };
    }
    return all;
  });
}
