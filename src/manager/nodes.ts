/** The nodes of a store: the masters of a cluster, each of which has numbers, a slow log and a clock of its own. */
import type { RawReply } from "../../drivers/driver.ts";
import { toStoreError } from "../base/foreign_error.ts";
import { type ManagedConnection, word } from "./connection.ts";
import { type ServerName, serverName } from "./server.ts";

/** The numbers that a server reports; `null` for those that it does not report. */
export interface ServerNumbers extends ServerName {
  /** Bytes in use. */
  readonly memoryUsed: number | null;
  /** The limit in bytes; 0 without a limit. */
  readonly memoryLimit: number | null;
  /** The eviction policy, such as `"allkeys-lru"`. */
  readonly policy: string | null;
  /** Keys evicted since the server started. */
  readonly evictions: number | null;
  /** Keys expired since the server started. */
  readonly expired: number | null;
  /** Connected clients. */
  readonly clients: number | null;
  /** Reads of existing keys since the server started, by all its users and by the library for its own keys. */
  readonly hits: number | null;
  /** Reads of missing keys, likewise. Until the first invalidation, each read of the library counts as one of these. */
  readonly misses: number | null;
  /** Commands that the server has run since it started. */
  readonly commands: number | null;
}

/** The numbers of one node of a cluster, as it was when it was asked. */
export interface NodeNumbers extends ServerNumbers {
  /** The address, such as `"10.0.0.7:6379"`. */
  readonly node: string;
  /** True if it answered. If it did not, its numbers are `null`. */
  readonly up: boolean;
  /** The reason why it did not answer, without secrets; `null` if it did. */
  readonly error: string | null;
  /** The time until it answered, in milliseconds. */
  readonly latency: number | null;
  /** The number of keys, the library's own included. */
  readonly keys: number | null;
}

/** The fields of INFO. */
export type Info = ReadonlyMap<string, string>;

/** The answer of one node. */
export interface NodeInfo {
  readonly node: string;
  /** A connection to it. */
  readonly connection: ManagedConnection;
  /** Its fields of INFO; none if it did not answer. */
  readonly info: Info;
  readonly latency: number | null;
  /** The reason why it did not answer. */
  readonly error: string | null;
}

/** Asks every node for its INFO, all at once. Nodes that do not answer are among the answers. */
export async function askNodes(connection: ManagedConnection): Promise<NodeInfo[]> {
  return await Promise.all(
    (await connection.parts()).map(async (node): Promise<NodeInfo> => {
      const one = connection.onPart(node);
      try {
        await one.ping();
        const start = performance.now();
        await one.ping();
        const latency = performance.now() - start;
        const [reply] = await one.send([["INFO"]]);
        return { node, connection: one, info: parseInfo(reply), latency, error: null };
      } catch (thrown) {
        return { node, connection: one, info: new Map(), latency: null, error: toStoreError(thrown).message };
      }
    }),
  );
}

/** Returns the numbers of a node by its answer. */
export function nodeNumbers({ node, info, latency, error }: NodeInfo): NodeNumbers {
  const keys = info.size === 0 ? null : Object.values(databasesOf(info)).reduce((sum, number) => sum + number, 0);
  return { node, up: error === null, error, latency, keys, ...serverOf(info) };
}

/** Parses a reply to INFO into its fields; none if the reply is an error. */
export function parseInfo(reply: RawReply | undefined): Info {
  if (reply instanceof Error || reply === null) return new Map();
  const lines = word(reply).split(/\r?\n/);
  return new Map(
    lines
      .filter((line) => /^\w+:/.test(line))
      .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]),
  );
}

/** Returns a field of INFO as a number; `null` if the server does not report it. */
export function infoNumber(info: Info, name: string): number | null {
  return info.has(name) ? Number(info.get(name)) : null;
}

/** Returns the numbers that a server reports in INFO. */
export function serverOf(info: Info): ServerNumbers {
  return {
    ...serverName(info),
    memoryUsed: infoNumber(info, "used_memory"),
    memoryLimit: infoNumber(info, "maxmemory"),
    policy: info.get("maxmemory_policy") ?? null,
    evictions: infoNumber(info, "evicted_keys"),
    expired: infoNumber(info, "expired_keys"),
    clients: infoNumber(info, "connected_clients"),
    hits: infoNumber(info, "keyspace_hits"),
    misses: infoNumber(info, "keyspace_misses"),
    commands: infoNumber(info, "total_commands_processed"),
  };
}

/** Returns the number of keys of each numbered database. */
export function databasesOf(info: Info): Record<number, number> {
  const found: Record<number, number> = {};
  for (const [name, value] of info) {
    const [, database] = /^db(\d+)$/.exec(name) ?? [];
    if (database !== undefined) found[Number(database)] = Number(/keys=(\d+)/.exec(value)?.[1] ?? 0);
  }
  return found;
}

/** The fields of INFO that add up over the nodes of a cluster. */
const SUMS = [
  ..."used_memory maxmemory evicted_keys expired_keys connected_clients keyspace_hits keyspace_misses".split(" "),
  ..."total_commands_processed total_net_input_bytes total_net_output_bytes total_system_memory".split(" "),
];

/**
 * Adds up the fields of several nodes, as if they were one server. Other fields are those of the first node. The limit
 * of memory is 0 (none) if one of them has none.
 */
export function sumOfInfos(infos: readonly Info[]): Info {
  const told = infos.filter((info) => info.size > 0);
  const [first] = told;
  if (!first || told.length === 1) return first ?? new Map();
  const all = new Map([...first].filter(([name]) => !/^db\d+$/.test(name)));
  for (const name of SUMS) {
    const values = told.map((info) => Number(info.get(name) ?? Number.NaN)).filter((value) => !Number.isNaN(value));
    if (values.length === 0) continue;
    const sum = values.reduce((a, b) => a + b, 0);
    all.set(name, `${name === "maxmemory" && values.includes(0) ? 0 : sum}`);
  }
  const databases: Record<string, number> = {};
  for (const info of told) {
    for (const [name, keys] of Object.entries(databasesOf(info))) databases[name] = (databases[name] ?? 0) + keys;
  }
  for (const [name, keys] of Object.entries(databases)) all.set(`db${name}`, `keys=${keys}`);
  return all;
}
