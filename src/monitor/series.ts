/** What one cache or collection did, as numbers that only grow, and what it did in a span of time. */
import type { StoreErrorKind } from "../../drivers/driver.ts";
import { COUNTS, Counters, type LiveCounters, PER_OCTAVE } from "../telemetry/stats.ts";

/** How long operations took, in milliseconds; percentiles and the longest are exact to 5 %. */
export interface Times {
  /** How many were timed. */
  readonly count: number;
  /** How long they took together. */
  readonly total: number;
  /** The median. */
  readonly p50: number;
  /** What 95 of 100 stayed below. */
  readonly p95: number;
  /** What 99 of 100 stayed below. */
  readonly p99: number;
  /** The longest. */
  readonly max: number;
}

/** What was counted, since the client was made or in a window. */
export interface Counted {
  /** Reads that found a value. */
  readonly hits: number;
  /** Those of `hits` that were stale. */
  readonly staleHits: number;
  /** Those of `hits` that the near cache answered. */
  readonly nearHits: number;
  /** Reads that found none, failed ones included. */
  readonly misses: number;
  /** `hits / (hits + misses)`; `null` without reads. */
  readonly hitRate: number | null;
  /** Entries written. */
  readonly writes: number;
  /** Entries deleted. */
  readonly deletes: number;
  /** Loaders run. */
  readonly loads: number;
  /** Loaders that failed or took too long, since the monitor was made, as all below. */
  readonly loadErrors: number;
  /** Operations that failed. */
  readonly errors: number;
  /** Those of `errors` that the monitor heard of, by kind. */
  readonly errorKinds: Readonly<Record<StoreErrorKind, number>>;
  /** Entries that could not be read back. */
  readonly corrupt: number;
  /** Loads that waited for another process. */
  readonly lockWaits: number;
  /** Locks lost before they were given up. */
  readonly lostLocks: number;
  /** Near entries forgotten because the store told of changes, or could not tell any more. */
  readonly nearInvalidations: number;
  /** Invalidations of tags, or of everything. */
  readonly invalidations: number;
  /** How long operations took, loaders and near hits aside. */
  readonly latency: Times;
  /** How long loaders took. */
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

/** What is counted, in words. */
export const HELP: Readonly<Record<(typeof COUNTS)[number], string>> = {
  hits: "Reads that found a value",
  staleHits: "Reads that found a stale value, among the hits",
  nearHits: "Reads that the near cache answered, among the hits",
  misses: "Reads that found none",
  writes: "Entries written",
  deletes: "Entries deleted",
  loads: "Loaders run",
  errors: "Operations that failed",
  corrupt: "Entries that could not be read back",
};

/** A name in the style of metrics. */
export function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** What events tell and counters lack. */
const HEARD = ["loadErrors", "lockWaits", "lostLocks", "nearInvalidations", "invalidations"] as const;
/** What a {@linkcode Sample} holds. */
export type Name = (typeof COUNTS)[number] | (typeof HEARD)[number] | StoreErrorKind | "spent" | "loadSpent";
const NAMES: readonly Name[] = [...COUNTS, "spent", ...HEARD, "loadSpent", ...ERROR_KINDS];
const INDEX = Object.fromEntries(NAMES.map((name, i) => [name, i])) as Readonly<Record<Name, number>>;

/** The numbers of one series at one time. Not changed after it was made. */
export interface Sample {
  /** By the index of their names. */
  readonly counts: Float64Array;
  /** How many operations fell into each bucket of time. */
  readonly latency: Uint32Array;
  /** How many loaders did. */
  readonly loads: Uint32Array;
}

/** One number of a sample. */
export function countOf({ counts }: Sample, name: Name): number {
  return counts[INDEX[name]] as number;
}

/** What was heard of one series by events. */
export class Tally {
  /** What was heard. */
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
/** No operation. */
export const NOTHING: Sample = sampleOf([], undefined);

/** The numbers of a series now. */
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

/** Whether two samples hold the same numbers. */
export function equal(a: Sample, b: Sample): boolean {
  return a === b || (same(a.counts, b.counts) && same(a.latency, b.latency) && same(a.loads, b.loads));
}

/** Several samples taken together. */
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

/** What happened from one sample to another of the same series. */
export function sampleDifference(now: Sample, then: Sample): Sample {
  if (now === then) return NOTHING;
  return {
    counts: minus(now.counts.slice(), then.counts),
    latency: minus(now.latency.slice(), then.latency),
    loads: minus(now.loads.slice(), then.loads),
  };
}

/** A sample in words. */
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
  // Asked for in rising order: one walk over the buckets.
  const at = (share: number): number => {
    while (seen < count * share) seen += buckets[++i] as number;
    return 2 ** ((i + 0.5) / PER_OCTAVE) / 1000;
  };
  return { count, total, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}

/** `hits / (hits + misses)`; `null` without reads. */
export function rateOf(hits: number, misses: number): number | null {
  return hits + misses > 0 ? hits / (hits + misses) : null;
}

const NO_TIMES: Times = { count: 0, total: 0, p50: 0, p95: 0, p99: 0, max: 0 };

/** The bounds of a histogram for others, in microseconds: powers of two, where buckets end. */
export const BOUNDS: readonly number[] = Array.from({ length: 19 }, (_, i) => 2 ** (i + 6));

/** How many of the timed took up to each of the {@linkcode BOUNDS}; and the count of all. */
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

// Plain loops: these run over every bucket of every series with each sample.
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
