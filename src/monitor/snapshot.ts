/** Snapshots: what a monitor knows, in total and by window. */
import type { BreakerState } from "../telemetry/events.ts";
import { type FleetCounts, type FleetTimes, fleetTimes } from "./fleet_counts.ts";
import { type BatchCounts, batchDifference, type Frame, type Frames, sampleIn, servicesOf, totalOf } from "./frames.ts";
import type { Alert } from "./rules.ts";
import { type Counted, counted, equal, NOTHING, rateOf, type Sample, sampleDifference } from "./series.ts";
import { splitKey } from "./series_keys.ts";
import type { StoreSample } from "./store_watch.ts";

/** The counts of a window. */
export interface Windowed extends Counted {
  /** The seconds that the window holds: fewer than its length while the monitor is younger. */
  readonly seconds: number;
}

/** The counts of a cache or a collection. */
export interface SeriesSnapshot extends Counted {
  /** The same counts in each window, by its name, such as `"1m"`. */
  readonly windows: Readonly<Record<string, Windowed>>;
}

/** The counts of a service. */
export interface ServiceSnapshot extends SeriesSnapshot {
  /** Its collections, as far as they were used. */
  readonly collections: Readonly<Record<string, SeriesSnapshot>>;
}

/** The counts of all processes with `fleetStats`, in total or in a window. */
export interface FleetWindow extends FleetCounts {
  /** `hits / (hits + misses)`; `null` without reads. */
  readonly hitRate: number | null;
  /** The times of operations. */
  readonly latency: FleetTimes;
}

/** The counts of all processes with `fleetStats`, since they were first written. */
export interface FleetSnapshot extends FleetWindow {
  /** The same counts in each window. */
  readonly windows: Readonly<Record<string, FleetWindow>>;
}

/** Everything that a monitor knows. */
export interface MonitorSnapshot {
  /** The time in milliseconds since 1970. */
  readonly at: number;
  /** The name of the driver. */
  readonly driver: string;
  /** The counts of this process. */
  readonly instance: {
    /** All services together. */
    readonly all: SeriesSnapshot;
    /** Each service; `"cache"` stands for caches without one. */
    readonly services: Readonly<Record<string, ServiceSnapshot>>;
    /** The commands sent to the store, without the monitor's own. */
    readonly wire: BatchCounts & {
      /** The commands that the provider bills, estimated: each one over REST; `null` over other drivers. */
      readonly billed: number | null;
      /** The same counts in each window. */
      readonly windows: Readonly<Record<string, BatchCounts>>;
    };
    /** The states of the circuit breakers that changed at least once, by driver, and part of its store. */
    readonly breakers: Readonly<Record<string, BreakerState>>;
  };
  /** The counts of all processes, by service; `null` if they are not read. */
  readonly fleet: Readonly<Record<string, FleetSnapshot>> | null;
  /** The store; `null` before it was asked. */
  readonly store: StoreSample | null;
  /** The firing alerts. */
  readonly alerts: readonly Alert[];
}

/** A window's name and its length in milliseconds. */
export type NamedWindow = readonly [name: string, length: number];

/** The parts of a snapshot that are not in a frame. */
export type SnapshotParts = Pick<MonitorSnapshot, "driver" | "alerts"> & {
  /** The states of the circuit breakers. */
  readonly breakers: ReadonlyMap<string, BreakerState>;
  /** True if the counts of all processes are read. */
  readonly readsFleet: boolean;
};

/**
 * Makes a snapshot.
 *
 * @param frames The frames that windows begin with.
 * @param now The current frame.
 * @param windows The windows.
 * @param parts The rest of the snapshot.
 * @returns The snapshot.
 */
export function snapshotOf(
  frames: Frames,
  now: Frame,
  windows: readonly NamedWindow[],
  parts: SnapshotParts,
): MonitorSnapshot {
  const { driver, alerts, breakers, readsFleet } = parts;
  const { wire } = now;
  const inWindows = <T>(read: (length: number) => T): Record<string, T> =>
    Object.fromEntries(windows.map(([name, length]) => [name, read(length)]));
  const seriesOf = (read: (frame: Frame) => Sample): SeriesSnapshot => {
    const sample = read(now);
    return {
      ...counted(sample),
      windows: inWindows((length) => {
        const start = frames.start(length, now);
        return { seconds: (now.at - start.at) / 1000, ...counted(sampleDifference(sample, read(start))) };
      }),
    };
  };
  const services: Record<string, ServiceSnapshot> = {};
  for (const service of servicesOf(now)) {
    const collections: Record<string, SeriesSnapshot> = {};
    for (const [key, sample] of now.series) {
      const [owner, collection] = splitKey(key);
      if (owner !== service || collection === "" || equal(sample, NOTHING)) continue;
      collections[collection] = seriesOf((frame) => sampleIn(frame, service, collection));
    }
    services[service] = { ...seriesOf((frame) => totalOf(frame, service)), collections };
  }
  const fleetOf = ([service, counts]: [string, FleetCounts]): [string, FleetSnapshot] => [
    service,
    {
      ...fleetWindow(counts),
      windows: inWindows((length) => fleetWindow(frames.fleetIn(length, now, service) ?? counts)),
    },
  ];
  return {
    at: now.at,
    driver,
    instance: {
      all: seriesOf(totalOf),
      services,
      wire: {
        ...wire,
        billed: driver === "upstash" ? wire.commands : null,
        windows: inWindows((length) => batchDifference(wire, frames.start(length, now).wire)),
      },
      breakers: Object.fromEntries(breakers),
    },
    fleet: readsFleet ? Object.fromEntries(Object.entries(now.fleet).map(fleetOf)) : null,
    store: now.store ?? null,
    alerts,
  };
}

function fleetWindow(counts: FleetCounts): FleetWindow {
  return { ...counts, hitRate: rateOf(counts.hits, counts.misses), latency: fleetTimes(counts.octaves) };
}
