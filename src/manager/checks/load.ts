import type { RawReply } from "../../../drivers/driver.ts";
import { formatBytes, formatLatency, formatPercent } from "../../base/format.ts";
import { STATS } from "../../base/own_keys.ts";
import { parseFleet } from "../../cache/fleet.ts";
import { type ManagedConnection, word } from "../connection.ts";
import { type InspectedClient, locationsOf } from "../inspect.ts";
import type { Info } from "../nodes.ts";
import { type SlowEntry, slowLog } from "../slow_log.ts";
import type { StepOptions } from "../target.ts";
import { type Finding, unavailable, unknown, usable, warning } from "./finding.ts";

/** The duration in milliseconds from which a query is slow. */
const SLOW_QUERY_MS = 10;

/** The age in milliseconds up to which slow queries count. */
const RECENT_MS = 86_400_000;

/** The minimum number of reads of a service by which its hit rate is judged. */
const READS = 100;

/** The hit rate below which it is low. */
const LOW_RATE = 0.7;

/** Checks the limit of memory and the eviction policy. */
export function eviction(info: Info, driver: string, why: string): Finding {
  const check = "eviction";
  const policy = info.get("maxmemory_policy");
  if (policy === undefined) {
    if (driver !== "memory") return unknown(check, why);
    return { check, level: "ok", evidence: "the least recently used entry is evicted first" };
  }
  const limit = Number(info.get("maxmemory") ?? 0);
  const set = "CONFIG SET maxmemory-policy allkeys-lru";
  const evidence = `maxmemory-policy is ${policy}, maxmemory is ${limit > 0 ? formatBytes(limit) : "not set"}`;
  if (limit === 0) {
    const advice = `set maxmemory below the memory of the machine, and run ${set}`;
    return warning(check, evidence, `${advice}: otherwise the store grows until the system kills it`);
  }
  if (policy === "noeviction") {
    return { check, level: "error", evidence, advice: `run ${set}: otherwise every write fails when memory is full` };
  }
  if (policy === "allkeys-lru") return { check, level: "ok", evidence };
  if (/-(random|ttl)$/.test(policy)) {
    return warning(check, evidence, `run ${set}: this policy also evicts entries that are in use`);
  }
  return { check, level: "info", evidence, advice: `${set} is recommended for caches` };
}

/** Checks the memory in use against its limit. */
export function memoryUse(info: Info, why: string): Finding {
  const check = "memory";
  const used = Number(info.get("used_memory") ?? Number.NaN);
  if (Number.isNaN(used)) return unknown(check, why);
  const limit = Number(info.get("maxmemory") ?? 0);
  const total = limit || Number(info.get("total_system_memory") ?? 0);
  if (total === 0) return { check, level: "info", evidence: `${formatBytes(used)} in use, no limit known` };
  const of = `${formatBytes(total)} (${limit ? "maxmemory" : "of the machine"})`;
  const evidence = `${formatBytes(used)} of ${of} in use, ${formatPercent(used / total)}`;
  return used / total > 0.8
    ? warning(check, evidence, "raise maxmemory, shorten TTLs, or find the largest keys (list --sort size)")
    : { check, level: "ok", evidence };
}

/** The hit rate of a service, by its shared statistics. */
interface Rate {
  readonly service: string;
  readonly reads: number;
  readonly rate: number;
}

/** Reads the hit rates of the services that have shared statistics, the lowest first. */
export async function countedRates(client: InspectedClient, options: StepOptions): Promise<Rate[]> {
  const rates: Rate[] = [];
  for (const { service = "" } of await locationsOf(client)) {
    const connection = await usable(client, { service, ...options });
    if (!connection) continue;
    try {
      const [reply] = await connection.send([["HGETALL", connection.own(STATS + service)]]);
      const { hits, misses, hitRate } = parseFleet(Array.isArray(reply) ? (reply as RawReply[]).map(word) : []);
      if (hits + misses > 0) rates.push({ service, reads: hits + misses, rate: hitRate });
    } finally {
      await connection.close();
    }
  }
  return rates.sort((a, b) => a.rate - b.rate);
}

/**
 * Judges the hit rates by the shared statistics. The server's own rate is reported, but never judged, because the
 * server also counts the library's read of the epoch with each read: a miss before the first invalidation, so that the
 * rate is at most one half, and a hit after it.
 */
export function hitRate(rates: readonly Rate[], info: Info, why: string): Finding {
  const check = "hit rate";
  const judged = rates.filter(({ reads }) => reads >= READS);
  const shares = judged.map(({ service, reads, rate }) => `${service} ${formatPercent(rate)} of ${reads} reads`);
  const [lowest] = judged;
  if (lowest) {
    const evidence = `${shares.join(", ")}, by the statistics of the applications`;
    const advice = "lengthen TTLs, warm frequently read keys, and check for evictions";
    return lowest.rate < LOW_RATE ? warning(check, evidence, advice) : { check, level: "ok", evidence };
  }
  if (rates.length > 0) {
    const reads = rates.map((one) => `${one.service} ${one.reads}`).join(", ");
    return { check, level: "info", evidence: `too few reads to judge, ${READS} of a service are needed: ${reads}` };
  }
  const advice = "set CACHE_FLEET_STATS=true in the applications to see the rate of each service";
  const hits = Number(info.get("keyspace_hits") ?? Number.NaN);
  const reads = hits + Number(info.get("keyspace_misses"));
  if (Number.isNaN(reads)) return { ...unknown(check, why), advice };
  if (reads === 0) return { ...unknown(check, "the store had no reads yet"), advice };
  const share = `${formatPercent(hits / reads)} of ${reads} reads`;
  const evidence = `${share} by the server's count, which is misleading because it includes the library's own reads`;
  return { check, level: "info", evidence, advice };
}

/** Checks the slow log of the last day. */
export async function slowQueries(connection: ManagedConnection, clock: () => number): Promise<Finding> {
  const check = "slow queries";
  const all = (await slowLog(connection, 128))?.filter(({ ofTools }) => !ofTools);
  if (!all) return unknown(check, unavailable(connection.location.driver.name, "SLOWLOG", undefined));
  const slow = all
    .filter(({ at, took }) => took >= SLOW_QUERY_MS && clock() - at < RECENT_MS)
    .sort((a, b) => b.took - a.took);
  const nameOf = ({ name, node }: SlowEntry): string => (node === undefined ? name : `${name} on ${node}`);
  const names = [...new Set(slow.map(nameOf))].slice(0, 5).join(", ");
  const longest = formatLatency(slow[0]?.took ?? 0);
  return slow.length === 0
    ? { check, level: "ok", evidence: `none of ${SLOW_QUERY_MS} ms or more in the last day` }
    : warning(
        check,
        `${slow.length} of ${SLOW_QUERY_MS} ms or more in the last day, the slowest took ${longest} (${names})`,
        "read and delete in smaller parts; SLOWLOG GET shows the keys",
      );
}
