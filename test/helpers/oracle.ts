/**
 * An oracle for the promise of invalidation: no read that begins after `invalidateTags` resolved to `true`, in any
 * client, answers what was loaded before.
 *
 * The truth is a count for each tag. A change counts it up and then invalidates the tag; once that is acknowledged, no
 * read may answer less. Loaders read the truth first and take a while to answer, so old values are always on their way
 * to the store.
 *
 * @module
 */
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import type { Cache, CacheClient } from "../../mod.ts";

/** Options of {@linkcode askOracle}. */
export interface OracleOptions {
  /** The clients, each with its own connections. */
  readonly clients: readonly Pick<CacheClient, "cache">[];
  /** Returns `true` when the run shall end. */
  until(seen: Readonly<OracleReport>): boolean;
  /** The number of tags, each with as many keys. @default 10 */
  readonly tags?: number;
  /** The reads of each client that run together. @default 8 */
  readonly readers?: number;
  /** The longest time that a loader takes, in milliseconds. @default 20 */
  readonly loaderTime?: number;
  /** The milliseconds between two invalidations of a client. @default 5 */
  readonly pause?: number;
}

/** The counts of a run. */
export interface OracleReport {
  reads: number;
  /** Reads that the cache answered without a load. */
  hits: number;
  invalidations: number;
  /** Invalidations that were not acknowledged. */
  unacknowledged: number;
  /** Reads that answered less than was acknowledged before they began. The first few are described. */
  readonly violations: string[];
  violated: number;
}

/** Reads, loads and invalidates until the end of the run, and returns what was seen. */
export async function askOracle(options: OracleOptions): Promise<OracleReport> {
  const { clients, tags = 10, readers = 8, loaderTime = 20, pause = 5 } = options;
  const truth = new Array<number>(tags).fill(0);
  const acknowledged = new Array<number>(tags).fill(0);
  const seen: OracleReport = {
    reads: 0,
    hits: 0,
    invalidations: 0,
    unacknowledged: 0,
    violations: [],
    violated: 0,
  };
  const over = (): boolean => options.until(seen);
  const any = (): number => Math.floor(Math.random() * tags);

  async function change(cache: Cache<string | number>): Promise<void> {
    while (!over()) {
      const tag = any();
      truth[tag] = (truth[tag] as number) + 1;
      const now = truth[tag] as number;
      const heard = await cache.invalidateTags(`tag${tag}`);
      seen.invalidations++;
      if (!heard) seen.unacknowledged++;
      else if (now > (acknowledged[tag] as number)) acknowledged[tag] = now;
      await sleep(Math.random() * 2 * pause);
    }
  }

  async function read(cache: Cache<string | number>, client: number): Promise<void> {
    while (!over()) {
      const tag = any();
      const key = `tag${tag}:key${any()}`;
      const least = acknowledged[tag] as number;
      let loaded = false;
      const load = async (): Promise<number> => {
        loaded = true;
        const now = truth[tag] as number;
        await sleep(Math.random() * loaderTime);
        return now;
      };
      const verb = Math.random() < 0.5 ? "get" : "getOrSet";
      const value =
        verb === "get"
          ? await cache.get<number>(key)
          : await cache.getOrSet(key, load, { tags: [`tag${tag}`], ttl: "5m" });
      seen.reads++;
      if (value !== undefined && !loaded) seen.hits++;
      if (value !== undefined && value < least) {
        seen.violated++;
        if (seen.violations.length < 10) {
          seen.violations.push(`client ${client}: ${verb} ${key} answered ${value}, acknowledged was ${least}`);
        }
      }
      await setImmediate();
    }
  }

  const caches = clients.map((client) => client.cache({ database: 9 }));
  await Promise.all(
    caches.flatMap((cache, client) => [change(cache), ...Array.from({ length: readers }, () => read(cache, client))]),
  );
  return seen;
}
