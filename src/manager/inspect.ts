import { type RawCommand, type RawReply, StoreError } from "../../drivers/driver.ts";
import { describe } from "../base/check.ts";
import type { Timeout } from "../base/ttl.ts";
import type { FleetStats } from "../cache/fleet.ts";
import type { ClientStats, Health, Location } from "../client/types.ts";
import { SERVICE_DATABASES } from "../services/databases.ts";
import { COUNTS } from "../telemetry/stats.ts";
import { displayText, isOwnBulk, ManagedConnection, openManagedConnection, TIMEOUT_MS, word } from "./connection.ts";
import { type ServerName, serverName } from "./server.ts";
import type { ManagedClient, StepOptions } from "./target.ts";

/** What `inspect` and `diagnose` need of a client. */
export interface InspectedClient extends ManagedClient {
  /** The name of the driver. */
  readonly driver: string;
  /** How databases are kept apart. */
  readonly databases: "numbered" | "prefixed";
  /** How the store is. */
  health(options?: { readonly timeout?: Timeout }): Promise<Health>;
  /** What the client did. */
  stats(): ClientStats;
  /** What the clients of all processes did. */
  fleetStats(): Promise<Readonly<Record<string, FleetStats>>>;
  /** A service, so that its fleet's counts can be asked for. */
  service(name: never): unknown;
}

/** Options of {@linkcode inspect}. */
export interface InspectOptions extends StepOptions {
  /** The most keys that are counted for each service. @default 1_000_000 */
  readonly maxKeys?: number | undefined;
}

/** What a server tells of itself; what it cannot tell is `null`. */
export interface ServerNumbers extends ServerName {
  /** Bytes in use. */
  readonly memoryUsed: number | null;
  /** The limit in bytes; 0 for none. */
  readonly memoryLimit: number | null;
  /** What is evicted at the limit, such as `"allkeys-lru"`. */
  readonly policy: string | null;
  /** Keys evicted since the server's start. */
  readonly evictions: number | null;
  /** Keys expired since the server's start. */
  readonly expired: number | null;
  /** Connected clients. */
  readonly clients: number | null;
  /** Reads of existing keys since the server's start, by all its users; the library's own look-ups are among them. */
  readonly hits: number | null;
  /** Reads of missing keys, likewise: where nothing was ever invalidated, each of the library's reads is one. */
  readonly misses: number | null;
  /** Commands that the server ran since its start. */
  readonly commands: number | null;
}

/** What a store and its caches are like; what the store cannot tell is `null`. */
export interface Inspection extends ServerNumbers {
  /** The driver's name. */
  readonly driver: string;
  /** How databases are kept apart. */
  readonly databases: "numbered" | "prefixed";
  /** How long the store took to answer, in milliseconds. */
  readonly latency: number | null;
  /** `hits / (hits + misses)`; `null` before the first. */
  readonly hitRate: number | null;
  /** The services' keys. */
  readonly services: readonly ServiceKeys[];
  /** What the caches of all processes did that count together, by service. */
  readonly fleet: Readonly<Record<string, FleetStats>>;
}

/** How many keys a service has. */
export interface ServiceKeys {
  /** The service's name. */
  readonly service: string;
  /** Its database. */
  readonly database: number;
  /** How many keys: those of the library itself aside, but where a database has more than 10,000. */
  readonly keys: number;
  /** Whether there are more. */
  readonly more: boolean;
}

/**
 * Looks at the store and the caches on it.
 *
 * @param client The client.
 * @param options How many keys are counted at the most.
 * @returns What was found.
 * @throws {StoreError} When the store is away.
 */
export async function inspect(client: InspectedClient, options: InspectOptions = {}): Promise<Inspection> {
  const { maxKeys = 1_000_000 } = options;
  if (!(Number.isSafeInteger(maxKeys) && maxKeys > 0)) {
    throw new RangeError(`cannot use maxKeys ${describe(maxKeys)}: accepted are whole numbers from 1 on`);
  }
  const connection = await openManagedConnection(client, { database: 0, ...options });
  try {
    await connection.ping();
    const start = performance.now();
    await connection.ping();
    const latency = performance.now() - start;
    const server = serverOf(await readInfo(connection));
    const { hits, misses } = server;
    const locations = await locationsOf(client);
    const counts = await countKeys(locations, maxKeys, options);
    return {
      driver: client.driver,
      databases: client.databases,
      latency,
      ...server,
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

/** Where the client's services live, by their databases: those that it was made with, and those that it has used. */
export async function locationsOf(client: Pick<InspectedClient, "locate" | "service" | "stats">): Promise<Location[]> {
  const names = new Set([...Object.keys(SERVICE_DATABASES), ...Object.keys(client.stats().services)]);
  const locations: Location[] = [];
  for (const service of names) {
    try {
      client.service(service as never);
      locations.push(await client.locate({ service }));
    } catch (error) {
      // A build without this service.
      if (!(error instanceof TypeError)) throw error;
    }
  }
  return locations.sort((a, b) => a.number - b.number);
}

/**
 * What all processes counted, by service. Services without counts are not asked for them: that would be a miss each time, and the hit
 * rate of a store that is watched would fall by it.
 */
async function fleetOf(
  locations: readonly Location[],
  counts: ReadonlyMap<Location, Contents>,
  { signal, timeout }: StepOptions,
): Promise<Readonly<Record<string, FleetStats>>> {
  const found = locations.map(async (location): Promise<[string, FleetStats]> => {
    const connection = new ManagedConnection(location, undefined, signal, timeout ?? TIMEOUT_MS);
    const there = counts.get(location)?.fleet === true;
    const [reply] = there ? await connection.must([["HGETALL", connection.own(`stats:${location.service}`)]]) : [[]];
    const sum = Object.fromEntries(COUNTS.map((name) => [name, 0])) as Record<(typeof COUNTS)[number], number>;
    for (const [name, number] of fleetCounts(reply as readonly RawReply[])) {
      if (Object.hasOwn(sum, name)) sum[name as keyof typeof sum] += number;
    }
    const reads = sum.hits + sum.misses;
    return [location.service as string, { ...sum, hitRate: reads > 0 ? sum.hits / reads : 0 }];
  });
  return Object.fromEntries(await Promise.all(found));
}

/** The counts of a service's collections, by the names of what is counted: one comes once for each collection. */
export function* fleetCounts(flat: readonly RawReply[]): Generator<[name: string, number: number], void, void> {
  for (let i = 0; i < flat.length; i += 2) yield [word(flat[i]).split(":")[1] ?? "", Number(word(flat[i + 1]))];
}

/** What INFO says, by name; nothing where the store has none. */
export async function readInfo(connection: ManagedConnection): Promise<ReadonlyMap<string, string>> {
  const [reply] = await connection.send([["INFO"]]);
  return parseInfo(reply);
}

/** What a reply to INFO says, by name; nothing where it is an error. */
export function parseInfo(reply: RawReply | undefined): ReadonlyMap<string, string> {
  if (reply instanceof StoreError || reply === null) return new Map();
  const lines = word(reply).split(/\r?\n/);
  return new Map(
    lines
      .filter((line) => /^\w+:/.test(line))
      .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]),
  );
}

/** A number of what a server tells. */
export function infoNumber(info: ReadonlyMap<string, string>, name: string): number | null {
  return info.has(name) ? Number(info.get(name)) : null;
}

/** What a server tells of itself. */
export function serverOf(info: ReadonlyMap<string, string>): ServerNumbers {
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

/** How many keys a step looks at. */
const PAGE = 1000;
/** Up to how many keys of a database are counted one by one, so that the library's own can be told apart. */
const COUNTED = 10_000;

/** What is in a location: how many keys, whether there are more, and whether processes counted together. */
interface Contents {
  keys: number;
  more: boolean;
  readonly fleet: boolean;
}

/** Counts the keys of locations, those that share a database of the store in one scan. */
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
    const whole = { ...first, prefix: "" };
    const connection = await openManagedConnection(
      { locate: async () => whole },
      { database: first.number, ...options },
    );
    try {
      // MEMORY alone looks at a key and counts neither hit nor miss; where it is not known, there are no such counts to spoil.
      const marks = group.map(
        ({ prefix, service }): RawCommand => ["MEMORY", "USAGE", `${prefix}${connection.own(`stats:${service}`)}`],
      );
      const [size, ...found] = await connection.send([["DBSIZE"], ...marks]);
      if (size instanceof StoreError) throw size;
      const fleets = found.map((reply) => reply !== null);
      if (group.length === 1 && first.prefix === "" && Number(size) > COUNTED) {
        counts.set(first, {
          keys: Math.min(Number(size), maxKeys),
          more: Number(size) > maxKeys,
          fleet: fleets[0] === true,
        });
        continue;
      }
      group.forEach((location, i) => void counts.set(location, { keys: 0, more: false, fleet: fleets[i] === true }));
      // The longest prefix first: the empty one fits all.
      const byLength = [...group].sort((a, b) => b.prefix.length - a.prefix.length);
      for await (const page of connection.scan("*", PAGE)) {
        for (const key of page) {
          const text = displayText(key);
          const location = byLength.find(({ prefix }) => text.startsWith(prefix));
          const count = location && counts.get(location);
          if (!count || isOwnBulk(text.slice((location as Location).prefix.length))) continue;
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
