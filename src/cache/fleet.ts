/** Statistics of all processes together: each process adds its counts to the store's, along with other commands. */
import { STATS } from "../base/own_keys.ts";
import { addCounts } from "../lua/entries.ts";
import { type CacheStats, COUNTS, type Counters, PER_OCTAVE } from "../telemetry/stats.ts";
import type { Batch } from "../wire/batch.ts";
import { type CallOptions, reportFailure, timeoutOf } from "./call.ts";
import type { CacheContext, CacheTelemetry, Keys } from "./context.ts";

/** The counts of caches or collections in all processes that count together, since they were first written. */
export interface FleetStats extends Omit<CacheStats, "latency"> {}

/** The counts of {@linkcode FleetStats}. */
type FleetSum = Record<(typeof COUNTS)[number], number>;

/** The milliseconds between additions. A process adds its first counts at once, because it may not live long. */
const EVERY_MS = 10_000;

/**
 * Returns the numbers of counters that are added in the store, by name: the counts, and as `t0`, `t1` and so on how
 * many operations took 1 to 2 microseconds, 2 to 4 microseconds and so on.
 */
function numbersOf(counters: Counters): Record<string, number> {
  const numbers: Record<string, number> = {};
  for (const name of COUNTS) numbers[name] = counters[name];
  counters.latency.forEach((n, i) => {
    const name = `t${Math.floor(i / PER_OCTAVE)}`;
    numbers[name] = (numbers[name] ?? 0) + n;
  });
  return numbers;
}

/** Adds the counts of this process to those in the store, and reads the sums. */
export class Fleet {
  readonly #sources: {
    readonly counters: Counters;
    readonly name: string;
    readonly key: string;
    sent: Record<string, number>;
  }[] = [];
  #last = Number.NEGATIVE_INFINITY;

  /** Includes the counters of a cache from now on. Counters that the clients of several requests share count once. */
  add({ space, counters, target }: Pick<Keys, "space"> & CacheTelemetry): void {
    if (this.#sources.some((source) => source.counters === counters)) return;
    const key = space.own(STATS + target.service);
    this.#sources.push({ counters, name: target.collection, key, sent: numbersOf(counters) });
  }

  /** Adds new counts to the commands that are about to leave. Called before each send, and at the end. */
  ride(batch: Batch, timeout: number, last = false): void {
    const now = performance.now();
    if (now - this.#last < EVERY_MS && !last) return;
    const news = new Map<string, (string | number)[]>();
    for (const source of this.#sources) {
      const { name, key, sent } = source;
      source.sent = numbersOf(source.counters);
      for (const [count, number] of Object.entries(source.sent)) {
        const added = number - (sent[count] as number);
        if (added > 0) news.set(key, [...(news.get(key) ?? []), `${name}:${count}`, added]);
      }
    }
    if (news.size === 0) return;
    this.#last = now;
    for (const [key, args] of news) batch.run(addCounts, [key], args, timeout, false).catch(() => {});
  }

  /**
   * Reads the counts of all processes.
   *
   * @param contexts The caches to take together, of one service.
   * @param options Deadline and error handling.
   * @returns Their sum, zeros if no client has `fleetStats` on; `undefined` if the store is away.
   */
  async read(contexts: readonly CacheContext[], options?: CallOptions): Promise<FleetStats | undefined> {
    const [first] = contexts as [CacheContext];
    const { space, batch, target } = first;
    const key = space.own(STATS + target.service);
    const timeout = timeoutOf(first, options);
    let reply: unknown;
    try {
      reply = await batch.send(["HGETALL", key], [key], timeout, true);
    } catch (error) {
      return reportFailure(first, "fleetStats", error, options);
    }
    const names = new Set(contexts.map((context) => context.target.collection));
    return parseFleet(reply as string[], (collection) => names.has(collection));
  }
}

/** Returns counts of nothing. */
function noCounts(): FleetSum {
  return Object.fromEntries(COUNTS.map((name) => [name, 0])) as FleetSum;
}

/**
 * Adds up the counts of a service in all processes.
 *
 * @param fields The store's hash: names and numbers in turn.
 * @param takes Whether a collection's counts are taken; takes the other numbers, such as `t0`, too. @default all
 * @returns The counts and their hit rate.
 */
export function parseFleet(
  fields: readonly string[],
  takes: (collection: string, name: string, number: number) => boolean = () => true,
): FleetStats {
  const sum = noCounts();
  for (let i = 0; i < fields.length; i += 2) {
    const [collection = "", name = ""] = (fields[i] as string).split(":");
    const number = Number(fields[i + 1]);
    if (takes(collection, name, number) && Object.hasOwn(sum, name)) sum[name as keyof FleetSum] += number;
  }
  const reads = sum.hits + sum.misses;
  return { ...sum, hitRate: reads > 0 ? sum.hits / reads : 0 };
}
