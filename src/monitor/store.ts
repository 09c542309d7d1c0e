/** The store's own numbers, asked for past the client's batches: what is asked here counts for no service. */
import { type RawReply, StoreError } from "../../drivers/driver.ts";
import type { Place, PlaceOf } from "../client.ts";
import type { FleetStats } from "../fleet.ts";
import { numberOf, readInfo, type ServerNumbers, serverOf } from "../manager/inspect.ts";
import { Wire, word } from "../manager/wire.ts";
import { COUNTS } from "../stats.ts";

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
  /** The keys of each service, the library's own included; up to 100,000 where they share a database. */
  readonly keys: Readonly<Record<string, number>> | null;
}

/** What a fleet counted for one service. */
export interface FleetCounts extends Omit<FleetStats, "hitRate"> {}

/** What is needed of a client here. */
export interface Placed {
  /** The name of the driver. */
  readonly driver: string;
  /** Where keys live. */
  place(of: PlaceOf): Promise<Place>;
}

/** How many entries of the slow log are asked for. */
const SLOW_LOG = 64;
/** How many slow queries are kept. */
const KEPT = 16;
/** How often keys are counted that have to be looked at, in milliseconds, and how many at the most. */
const KEYS_EVERY = 300_000;
const MAX_KEYS = 100_000;

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
  /** To find a place its configuration is read: once. */
  readonly #places = new Map<string, Place>();

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
      await (await this.#wire({ database: 0 })).must([["PING"]]);
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
      const start = performance.now();
      if (!this.#hasInfo) await wire.must([["PING"]]);
      const info = this.#hasInfo ? await readInfo(wire) : new Map<string, string>();
      const latency = performance.now() - start;
      this.#hasInfo &&= info.size > 0;
      this.#last = {
        at: now,
        up: true,
        latency,
        ...serverOf(info),
        received: numberOf(info, "total_net_input_bytes"),
        sent: numberOf(info, "total_net_output_bytes"),
        ...(await this.#slow(wire)),
        keys: this.#hasInfo ? await this.#keys(info, services, now) : null,
      };
    } catch {
      // The one that comes back may be another one.
      this.#hasInfo = this.#hasSlowLog = true;
      this.#last = { ...this.#last, at: now, up: false, latency: null };
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
        const [reply] = await wire.must([["HGETALL", wire.own(`stats:${service}`)]]);
        const sum = Object.fromEntries(COUNTS.map((name) => [name, 0])) as Record<keyof FleetCounts, number>;
        const flat = reply as readonly RawReply[];
        for (let i = 0; i < flat.length; i += 2) {
          const name = word(flat[i]).split(":")[1] ?? "";
          if (Object.hasOwn(sum, name)) sum[name as keyof FleetCounts] += Number(word(flat[i + 1]));
        }
        return [service, sum];
      } catch {
        return undefined;
      }
    };
    const found = await Promise.all(services.map(read));
    return Object.fromEntries(found.filter((one) => one !== undefined));
  }

  async #wire(of: { readonly database?: number; readonly service?: string }): Promise<Wire> {
    const name = `${of.service}`;
    const place = this.#places.get(name) ?? (await this.#client.place(of));
    this.#places.set(name, place);
    return new Wire(place, undefined, undefined, this.#timeout);
  }

  async #slow(wire: Wire): Promise<Pick<StoreSample, "slowQueries" | "slowest">> {
    const { slowQueries, slowest } = this.#last;
    if (!this.#hasSlowLog) return { slowQueries, slowest };
    const [reply] = await wire.send([["SLOWLOG", "GET", SLOW_LOG]]);
    if (reply instanceof StoreError || !Array.isArray(reply)) {
      this.#hasSlowLog = false;
      return { slowQueries, slowest };
    }
    const entries = (reply as RawReply[][]).map(([id, at, took, args]) => ({
      id: Number(id),
      at: Number(at) * 1000,
      took: Number(took) / 1000,
      command: word((args as RawReply[])[0])
        .toUpperCase()
        .slice(0, 40),
    }));
    const newest = Math.max(-1, ...entries.map(({ id }) => id));
    // A server that began anew numbers from 0.
    const seen = this.#seen !== undefined && newest < this.#seen ? -1 : (this.#seen ?? newest);
    this.#seen = newest;
    const found = entries.filter(({ id, command }) => id > seen && !/^(SLOWLOG|INFO)$/.test(command));
    const more = found.map(({ at, took, command }) => ({ at, took, command }));
    return { slowQueries: (slowQueries ?? 0) + found.length, slowest: [...more, ...slowest].slice(0, KEPT) };
  }

  /** How many keys services have: by INFO where each has a database, otherwise by looking at them, now and then. */
  async #keys(
    info: ReadonlyMap<string, string>,
    services: readonly string[],
    now: number,
  ): Promise<StoreSample["keys"]> {
    const keys: Record<string, number> = {};
    const scans = this.#scans && (now - this.#counted >= KEYS_EVERY || now < this.#counted);
    for (const service of services) {
      const wire = await this.#wire({ service }).catch(() => undefined);
      if (!wire) continue;
      const { numbered, database, prefix } = wire.place;
      if (numbered && prefix === "") {
        keys[service] = Number(/keys=(\d+)/.exec(info.get(`db${database}`) ?? "")?.[1] ?? 0);
      } else if (scans) {
        let count = 0;
        for await (const page of wire.scan("*", 1000)) {
          count += page.length;
          if (count >= MAX_KEYS) break;
        }
        keys[service] = Math.min(count, MAX_KEYS);
        this.#counted = now;
      } else {
        const known = this.#last.keys?.[service];
        if (known !== undefined) keys[service] = known;
      }
    }
    return keys;
  }
}

const UNKNOWN: StoreSample = {
  at: 0,
  up: true,
  latency: null,
  version: null,
  memoryUsed: null,
  memoryLimit: null,
  policy: null,
  evictions: null,
  expired: null,
  clients: null,
  received: null,
  sent: null,
  slowQueries: null,
  slowest: [],
  keys: null,
};
