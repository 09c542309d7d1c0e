/** Counts of all processes with `fleetStats`, as they add them up in the store. */
import type { RawReply } from "../../drivers/driver.ts";
import { type FleetStats, parseFleet } from "../cache/fleet.ts";
import { word } from "../manager/connection.ts";
import { COUNTS } from "../telemetry/stats.ts";

/** The counts of one service by all processes. If the store lost its counts, the last known ones are added to them. */
export interface FleetCounts extends Omit<FleetStats, "hitRate"> {
  /**
   * The number of operations that took from 2^i to 2^(i + 1) microseconds, by i. Loaders and near hits are not among
   * them.
   */
  readonly octaves: readonly number[];
}

/** The times of operations in all processes, in milliseconds; a percentile is interpolated within an octave. */
export interface FleetTimes {
  /** The number of operations. */
  readonly count: number;
  /** The median; `null` without operations. */
  readonly p50: number | null;
  /** The 95th percentile. */
  readonly p95: number | null;
  /** The 99th percentile. */
  readonly p99: number | null;
}

/** Returns the percentiles of octaves. */
export function fleetTimes(octaves: readonly number[]): FleetTimes {
  const count = octaves.reduce((sum, n) => sum + n, 0);
  const at = (share: number): number | null => {
    let below = 0;
    const octave = octaves.findIndex((n) => {
      below += n;
      return below >= count * share && n > 0;
    });
    const within = octaves[octave];
    if (within === undefined) return null;
    return 2 ** (octave + 1 - (below - count * share) / within) / 1000;
  };
  return { count, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

/** Returns the sum of all collections of a service, from a reply to `HGETALL`. */
export function toFleetCounts(fields: readonly RawReply[]): FleetCounts {
  const octaves: number[] = [];
  const { hitRate: _, ...counts } = parseFleet(fields.map(word), (_, name, number) => {
    const [, octave] = /^t(\d{1,2})$/.exec(name) ?? [];
    if (octave !== undefined) octaves[Number(octave)] = (octaves[Number(octave)] ?? 0) + number;
    return true;
  });
  return { ...counts, octaves: Array.from(octaves, (n) => n ?? 0) };
}

/** Returns how much counts grew from one time to another. */
export function fleetDifference(now: FleetCounts, then: FleetCounts): FleetCounts {
  return added(now, then, -1);
}

/** Counts of services that only grow, although the store may lose its counts. */
export class GrowingCounts {
  /** The last counts of each service, and what is added to them. */
  readonly #services = new Map<string, { readonly last: FleetCounts; readonly offset: FleetCounts | undefined }>();

  /**
   * Returns counts that continue the earlier ones. Counts that fell show that the store was emptied or restored from an
   * older backup; then the difference is added from now on.
   */
  next(service: string, counts: FleetCounts): FleetCounts {
    const { last, offset } = this.#services.get(service) ?? { last: counts, offset: undefined };
    const fell = COUNTS.some((name) => counts[name] < last[name]);
    const more = fell ? added(offset ? added(last, offset) : last, counts, -1) : offset;
    this.#services.set(service, { last: counts, offset: more });
    return more ? added(counts, more) : counts;
  }
}

function added(counts: FleetCounts, more: FleetCounts, times = 1): FleetCounts {
  const sums = Object.fromEntries(COUNTS.map((name) => [name, counts[name] + times * more[name]]));
  const length = Math.max(counts.octaves.length, more.octaves.length);
  const octaves = Array.from({ length }, (_, i) => (counts.octaves[i] ?? 0) + times * (more.octaves[i] ?? 0));
  return { ...(sums as Record<(typeof COUNTS)[number], number>), octaves };
}
