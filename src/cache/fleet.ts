/** Statistics of all processes together: counts that ride to the store with what is sent anyway. */

import { addCounts } from "../lua/entries.ts";
import { type CacheStats, COUNTS, type Counters, PER_OCTAVE } from "../telemetry/stats.ts";
import type { Batch } from "../wire/batch.ts";
import { type CallOptions, failed, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";

/** What caches or collections did in all processes that count together, since their counts were first written. */
export interface FleetStats extends Omit<CacheStats, "latency"> {}

/** How often an instance adds its counts, in milliseconds: the first time at once, for it may not live long. */
const EVERY_MS = 10_000;

/** What is added of counters, by name: the counts, and as `t0` and so on how many operations took from 2^0 to 2^1 microseconds and so on. */
function numbersOf(counters: Counters): Record<string, number> {
  const numbers: Record<string, number> = {};
  for (const name of COUNTS) numbers[name] = counters[name];
  counters.latency.forEach((n, i) => {
    const name = `t${Math.floor(i / PER_OCTAVE)}`;
    numbers[name] = (numbers[name] ?? 0) + n;
  });
  return numbers;
}

/** Adds what an instance counts to the store's counts. */
export class Fleet {
  readonly #sources: {
    readonly counters: Counters;
    readonly name: string;
    readonly key: string;
    sent: Record<string, number>;
  }[] = [];
  #last = Number.NEGATIVE_INFINITY;

  /** Counts what a cache's counters count from now on; once, however many clients of requests have the cache. */
  add({ counters, target, space }: Pick<CacheContext, "counters" | "target" | "space">): void {
    if (this.#sources.some((source) => source.counters === counters)) return;
    const key = space.own(`stats:${target.service}`);
    this.#sources.push({ counters, name: target.collection, key, sent: numbersOf(counters) });
  }

  /** Called when commands are about to leave, and at the end: sends what is new along. */
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
}

/**
 * Reads the fleet's counts.
 *
 * @param contexts The caches to take together, of one service.
 * @param options Deadline and error handling.
 * @returns Their sum, zeros where no client has `fleetStats` on; `undefined` when the store is away.
 */
export async function fleetStats(
  contexts: readonly CacheContext[],
  options?: CallOptions,
): Promise<FleetStats | undefined> {
  const [first] = contexts as [CacheContext];
  const { space, batch, target } = first;
  const key = space.own(`stats:${target.service}`);
  const timeout = timeoutOf(first, options);
  let reply: unknown;
  try {
    reply = await batch.send(["HGETALL", key], [key], timeout, true);
  } catch (error) {
    return failed(first, "fleetStats", error, options);
  }
  const names = new Set(contexts.map((context) => context.target.collection));
  const sum = Object.fromEntries(COUNTS.map((name) => [name, 0])) as Record<(typeof COUNTS)[number], number>;
  const flat = reply as string[];
  for (let i = 0; i < flat.length; i += 2) {
    const [collection = "", count = ""] = String(flat[i]).split(":");
    if (names.has(collection) && Object.hasOwn(sum, count)) sum[count as keyof typeof sum] += Number(flat[i + 1]);
  }
  const reads = sum.hits + sum.misses;
  return { ...sum, hitRate: reads > 0 ? sum.hits / reads : 0 };
}
