/** Series: the counts of a cache or a collection, as samples that only grow, and their differences. */
import type { StoreErrorKind } from "../../drivers/driver.ts";
import { COUNTS, Counters, type LiveCounters, PER_OCTAVE } from "../telemetry/stats.ts";

/** Times of operations, in milliseconds. Percentiles and the maximum are exact to 5 %. */
export interface Times {
  /** The number of operations that were timed. */
  readonly count: number;
  /** The sum of their times. */
  readonly total: number;
  /** The median. */
  readonly p50: number;
  /** The 95th percentile. */
  readonly p95: number;
  /** The 99th percentile. */
  readonly p99: number;
  /** The maximum. */
  readonly max: number;
}

/** Counts, since the client was made or in a window. */
export interface Counted {
  /** Reads that found a value. */
  readonly hits: number;
  /** Hits that were stale. */
  readonly staleHits: number;
  /** Hits that the near cache answered. */
  readonly nearHits: number;
  /** Reads that found no value, failed reads included. */
  readonly misses: number;
  /** `hits / (hits + misses)`; `null` without reads. */
  readonly hitRate: number | null;
  /** Entries written. */
  readonly writes: number;
  /** Entries deleted. */
  readonly deletes: number;
  /** Loaders run. */
  readonly loads: number;
  /** Loaders that failed or took too long. This count and those below begin when the monitor is made. */
  readonly loadErrors: number;
  /** Operations that failed. */
  readonly errors: number;
  /** Errors by kind, since the monitor was made. */
  readonly errorKinds: Readonly<Record<StoreErrorKind, number>>;
  /** Entries that could not be read back. */
  readonly corrupt: number;
  /** Loads that waited for another process. */
  readonly lockWaits: number;
  /** Locks that expired before they were released. */
  readonly lostLocks: number;
  /** Near entries dropped because the store reported changes, or could no longer report them. */
  readonly nearInvalidations: number;
  /** Invalidations of tags, or of everything. */
  readonly invalidations: number;
  /** Times of operations, without loaders and near hits. */
  readonly latency: Times;
  /** Times of loaders. */
  readonly loadTime: Times;
}

/** The kinds of errors. */
export const ERROR_KINDS: readonly StoreErrorKind[] = [
  "command",
  "connection",
  "timeout",
  "auth",
  "limit",
  "protocol",
  "closed",
];

/** Descriptions of the counts, for exporters. */
export const HELP: Readonly<Record<(typeof COUNTS)[number], string>> = {
  hits: "Reads that found a value",
  staleHits: "Hits that were stale",
  nearHits: "Hits that the near cache answered",
  misses: "Reads that found no value, failed reads included",
  writes: "Entries written",
  deletes: "Entries deleted",
  loads: "Loaders run",
  errors: "Operations that failed",
  corrupt: "Entries that could not be read back",
};

/** Turns a name into the style of metrics: `staleHits` into `stale_hits`. */
export function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Counts that come from events. */
const HEARD = ["loadErrors", "lockWaits", "lostLocks", "nearInvalidations", "invalidations"] as const;
/** The name of a number of a {@linkcode Sample}. */
export type Name = (typeof COUNTS)[number] | (typeof HEARD)[number] | StoreErrorKind | "spent" | "loadSpent";
const NAMES: readonly Name[] = [...COUNTS, "spent", ...HEARD, "loadSpent", ...ERROR_KINDS];
const INDEX = Object.fromEntries(NAMES.map((name, i) => [name, i])) as Readonly<Record<Name, number>>;

/** The numbers of one series at one time. It does not change. */
export interface Sample {
  /** The counts, by the index of their name. */
  readonly counts: Float64Array;
  /** The number of operations in each bucket of time. */
  readonly latency: Uint32Array;
  /** The number of loaders in each bucket of time. */
  readonly loads: Uint32Array;
}

/** Returns one number of a sample. */
export function countOf({ counts }: Sample, name: Name): number {
  return counts[INDEX[name]] as number;
}

/** The counts of one series that come from events. */
export class Tally {
  /** The counts by name. */
  readonly heard: Record<(typeof HEARD)[number], number> = {
    loadErrors: 0,
    lockWaits: 0,
    lostLocks: 0,
    nearInvalidations: 0,
    invalidations: 0,
  };
  /** Errors by kind. */
  readonly kinds: Record<StoreErrorKind, number> = Object.fromEntries(ERROR_KINDS.map((kind) => [kind, 0])) as never;
  /** The times of loaders. */
  readonly loads: Counters = new Counters();
}

const BUCKETS = new Counters().latency.length;
/** A sample without operations. */
export const NOTHING: Sample = sampleOf([], undefined);

/** Returns the current numbers of a series. */
export function sampleOf(all: readonly LiveCounters[], tally: Tally | undefined): Sample {
  const counts = new Float64Array(NAMES.length);
  const latency = new Uint32Array(BUCKETS);
  const add = (name: Name, value: number): void => {
    counts[INDEX[name]] = (counts[INDEX[name]] as number) + value;
  };
  for (const one of all) {
    for (const name of COUNTS) add(name, one[name]);
    add("spent", one.spent);
    plus(latency, one.latency);
  }
  if (tally) {
    for (const name of HEARD) add(name, tally.heard[name]);
    for (const kind of ERROR_KINDS) add(kind, tally.kinds[kind]);
    add("loadSpent", tally.loads.spent);
  }
  return { counts, latency, loads: tally ? tally.loads.latency.slice() : new Uint32Array(BUCKETS) };
}

/** Returns whether two samples hold the same numbers. */
export function equal(a: Sample, b: Sample): boolean {
  return a === b || (same(a.counts, b.counts) && same(a.latency, b.latency) && same(a.loads, b.loads));
}

/** Returns the sum of samples. */
export function sumOf(samples: readonly Sample[]): Sample {
  if (samples.length === 1) return samples[0] as Sample;
  const sum = sampleOf([], undefined);
  for (const { counts, latency, loads } of samples) {
    plus(sum.counts, counts);
    plus(sum.latency, latency);
    plus(sum.loads, loads);
  }
  return sum;
}

/** Returns what was counted between two samples of a series. */
export function sampleDifference(now: Sample, then: Sample): Sample {
  if (now === then) return NOTHING;
  return {
    counts: minus(now.counts.slice(), then.counts),
    latency: minus(now.latency.slice(), then.latency),
    loads: minus(now.loads.slice(), then.loads),
  };
}

/** Returns the counts of a sample by name. */
export function counted(sample: Sample): Counted {
  const of = (name: Name): number => countOf(sample, name);
  const names = [...COUNTS, ...HEARD] as const;
  const numbers = Object.fromEntries(names.map((name) => [name, of(name)])) as Record<(typeof names)[number], number>;
  return {
    ...numbers,
    hitRate: rateOf(numbers.hits, numbers.misses),
    errorKinds: Object.fromEntries(ERROR_KINDS.map((kind) => [kind, of(kind)])) as Record<StoreErrorKind, number>,
    latency: timesOf(sample.latency, of("spent")),
    loadTime: timesOf(sample.loads, of("loadSpent")),
  };
}

function timesOf(buckets: Uint32Array, total: number): Times {
  let count = 0;
  for (let i = 0; i < buckets.length; i++) count += buckets[i] as number;
  if (count === 0) return NO_TIMES;
  let [i, seen] = [-1, 0];
  // The shares are passed in rising order, so that one walk over the buckets is enough.
  const at = (share: number): number => {
    while (seen < count * share) seen += buckets[++i] as number;
    return 2 ** ((i + 0.5) / PER_OCTAVE) / 1000;
  };
  return { count, total, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}

/** Returns `hits / (hits + misses)`, or `null` without reads. */
export function rateOf(hits: number, misses: number): number | null {
  return hits + misses > 0 ? hits / (hits + misses) : null;
}

const NO_TIMES: Times = { count: 0, total: 0, p50: 0, p95: 0, p99: 0, max: 0 };

/** The bounds of exported histograms, in microseconds: powers of two, where buckets end. */
export const BOUNDS: readonly number[] = Array.from({ length: 19 }, (_, i) => 2 ** (i + 6));

/** Returns the number of operations that took at most each of the {@linkcode BOUNDS}, and the number of all. */
export function cumulative(buckets: Uint32Array): { readonly counts: readonly number[]; readonly count: number } {
  let below = 0;
  let next = 0;
  const counts = BOUNDS.map((bound) => {
    for (; next < Math.log2(bound) * PER_OCTAVE; next++) below += buckets[next] as number;
    return below;
  });
  for (; next < buckets.length; next++) below += buckets[next] as number;
  return { counts, count: below };
}

type Numbers = Uint32Array | Float64Array;

// Plain loops, because these run over every bucket of every series with each sample.
function plus(sum: Numbers, other: Numbers): void {
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (other[i] as number);
}

function minus<T extends Numbers>(from: T, other: T): T {
  for (let i = 0; i < from.length; i++) from[i] = (from[i] as number) - (other[i] as number);
  return from;
}

function same(a: Numbers, b: Numbers): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
