/** The store's own numbers, asked for past the client's batches: what is asked here counts for no service. */
import type { RawReply } from "../../drivers/driver.ts";
import { toStoreError } from "../base/foreign_error.ts";
import type { FleetStats } from "../cache/fleet.ts";
import type { Location, LocationOf } from "../client/client.ts";
import { ManagedConnection } from "../manager/connection.ts";
import { fleetCounts, infoNumber, readInfo, type ServerNumbers, serverOf } from "../manager/inspect.ts";
import { slowLog } from "../manager/slow_log.ts";
import { COUNTS } from "../telemetry/stats.ts";
import { sizesOf } from "./sizes.ts";

/** One slow query: the command's name only, for arguments are keys and values. */
export interface SlowQuery {
  /** When it ran, in milliseconds since 1970, by the store's clock. */
  readonly at: number;
  /** How long it took, in milliseconds. */
  readonly took: number;
  /** The command, such as `"KEYS"`. */
  readonly command: string;
}

/** The store as it was when it was last asked; what it cannot tell is `null`. */
export interface StoreSample extends ServerNumbers {
  /** When it was asked, in milliseconds. */
  readonly at: number;
  /** Whether it answered. Where it did not, the rest is from when it last did. */
  readonly up: boolean;
  /** Why it did not answer, without secrets; `null` where it did. */
  readonly error: string | null;
  /** How long it took to answer, in milliseconds. */
  readonly latency: number | null;
  /** Bytes that the server received since its start, of all its users. */
  readonly received: number | null;
  /** Bytes that the server sent since its start, to all its users. */
  readonly sent: number | null;
  /** Slow queries since the monitor was made: what the server's `slowlog-log-slower-than` says is slow. */
  readonly slowQueries: number | null;
  /** The latest of them, 16 at the most. */
  readonly slowest: readonly SlowQuery[];
  /** The keys of each service, the library's own included; estimated from 100,000 where services share a database of more. */
  readonly keys: Readonly<Record<string, number>> | null;
  /** The keys of each numbered database that has some, as the store tells it. */
  readonly databases: Readonly<Record<number, number>> | null;
}

/** What a fleet counted for one service. Where the store lost its counts meanwhile, what was known of them before is in it. */
export interface FleetCounts extends Omit<FleetStats, "hitRate"> {
  /** How many operations took from 2^i to 2^(i + 1) microseconds, by i; loaders and near hits aside. */
  readonly octaves: readonly number[];
}

/** How long operations of a fleet took, in milliseconds; a percentile is interpolated within an octave. */
export interface FleetTimes {
  /** How many were timed. */
  readonly count: number;
  /** The median; `null` without operations. */
  readonly p50: number | null;
  /** What 95 of 100 stayed below. */
  readonly p95: number | null;
  /** What 99 of 100 stayed below. */
  readonly p99: number | null;
}

/** The times that octaves tell. */
export function fleetTimes(octaves: readonly number[]): FleetTimes {
  const count = octaves.reduce((sum, n) => sum + n, 0);
  const at = (share: number): number | null => {
    let below = 0;
    const octave = octaves.findIndex((n) => {
      below += n;
      return below >= count * share && n > 0;
    });
    const within = octaves[octave];
    if (within === undefined) return null;
    return 2 ** (octave + 1 - (below - count * share) / within) / 1000;
  };
  return { count, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

/** What is needed of a client here. */
export interface Placed {
  /** The name of the driver. */
  readonly driver: string;
  /** Where keys live. */
  locate(of: LocationOf): Promise<Location>;
}

/** How many entries of the slow log are asked for. */
const SLOW_LOG = 64;
/** How many slow queries are kept. */
const KEPT = 16;
/** How often keys are counted that have to be looked at, in milliseconds. */
const KEYS_EVERY = 300_000;

/** Asks the store, and remembers what it said. */
export class StoreWatch {
  readonly #client: Placed;
  readonly #timeout: number;
  readonly #scans: boolean;
  #last: StoreSample = UNKNOWN;
  #hasInfo = true;
  #hasSlowLog = true;
  /** The number of the newest slow query that was seen. */
  #seen: number | undefined;
  #counted = Number.NEGATIVE_INFINITY;
  /** The last counts of each service, and what is added to them. */
  readonly #grow = new Map<string, { readonly last: FleetCounts; readonly offset: FleetCounts | undefined }>();
  /** The services that processes count together for. */
  readonly #counting = new Set<string>();
  /** To find a place its configuration is read: once. */
  readonly #places = new Map<string, Location>();

  /**
   * @param client The client.
   * @param timeout The deadline of each question, in milliseconds.
   */
  constructor(client: Placed, timeout: number) {
    this.#client = client;
    this.#timeout = timeout;
    // Over REST each page is billed.
    this.#scans = client.driver !== "upstash";
  }

  /** Whether the store answers. Never throws. */
  async answers(): Promise<boolean> {
    try {
      await (await this.#wire({ database: 0 })).ping();
      return true;
    } catch {
      return false;
    }
  }

  /**
   * Asks the store. Never throws.
   *
   * @param now The time in milliseconds.
   * @param services Whose keys are counted.
   */
  async sample(now: number, services: readonly string[]): Promise<StoreSample> {
    try {
      const wire = await this.#wire({ database: 0 });
      // To connect is no answer: the first question only waits for that.
      if (this.#last.at === 0 || !this.#last.up) await wire.ping();
      const start = performance.now();
      if (!this.#hasInfo) await wire.ping();
      const info = this.#hasInfo ? await readInfo(wire) : new Map<string, string>();
      const latency = performance.now() - start;
      this.#hasInfo &&= info.size > 0;
      this.#last = {
        at: now,
        up: true,
        error: null,
        latency,
        ...serverOf(info),
        received: infoNumber(info, "total_net_input_bytes"),
        sent: infoNumber(info, "total_net_output_bytes"),
        ...(await this.#slow(wire)),
        keys: await this.#keys(info, services, now),
        databases: this.#hasInfo ? databasesOf(info) : null,
      };
    } catch (thrown) {
      // The one that comes back may be another one.
      this.#hasInfo = this.#hasSlowLog = true;
      this.#last = { ...this.#last, at: now, up: false, error: toStoreError(thrown).message, latency: null };
    }
    return this.#last;
  }

  /**
   * Reads what the fleet counted. Never throws.
   *
   * @param services The services to ask for.
   * @returns The counts by service; without those that could not be read.
   */
  async fleet(services: readonly string[]): Promise<Readonly<Record<string, FleetCounts>>> {
    const read = async (service: string): Promise<[string, FleetCounts] | undefined> => {
      try {
        const wire = await this.#wire({ service });
        const key = wire.own(`stats:${service}`);
        // To read what is not there would be a miss each time; this is none.
        const [there] = this.#counting.has(service) ? [] : await wire.send([["MEMORY", "USAGE", key]]);
        const [reply] = there === null ? [[]] : await wire.must([["HGETALL", key]]);
        const flat = reply as readonly RawReply[];
        if (flat.length > 0) this.#counting.add(service);
        else this.#counting.delete(service);
        return [service, this.#grown(service, countsOf(flat))];
      } catch {
        return undefined;
      }
    };
    const found = await Promise.all(services.map(read));
    return Object.fromEntries(found.filter((one) => one !== undefined));
  }

  /**
   * Counts that only grow. Where some fell, the store was emptied, or has come back with older ones, or someone deleted them: then they go on from
   * what was known.
   */
  #grown(service: string, counts: FleetCounts): FleetCounts {
    const { last, offset } = this.#grow.get(service) ?? { last: counts, offset: undefined };
    const fell = COUNTS.some((name) => counts[name] < last[name]);
    const more = fell ? plus(plus(last, offset), counts, -1) : offset;
    this.#grow.set(service, { last: counts, offset: more });
    return plus(counts, more);
  }

  async #wire(of: { readonly database?: number; readonly service?: string }): Promise<ManagedConnection> {
    const name = `${of.service}`;
    const place = this.#places.get(name) ?? (await this.#client.locate(of));
    this.#places.set(name, place);
    return new ManagedConnection(place, undefined, undefined, this.#timeout);
  }

  async #slow(wire: ManagedConnection): Promise<Pick<StoreSample, "slowQueries" | "slowest">> {
    const { slowQueries, slowest } = this.#last;
    if (!this.#hasSlowLog) return { slowQueries, slowest };
    const all = await slowLog(wire, SLOW_LOG);
    if (!all) {
      this.#hasSlowLog = false;
      return { slowQueries, slowest };
    }
    const newest = Math.max(-1, ...all.map(({ id }) => id));
    // A server that began anew numbers from 0.
    const seen = this.#seen !== undefined && newest < this.#seen ? -1 : (this.#seen ?? newest);
    this.#seen = newest;
    const found = all.filter(({ id, ofTools }) => id > seen && !ofTools);
    const more = found.map(({ at, took, name }) => ({ at, took, command: name }));
    return { slowQueries: (slowQueries ?? 0) + found.length, slowest: [...more, ...slowest].slice(0, KEPT) };
  }

  /** How many keys services have: as the store tells where each has a database, otherwise by looking at them, now and then. */
  async #keys(
    info: ReadonlyMap<string, string>,
    services: readonly string[],
    now: number,
  ): Promise<StoreSample["keys"]> {
    const due = this.#scans && (now - this.#counted >= KEYS_EVERY || now < this.#counted);
    const keys: Record<string, number> = {};
    const measured: Location[] = [];
    const told = databasesOf(info);
    for (const service of services) {
      const place = await this.#wire({ service }).then(
        (wire) => wire.location,
        () => undefined,
      );
      if (!place) continue;
      const own = place.numbered && place.prefix === "";
      if (own && this.#hasInfo) keys[service] = told[place.database] ?? 0;
      else if (own || due) measured.push(place);
      else if (this.#last.keys?.[service] !== undefined) keys[service] = this.#last.keys[service];
    }
    if (due) this.#counted = now;
    const sizes = await sizesOf(measured, { timeout: this.#timeout });
    sizes.forEach((size, i) => {
      keys[(measured[i] as Location).service as string] = size.keys;
    });
    return keys;
  }
}

/** How many keys each numbered database has. */
function databasesOf(info: ReadonlyMap<string, string>): Record<number, number> {
  const found: Record<number, number> = {};
  for (const [name, value] of info) {
    const [, database] = /^db(\d+)$/.exec(name) ?? [];
    if (database !== undefined) found[Number(database)] = Number(/keys=(\d+)/.exec(value)?.[1] ?? 0);
  }
  return found;
}

function plus(counts: FleetCounts, more: FleetCounts | undefined, times = 1): FleetCounts {
  if (!more) return counts;
  const sums = Object.fromEntries(COUNTS.map((name) => [name, counts[name] + times * more[name]]));
  const length = Math.max(counts.octaves.length, more.octaves.length);
  const octaves = Array.from({ length }, (_, i) => (counts.octaves[i] ?? 0) + times * (more.octaves[i] ?? 0));
  return { ...(sums as Record<(typeof COUNTS)[number], number>), octaves };
}

/** The counts of all collections of a service. */
function countsOf(flat: readonly RawReply[]): FleetCounts {
  const octaves: number[] = [];
  const sum = Object.fromEntries(COUNTS.map((name) => [name, 0])) as Record<(typeof COUNTS)[number], number>;
  for (const [name, number] of fleetCounts(flat)) {
    const [, octave] = /^t(\d{1,2})$/.exec(name) ?? [];
    if (octave !== undefined) octaves[Number(octave)] = (octaves[Number(octave)] ?? 0) + number;
    else if (Object.hasOwn(sum, name)) sum[name as keyof typeof sum] += number;
  }
  return { ...sum, octaves: Array.from(octaves, (n) => n ?? 0) };
}

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
};
