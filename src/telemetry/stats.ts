/** The statistics of a cache or a collection since this client was made. Times are in milliseconds. */
export interface CacheStats {
  /** Reads that found a value. */
  readonly hits: number;
  /** Those of `hits` that were stale. */
  readonly staleHits: number;
  /** Those of `hits` that the near cache answered. */
  readonly nearHits: number;
  /** Reads that found no value, failed ones included. */
  readonly misses: number;
  /** `hits / (hits + misses)`; 0 before the first read. */
  readonly hitRate: number;
  /** Entries written. */
  readonly writes: number;
  /** Entries deleted. */
  readonly deletes: number;
  /** Loaders run by `getOrSet`. */
  readonly loads: number;
  /** Operations that failed. */
  readonly errors: number;
  /** Entries that could not be read back. */
  readonly corrupt: number;
  /** The durations of operations that the store answered, without loaders. Percentiles are exact to 5 %. */
  readonly latency: { readonly count: number; readonly p50: number; readonly p95: number; readonly p99: number };
}

/** The live counters of a cache or a collection. The numbers only grow. */
export interface LiveCounters extends Omit<CacheStats, "hitRate" | "latency"> {
  /** The collection; empty for a service's own verbs. */
  readonly collection: string;
  /** The sum of the durations of operations that the store answered, in milliseconds. */
  readonly spent: number;
  /**
   * The number of operations by duration. Bucket i counts those of 2^(i / 8) to 2^((i + 1) / 8) microseconds; the first
   * and the last one also count those beyond them.
   */
  readonly latency: Uint32Array;
}

/** The names of the counters. */
export const COUNTS = [
  "hits",
  "staleHits",
  "nearHits",
  "misses",
  "writes",
  "deletes",
  "loads",
  "errors",
  "corrupt",
] as const;

/** The number of buckets an octave. One is 2^(1/8) wide, so the error of its middle is 4.4 %. */
export const PER_OCTAVE = 8;
/** The number of buckets, which reach from 1 microsecond to 67 seconds. */
const BUCKETS = 26 * PER_OCTAVE;

/** Counters and a latency histogram of fixed size. */
export class Counters implements LiveCounters {
  readonly collection: string;
  hits = 0;
  staleHits = 0;
  nearHits = 0;
  misses = 0;
  writes = 0;
  deletes = 0;
  loads = 0;
  errors = 0;
  corrupt = 0;
  spent = 0;
  readonly latency: Uint32Array = new Uint32Array(BUCKETS);

  /** @param collection The collection. */
  constructor(collection = "") {
    this.collection = collection;
  }

  /** Counts an operation that took `ms` milliseconds. */
  time(ms: number): void {
    const bucket = Math.floor(Math.log2(ms * 1000) * PER_OCTAVE);
    const index = bucket > 0 ? Math.min(bucket, BUCKETS - 1) : 0;
    this.latency[index] = (this.latency[index] as number) + 1;
    this.spent += ms;
  }

  /**
   * Adds up the statistics of several counters.
   *
   * @param all The counters.
   * @returns Their sum.
   */
  static total(all: Iterable<LiveCounters>): CacheStats {
    const sum = new Counters();
    for (const one of all) {
      for (const name of COUNTS) {
        sum[name] += one[name];
      }
      one.latency.forEach((n, i) => {
        sum.latency[i] = (sum.latency[i] as number) + n;
      });
    }
    const count = sum.latency.reduce((a, b) => a + b, 0);
    const counts = Object.fromEntries(COUNTS.map((name) => [name, sum[name]])) as Record<
      (typeof COUNTS)[number],
      number
    >;
    const { hits, misses } = sum;
    const hitRate = hits + misses > 0 ? hits / (hits + misses) : 0;
    const at = (share: number): number => percentile(sum.latency, count * share);
    const latency = { count, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
    return { ...counts, hitRate, latency };
  }
}

/** Returns the middle of the bucket that holds the operation of a rank, in milliseconds; 0 for rank 0. */
export function percentile(latency: Uint32Array, rank: number): number {
  if (rank === 0) return 0;
  let seen = 0;
  const bucket = latency.findIndex((n) => {
    seen += n;
    return seen >= rank;
  });
  return 2 ** ((bucket + 0.5) / PER_OCTAVE) / 1000;
}
