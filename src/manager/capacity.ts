/**
 * Computes how many servers a traffic needs. Every verb is so many GETs, SETs or small scripts of the same server, so
 * that the numbers of one machine hold on another. `docs/scaling.md` explains the sum.
 */
import { COSTS, KEPT_BYTES, NEAR } from "./costs.ts";
import type { StoreCosts } from "./measure_store.ts";

/** The traffic of all processes on a store. */
export interface Traffic {
  /** Reads of entries without tags that reach the store, a second. */
  readonly reads: number;
  /** Reads of entries with tags that reach the store, a second. */
  readonly tagged: number;
  /** Writes a second. The same share of them has tags as of the reads. */
  readonly writes: number;
  /** Invalidations a second, each of one tag. */
  readonly invalidations: number;
  /** The processes. */
  readonly clients: number;
  /** The processes that have near caches. */
  readonly near: number;
  /** The reads or writes that one process issues in the same tick. */
  readonly together: number;
  /** The bytes of a value. */
  readonly size: number;
  /** The entries that are stored. */
  readonly entries: number;
  /** The different tags in use. */
  readonly tags: number;
}

/** One kind of work, and what it costs. */
export interface Work {
  readonly name: string;
  /** Its number a second. */
  readonly times: number;
  /** Microseconds of the processors of all masters together, each time. */
  readonly cost: number;
}

/** The servers that a traffic needs. */
export interface Plan {
  /** The masters. One is a single server. */
  readonly masters: number;
  readonly shards: number;
  readonly works: readonly Work[];
  /** The part of a core that each master is busy, 0-1 or more. */
  readonly busy: number;
  /** The bytes that all masters keep together. */
  readonly memory: number;
  /** The bytes a second that all masters send together. */
  readonly network: number;
}

/** The part of a core that a server should be busy at most: what comes in waves still waits little. */
export const BUSIEST = 0.6;
/** The part of the memory that entries should take at most. */
export const FULLEST = 0.8;
/** The most masters that are computed. */
const MOST_MASTERS = 500;
/**
 * The reads by the script after an invalidation, for each read that it surprised and for each tag in each shard: see
 * `Marks`.
 */
const READS_BY_SCRIPT = 20;
/** The tags that a process knows at most, in each shard. */
const KNOWN_TAGS = 1000;

/**
 * Computes what a traffic needs.
 *
 * @param traffic The traffic.
 * @param store The costs of a server.
 * @param limit The bytes that a server can keep; 0 if that does not matter.
 * @returns The plan with the fewest masters; `undefined` if none is enough.
 */
export function planFor(traffic: Traffic, store: StoreCosts, limit = 0): Plan | undefined {
  for (let masters = 1; masters <= MOST_MASTERS; masters += masters === 1 ? 2 : 1) {
    const plan = planOf(traffic, store, masters);
    if (plan.busy <= BUSIEST && (limit === 0 || plan.memory / masters <= limit * FULLEST)) return plan;
  }
  return undefined;
}

/** Computes the load of a number of masters. */
export function planOf(traffic: Traffic, store: StoreCosts, masters: number): Plan {
  const { reads, tagged, writes, invalidations, clients, near, together, size, entries, tags } = traffic;
  const shards = masters === 1 ? 1 : masters <= 16 ? 64 : 256;
  // The calls of one tick go to as many masters and shards as they hit by chance.
  const [hitMasters, hitShards] = [spread(together, masters), spread(together, shards)];
  const costOf = (verb: keyof typeof COSTS): number => {
    const { base, together: each, own } = COSTS[verb];
    return (hitMasters * store.trip + (hitShards * (own - each) + together * each) * store[base]) / together;
  };
  const { script } = store;
  const { together: each, own } = COSTS.invalidation;
  const invalidation = masters * (store.trip + (own - each) * script) + shards * each * script;
  const reported = (NEAR.alone + (together - 1) * NEAR.together) / together;
  const surprised = invalidations * clients * READS_BY_SCRIPT * (together + shards * Math.min(tags, KNOWN_TAGS));
  const byScript = tagged === 0 ? 0 : Math.min(1, surprised / tagged);
  const share = reads + tagged === 0 ? 0 : tagged / (reads + tagged);
  const works: Work[] = [
    { name: "reads", times: reads, cost: costOf("read") },
    { name: "tagged reads by known marks", times: tagged * (1 - byScript), cost: costOf("knownRead") },
    { name: "tagged reads by script", times: tagged * byScript, cost: costOf("scriptRead") },
    { name: "writes", times: writes * (1 - share), cost: costOf("write") },
    { name: "tagged writes", times: writes * share, cost: costOf("taggedWrite") },
    { name: "invalidations", times: invalidations, cost: invalidation },
    { name: "reports to near caches", times: (writes + invalidations * masters) * near, cost: reported * store.get },
  ].filter(({ times }) => times > 0);
  const connections = clients * KEPT_BYTES.client + near * (KEPT_BYTES.nearClient - KEPT_BYTES.client);
  const kept = entries * (size + KEPT_BYTES.entry * (1 - share) + KEPT_BYTES.taggedEntry * share);
  return {
    masters,
    shards,
    works,
    busy: works.reduce((sum, { times, cost }) => sum + times * cost, 0) / 1e6 / masters,
    memory: kept + tags * shards * KEPT_BYTES.mark + connections * masters,
    network: (reads + tagged) * size,
  };
}

/** Returns how many of `places` equal ones so many calls hit, on average. */
function spread(calls: number, places: number): number {
  return places * (1 - (1 - 1 / places) ** calls);
}

/** Returns the commands and requests a second of a traffic over REST: the reads of one tick are one command. */
export function commandsFor(traffic: Traffic): { readonly commands: number; readonly requests: number } {
  const { reads, tagged, writes, invalidations, together } = traffic;
  return {
    commands: (reads + tagged) / together + writes + invalidations,
    requests: (reads + tagged + writes) / together + invalidations,
  };
}
