import type { RawCommand, RawReply } from "../../drivers/driver.ts";
import { checkWhole } from "../base/check.ts";
import { STATS } from "../base/own_keys.ts";
import type { Timeout } from "../base/ttl.ts";
import { type FleetStats, parseFleet } from "../cache/fleet.ts";
import type { Health } from "../client/health.ts";
import type { ClientStats, Location } from "../client/types.ts";
import { SERVICE_NAMES } from "../services/databases.ts";
import { displayText, ManagedConnection, openManagedConnection, TIMEOUT_MS, wholeOf, word } from "./connection.ts";
import { isOwnAt, ownKey } from "./layout.ts";
import {
  askNodes,
  type Info,
  type NodeInfo,
  type NodeNumbers,
  nodeNumbers,
  parseInfo,
  type ServerNumbers,
  serverOf,
  sumOfInfos,
} from "./nodes.ts";
import type { ManagedClient, StepOptions } from "./target.ts";

/** The part of a client that `inspect` and `diagnose` need. */
export interface InspectedClient extends ManagedClient {
  /** The name of the driver. */
  readonly driver: string;
  /** The way databases are kept apart. */
  readonly databases: "numbered" | "prefixed";
  /** Returns the health of the store. */
  health(options?: { readonly timeout?: Timeout }): Promise<Health>;
  /** Returns the statistics of this client. */
  stats(): ClientStats;
  /** Returns the statistics of the clients of all processes. */
  fleetStats(): Promise<Readonly<Record<string, FleetStats>>>;
  /** Returns a service, so that its shared statistics can be read. */
  service(name: never): unknown;
}

/** The default of {@linkcode InspectOptions.maxKeys}. */
export const MOST_KEYS = 1_000_000;

/** Options of {@linkcode inspect}. */
export interface InspectOptions extends StepOptions {
  /** The maximum number of keys that are counted for each service. @default 1_000_000 */
  readonly maxKeys?: number | undefined;
}

/** The state of a store and its caches; `null` for numbers that the store does not report. */
export interface Inspection extends ServerNumbers {
  /** The driver's name. */
  readonly driver: string;
  /** The way databases are kept apart. */
  readonly databases: "numbered" | "prefixed";
  /** The time that the store took to answer, in milliseconds; of several nodes, that of the slowest. */
  readonly latency: number | null;
  /** `hits / (hits + misses)`; `null` before the first. */
  readonly hitRate: number | null;
  /** The nodes of a cluster, whose sums the other numbers are; none for one server. */
  readonly nodes: readonly NodeNumbers[];
  /** The number of keys of each service. */
  readonly services: readonly ServiceKeys[];
  /** The statistics of all processes that have `fleetStats` on, by service. */
  readonly fleet: Readonly<Record<string, FleetStats>>;
}

/** The number of keys of a service. */
export interface ServiceKeys {
  /** The service's name. */
  readonly service: string;
  /** Its database. */
  readonly database: number;
  /** The number of keys. If a database has more than 10,000, the library's own keys are counted too. */
  readonly keys: number;
  /** `true` if there are more keys than were counted. */
  readonly more: boolean;
}

/**
 * Reads the state of the store and of the caches on it.
 *
 * @param client The client.
 * @param options The maximum number of keys that are counted, and the options of the steps.
 * @returns The numbers of the server and of each service.
 * @throws {StoreError} When the store does not answer.
 */
export async function inspect(client: InspectedClient, options: InspectOptions = {}): Promise<Inspection> {
  const { maxKeys = MOST_KEYS } = options;
  checkWhole(maxKeys, "maxKeys", 1);
  const connection = await openManagedConnection(client, { database: 0, ...options });
  try {
    await connection.ping();
    const start = performance.now();
    await connection.ping();
    const latency = performance.now() - start;
    const { info, nodes } = await readInfo(connection);
    const server = serverOf(info);
    const { hits, misses } = server;
    const locations = await locationsOf(client);
    const counts = await countKeys(locations, maxKeys, options);
    return {
      driver: client.driver,
      databases: client.databases,
      latency: Math.max(latency, ...nodes.map((node) => node.latency ?? 0)),
      ...server,
      nodes: nodes.map(nodeNumbers),
      hitRate: hits !== null && misses !== null && hits + misses > 0 ? hits / (hits + misses) : null,
      services: locations.map((location) => {
        const { keys = 0, more = false } = counts.get(location) ?? {};
        return { service: location.service as string, database: location.number, keys, more };
      }),
      fleet: await fleetOf(locations, counts, options),
    };
  } finally {
    await connection.close();
  }
}

/** Returns the locations of the built-in services and of those that the client used, by database. */
export async function locationsOf(client: Pick<InspectedClient, "locate" | "service" | "stats">): Promise<Location[]> {
  const names = new Set([...SERVICE_NAMES, ...Object.keys(client.stats().services)]);
  const locations: Location[] = [];
  for (const service of names) {
    try {
      client.service(service as never);
      locations.push(await client.locate({ service }));
    } catch (error) {
      // This build lacks the service.
      if (!(error instanceof TypeError)) throw error;
    }
  }
  return locations.sort((a, b) => a.number - b.number);
}

/**
 * Reads the statistics of all processes, by service. Services without statistics are not read, because each such read
 * would be a miss, and would lower the hit rate of a store that is watched.
 */
async function fleetOf(
  locations: readonly Location[],
  counts: ReadonlyMap<Location, Contents>,
  { signal, timeout }: StepOptions,
): Promise<Readonly<Record<string, FleetStats>>> {
  const found = locations.map(async (location): Promise<[string, FleetStats]> => {
    const connection = new ManagedConnection(location, undefined, signal, timeout ?? TIMEOUT_MS);
    const there = counts.get(location)?.fleet === true;
    const [reply] = there ? await connection.must([["HGETALL", connection.own(STATS + location.service)]]) : [[]];
    return [location.service as string, parseFleet((reply as RawReply[]).map(word))];
  });
  return Object.fromEntries(await Promise.all(found));
}

/**
 * Reads the fields of INFO; none if the store does not have this command. Those of several nodes are added up.
 *
 * @throws {StoreError} If no node answers.
 */
export async function readInfo(connection: ManagedConnection): Promise<{ info: Info; nodes: readonly NodeInfo[] }> {
  const nodes = await askNodes(connection);
  if (nodes.some(({ error }) => error === null)) return { info: sumOfInfos(nodes.map(({ info }) => info)), nodes };
  const [reply] = await connection.send([["INFO"]]);
  return { info: parseInfo(reply), nodes };
}

/** The number of keys that one step reads. */
const PAGE = 1000;
/** The maximum number of keys of a database that are counted one by one, so that the library's own are left out. */
const COUNTED = 10_000;

/** The contents of a location: the number of keys, and whether shared statistics exist. */
interface Contents {
  keys: number;
  more: boolean;
  readonly fleet: boolean;
}

/** Counts the keys of locations. Those that share a database of the store are counted in one scan. */
async function countKeys(
  locations: readonly Location[],
  maxKeys: number,
  options: StepOptions,
): Promise<ReadonlyMap<Location, Contents>> {
  const counts = new Map<Location, Contents>();
  const groups = new Map<string, Location[]>();
  for (const location of locations) {
    const id = `${location.numbered ? location.database : ""}`;
    groups.set(id, [...(groups.get(id) ?? []), location]);
  }
  for (const group of groups.values()) {
    const [first] = group as [Location];
    const connection = await openManagedConnection(wholeOf(first), { database: first.number, ...options });
    try {
      // MEMORY is the only command that reads a key without counting a hit or a miss. Stores without it do not count.
      const marks = group.map(
        (location): RawCommand => ["MEMORY", "USAGE", ownKey(location, STATS + location.service)],
      );
      const [size, found] = await Promise.all([connection.size(), connection.send(marks)]);
      const counted = found.map((reply) => reply !== null);
      if (group.length === 1 && first.prefix === "" && size > COUNTED) {
        counts.set(first, {
          keys: Math.min(size, maxKeys),
          more: size > maxKeys,
          fleet: counted[0] === true,
        });
        continue;
      }
      group.forEach((location, i) => void counts.set(location, { keys: 0, more: false, fleet: counted[i] === true }));
      // The longest prefix first, because the empty prefix matches every key.
      const byLength = [...group].sort((a, b) => b.prefix.length - a.prefix.length);
      for await (const page of connection.scan("*", PAGE)) {
        for (const key of page) {
          const text = displayText(key);
          const location = byLength.find(({ prefix }) => text.startsWith(prefix));
          const count = location && counts.get(location);
          if (!count || isOwnAt(location, text)) continue;
          if (count.keys === maxKeys) count.more = true;
          else count.keys++;
        }
        if (group.every((location) => counts.get(location)?.more)) break;
      }
    } finally {
      await connection.close();
    }
  }
  return counts;
}
