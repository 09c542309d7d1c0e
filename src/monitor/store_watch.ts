/** Asks the store for its own numbers, without the client's batches, so that no service counts these commands. */
import type { RawReply } from "../../drivers/driver.ts";
import { toStoreError } from "../base/foreign_error.ts";
import { STATS } from "../base/own_keys.ts";
import type { Location, LocationOf } from "../client/types.ts";
import { ManagedConnection } from "../manager/connection.ts";
import { readInfo } from "../manager/inspect.ts";
import {
  databasesOf,
  type Info,
  infoNumber,
  type NodeNumbers,
  nodeNumbers,
  type ServerNumbers,
  serverOf,
} from "../manager/nodes.ts";
import { type SlowEntry, slowLog } from "../manager/slow_log.ts";
import { type FleetCounts, GrowingCounts, toFleetCounts } from "./fleet_counts.ts";
import { sizesOf } from "./sizes.ts";

/** A slow query. It holds the name of the command only, because arguments are keys and values. */
export interface SlowQuery {
  /** The time at which it ran, in milliseconds since 1970, by the store's clock. */
  readonly at: number;
  /** Its duration in milliseconds. */
  readonly took: number;
  /** The command, such as `"KEYS"`. */
  readonly command: string;
  /** The node of a cluster that ran it. */
  readonly node?: string;
}

/** The store as it was when it was last asked. Numbers that it does not report are `null`. */
export interface StoreSample extends ServerNumbers {
  /** The time at which it was asked, in milliseconds. */
  readonly at: number;
  /** True if it answered, or some nodes of it. If it did not, the other numbers are those of its last answer. */
  readonly up: boolean;
  /** The reason why it, or one of its nodes, did not answer, without secrets; `null` if all did. */
  readonly error: string | null;
  /** The time until it answered, in milliseconds; of several nodes, that of the slowest. */
  readonly latency: number | null;
  /** Bytes that the server received from all clients since its start. */
  readonly received: number | null;
  /** Bytes that the server sent to all clients since its start. */
  readonly sent: number | null;
  /** Slow queries since the monitor was made, by the server's `slowlog-log-slower-than`. */
  readonly slowQueries: number | null;
  /** The latest slow queries, at most 16. */
  readonly slowest: readonly SlowQuery[];
  /**
   * The number of keys of each service, the library's own keys included. If services share a database of more than
   * 100,000 keys, it is estimated from as many.
   */
  readonly keys: Readonly<Record<string, number>> | null;
  /** The number of keys of each numbered database that is not empty, as the store reports it. */
  readonly databases: Readonly<Record<number, number>> | null;
  /** The nodes of a cluster, whose sums the numbers of the store are; none for one server. */
  readonly nodes: readonly NodeNumbers[];
}

/** The methods of a client that {@linkcode StoreWatch} uses. */
export interface LocatingClient {
  /** The name of the driver. */
  readonly driver: string;
  /** Returns the location of a service or database. */
  locate(of: LocationOf): Promise<Location>;
}

/** The number of entries that are read from the slow log. */
const SLOW_LOG = 64;
/** The number of slow queries that are kept. */
const KEPT = 16;
/** The time between scans that count keys, in milliseconds. */
const KEYS_EVERY = 300_000;

/** Asks the store, and remembers its last answer. */
export class StoreWatch {
  readonly #client: LocatingClient;
  readonly #timeout: number;
  readonly #scans: boolean;
  #last: StoreSample = UNKNOWN;
  #hasInfo = true;
  #hasSlowLog = true;
  /** The number of the newest slow query that was counted, by node. */
  #seen: ReadonlyMap<string, number> | undefined;
  #scanned = Number.NEGATIVE_INFINITY;
  readonly #growing = new GrowingCounts();
  /** The locations by service. They do not change, and the edge must not wait for them in each request. */
  readonly #locations = new Map<string, Location>();
  /** The services whose counts were found in the store. */
  readonly #counting = new Set<string>();

  /**
   * Creates a watch.
   *
   * @param client The client.
   * @param timeout The deadline of each question, in milliseconds.
   */
  constructor(client: LocatingClient, timeout: number) {
    this.#client = client;
    this.#timeout = timeout;
    // Over REST, each page of a scan is billed.
    this.#scans = client.driver !== "upstash";
  }

  /** Returns whether the store answers. Never rejects. */
  async answers(): Promise<boolean> {
    try {
      await (await this.#connection({ database: 0 })).ping();
      return true;
    } catch {
      return false;
    }
  }

  /**
   * Asks the store. Never rejects.
   *
   * @param now The time in milliseconds.
   * @param services The services whose keys are counted.
   */
  async sample(now: number, services: readonly string[]): Promise<StoreSample> {
    try {
      const connection = await this.#connection({ database: 0 });
      // The first question may wait for a connection, so it must not count as the time to answer.
      if (this.#last.at === 0 || !this.#last.up) await connection.ping();
      const start = performance.now();
      if (!this.#hasInfo) await connection.ping();
      const { info, nodes } = this.#hasInfo ? await readInfo(connection) : NOTHING;
      const asked = performance.now() - start;
      const lost = nodes.find(({ error }) => error !== null);
      this.#hasInfo &&= info.size > 0;
      this.#last = {
        at: now,
        up: true,
        error: lost ? `${lost.node}: ${lost.error}` : null,
        latency: nodes.length > 0 ? Math.max(...nodes.map(({ latency }) => latency ?? 0)) : asked,
        ...serverOf(info),
        nodes: nodes.map(nodeNumbers),
        received: infoNumber(info, "total_net_input_bytes"),
        sent: infoNumber(info, "total_net_output_bytes"),
        ...(await this.#slow(connection)),
        keys: await this.#keys(info, services, now),
        databases: this.#hasInfo ? databasesOf(info) : null,
      };
    } catch (thrown) {
      // The next answer may come from another server.
      this.#hasInfo = this.#hasSlowLog = true;
      const error = toStoreError(thrown).message;
      const nodes = this.#last.nodes.map((node) => ({ ...node, up: false, error, latency: null }));
      this.#last = { ...this.#last, at: now, up: false, error, latency: null, nodes };
    }
    return this.#last;
  }

  /**
   * Reads the counts of all processes. Never rejects.
   *
   * @param services The services.
   * @returns The counts by service, without those that could not be read.
   */
  async fleet(services: readonly string[]): Promise<Readonly<Record<string, FleetCounts>>> {
    const read = async (service: string): Promise<[string, FleetCounts] | undefined> => {
      try {
        const connection = await this.#connection({ service });
        const key = connection.own(STATS + service);
        // HGETALL of a missing key counts as a keyspace miss; MEMORY USAGE does not.
        const [memory] = this.#counting.has(service) ? [] : await connection.send([["MEMORY", "USAGE", key]]);
        const [reply] = memory === null ? [[]] : await connection.must([["HGETALL", key]]);
        const flat = reply as readonly RawReply[];
        if (flat.length > 0) this.#counting.add(service);
        else this.#counting.delete(service);
        return [service, this.#growing.next(service, toFleetCounts(flat))];
      } catch {
        return undefined;
      }
    };
    const found = await Promise.all(services.map(read));
    return Object.fromEntries(found.filter((counts) => counts !== undefined));
  }

  async #connection(of: { readonly database?: number; readonly service?: string }): Promise<ManagedConnection> {
    const name = `${of.service}`;
    const location = this.#locations.get(name) ?? (await this.#client.locate(of));
    this.#locations.set(name, location);
    return new ManagedConnection(location, undefined, undefined, this.#timeout);
  }

  async #slow(connection: ManagedConnection): Promise<Pick<StoreSample, "slowQueries" | "slowest">> {
    const { slowQueries, slowest } = this.#last;
    if (!this.#hasSlowLog) return { slowQueries, slowest };
    const all = await slowLog(connection, SLOW_LOG);
    if (!all) {
      this.#hasSlowLog = false;
      return { slowQueries, slowest };
    }
    const newest = new Map(this.#seen);
    const found: SlowEntry[] = [];
    for (const node of new Set(all.map(({ node = "" }) => node))) {
      const entries = all.filter((entry) => (entry.node ?? "") === node);
      const latest = Math.max(...entries.map(({ id }) => id));
      const known = this.#seen?.get(node) ?? (this.#seen ? -1 : latest);
      // A server that was restarted numbers from 0.
      const seen = latest < known ? -1 : known;
      newest.set(node, latest);
      found.push(...entries.filter(({ id, ofTools }) => id > seen && !ofTools));
    }
    this.#seen = newest;
    const more = found
      .sort((a, b) => b.at - a.at)
      .map(({ at, took, name, node }) => ({ at, took, command: name, ...(node !== undefined && { node }) }));
    return { slowQueries: (slowQueries ?? 0) + found.length, slowest: [...more, ...slowest].slice(0, KEPT) };
  }

  /**
   * Counts the keys of services. The store reports them for services that have a database of their own; the others are
   * counted by a scan every few minutes.
   */
  async #keys(
    info: ReadonlyMap<string, string>,
    services: readonly string[],
    now: number,
  ): Promise<StoreSample["keys"]> {
    const due = this.#scans && (now - this.#scanned >= KEYS_EVERY || now < this.#scanned);
    const keys: Record<string, number> = {};
    const measured: Location[] = [];
    const databases = databasesOf(info);
    for (const service of services) {
      const location = await this.#connection({ service }).then(
        (connection) => connection.location,
        () => undefined,
      );
      if (!location) continue;
      const alone = location.numbered && location.prefix === "";
      if (alone && this.#hasInfo) keys[service] = databases[location.database] ?? 0;
      else if (alone || due) measured.push(location);
      else if (this.#last.keys?.[service] !== undefined) keys[service] = this.#last.keys[service];
    }
    if (due) this.#scanned = now;
    const sizes = await sizesOf(measured, { timeout: this.#timeout });
    sizes.forEach((size, i) => {
      keys[(measured[i] as Location).service as string] = size.keys;
    });
    return keys;
  }
}

const NOTHING = { info: new Map() as Info, nodes: [] };

const UNKNOWN: StoreSample = {
  at: 0,
  up: true,
  error: null,
  latency: null,
  server: null,
  version: null,
  memoryUsed: null,
  memoryLimit: null,
  policy: null,
  evictions: null,
  expired: null,
  clients: null,
  hits: null,
  misses: null,
  commands: null,
  received: null,
  sent: null,
  slowQueries: null,
  slowest: [],
  keys: null,
  databases: null,
  nodes: [],
};
