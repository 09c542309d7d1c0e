import type { ManagedConnection } from "../connection.ts";
import { fleetCounts, type InspectedClient, locationsOf } from "../inspect.ts";
import { slowLog } from "../slow_log.ts";
import type { StepOptions } from "../target.ts";
import { amount, type Finding, type Info, percent, unknown, untold, usable, warning } from "./finding.ts";

/** From how many milliseconds on a query is slow. */
const SLOW_QUERY_MS = 10;

/** For how many milliseconds a slow query is of interest. */
const RECENT_MS = 86_400_000;

/** From how many reads on a service's hit rate says something, and below what it is low. */
const READS = 100;

const LOW_RATE = 0.7;

export function eviction(info: Info, driver: string, why: string): Finding {
  const check = "eviction";
  const policy = info.get("maxmemory_policy");
  if (policy === undefined) {
    if (driver !== "memory") return unknown(check, why);
    return { check, level: "ok", evidence: "the entry that was used least recently goes first" };
  }
  const limit = Number(info.get("maxmemory") ?? 0);
  const set = "CONFIG SET maxmemory-policy allkeys-lru";
  const evidence = `maxmemory-policy is ${policy}, maxmemory is ${limit > 0 ? amount(limit) : "not set"}`;
  if (limit === 0) {
    const advice = `set maxmemory below what the machine has, and ${set}: else the store grows until it is killed`;
    return warning(check, evidence, advice);
  }
  if (policy === "noeviction") {
    return { check, level: "error", evidence, advice: `${set}: when it is full, every write fails` };
  }
  if (policy === "allkeys-lru") return { check, level: "ok", evidence };
  if (/-(random|ttl)$/.test(policy)) return warning(check, evidence, `${set}: what is in use is evicted as well`);
  return { check, level: "info", evidence, advice: `${set} is what is recommended for caches` };
}

export function memory(info: Info, why: string): Finding {
  const check = "memory";
  const used = Number(info.get("used_memory") ?? Number.NaN);
  if (Number.isNaN(used)) return unknown(check, why);
  const limit = Number(info.get("maxmemory") ?? 0);
  const total = limit || Number(info.get("total_system_memory") ?? 0);
  if (total === 0) return { check, level: "info", evidence: `${amount(used)} in use, no limit known` };
  const evidence = `${amount(used)} of ${amount(total)} (${limit ? "maxmemory" : "the machine's"}) in use, ${percent(used / total)}`;
  return used / total > 0.8
    ? warning(check, evidence, "raise maxmemory, shorten TTLs, or find the largest keys (list --sort size)")
    : { check, level: "ok", evidence };
}

/** What the processes that count together read of a service. */
interface Rate {
  readonly service: string;
  readonly reads: number;
  readonly rate: number;
}

/** What processes counted together, the lowest hit rate first; without the services that have no such counts. */
export async function countedRates(client: InspectedClient, options: StepOptions): Promise<Rate[]> {
  const rates: Rate[] = [];
  for (const { service = "" } of await locationsOf(client)) {
    const connection = await usable(client, { service, ...options });
    if (!connection) continue;
    try {
      const [reply] = await connection.send([["HGETALL", connection.own(`stats:${service}`)]]);
      let [hits, misses] = [0, 0];
      for (const [name, number] of fleetCounts(Array.isArray(reply) ? reply : [])) {
        if (name === "hits") hits += number;
        if (name === "misses") misses += number;
      }
      const reads = hits + misses;
      if (reads > 0) rates.push({ service, reads, rate: hits / reads });
    } finally {
      await connection.close();
    }
  }
  return rates.sort((a, b) => a.rate - b.rate);
}

/**
 * Judged by what processes counted. The server's own rate is told, but never judged: with each of the library's reads it counts the look-up of the
 * clock, a miss where nothing was ever invalidated, so that half is the most it can be, and a hit where something was.
 */
export function hitRate(rates: readonly Rate[], info: Info, why: string): Finding {
  const check = "hit rate";
  const judged = rates.filter(({ reads }) => reads >= READS);
  const told = judged.map(({ service, reads, rate }) => `${service} ${percent(rate)} of ${reads} reads`).join(", ");
  const [lowest] = judged;
  if (lowest) {
    const evidence = `${told}, by the counts of the applications`;
    const advice = "lengthen TTLs, warm what is read most, and look whether keys are evicted";
    return lowest.rate < LOW_RATE ? warning(check, evidence, advice) : { check, level: "ok", evidence };
  }
  if (rates.length > 0) {
    const reads = rates.map((one) => `${one.service} ${one.reads}`).join(", ");
    return { check, level: "info", evidence: `too few reads to judge, ${READS} of a service are enough: ${reads}` };
  }
  const advice = "set CACHE_FLEET_STATS=true in the applications: then the rate of each service is known";
  const hits = Number(info.get("keyspace_hits") ?? Number.NaN);
  const reads = hits + Number(info.get("keyspace_misses"));
  if (Number.isNaN(reads)) return { ...unknown(check, why), advice };
  const share = reads > 0 ? `${percent(hits / reads)} of ${reads} reads` : "no reads";
  const evidence = `${share} by the server's count, which says little: it counts the library's own look-ups too`;
  return { check, level: "info", evidence, advice };
}

export async function slowQueries(connection: ManagedConnection, clock: () => number): Promise<Finding> {
  const check = "slow queries";
  const all = (await slowLog(connection, 128))?.filter(({ ofTools }) => !ofTools);
  if (!all) return unknown(check, untold(connection.location.driver.name, "SLOWLOG", undefined));
  const slow = all
    .filter(({ at, took }) => took >= SLOW_QUERY_MS && clock() - at < RECENT_MS)
    .sort((a, b) => b.took - a.took);
  const names = [...new Set(slow.map(({ name }) => name))].slice(0, 5).join(", ");
  return slow.length === 0
    ? { check, level: "ok", evidence: `none of 10 ms or more among the last day's ${all.length}` }
    : warning(
        check,
        `${slow.length} of 10 ms or more in a day, the slowest ${(slow[0]?.took ?? 0).toFixed(0)} ms (${names})`,
        "read and delete in smaller parts; look at SLOWLOG GET for the keys",
      );
}
