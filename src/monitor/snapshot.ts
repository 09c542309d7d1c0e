/** What a monitor knows at a time, and differences of two times. */
import type { BreakerState } from "../telemetry/events.ts";
import { COUNTS } from "../telemetry/stats.ts";
import type { Alert } from "./rules.ts";
import { type Counted, rateOf } from "./series.ts";
import { type FleetCounts, type FleetTimes, fleetTimes, type StoreSample } from "./store_watch.ts";

/** What went over the wire. */
export interface BatchCounts {
  /** Commands sent, repeated ones included. */
  readonly commands: number;
  /** Sends: pipelines over TCP, requests over REST. */
  readonly roundTrips: number;
  /** Commands that were sent again. */
  readonly retries: number;
  /** Bytes of commands since the monitor was made, without the protocol's: characters, so fewer where they are not ASCII. */
  readonly sent: number;
  /** Bytes of replies, likewise. */
  readonly received: number;
}

/** What happened in a window. */
export interface Windowed extends Counted {
  /** How many seconds it holds: fewer than it is long while the monitor is younger. */
  readonly seconds: number;
}

/** What a cache or a collection did. */
export interface SeriesSnapshot extends Counted {
  /** The same in the last minute and so on, by the windows that were asked for. */
  readonly windows: Readonly<Record<string, Windowed>>;
}

/** What a service did. */
export interface ServiceSnapshot extends SeriesSnapshot {
  /** Its collections; those only that were used. */
  readonly collections: Readonly<Record<string, SeriesSnapshot>>;
}

/** What the processes did that count together, since they were first counted, or in a window. */
export interface FleetWindow extends FleetCounts {
  /** `hits / (hits + misses)`; `null` without reads. */
  readonly hitRate: number | null;
  /** How long operations took. */
  readonly latency: FleetTimes;
}

/** What the processes did that count together. */
export interface FleetSnapshot extends FleetWindow {
  /** The same in each window. */
  readonly windows: Readonly<Record<string, FleetWindow>>;
}

/** All that a monitor knows. */
export interface MonitorSnapshot {
  /** The time in milliseconds since 1970. */
  readonly at: number;
  /** The name of the driver. */
  readonly driver: string;
  /** What this process did. */
  readonly instance: {
    /** All services together. */
    readonly all: SeriesSnapshot;
    /** Each service; `"cache"` is what caches without one did. */
    readonly services: Readonly<Record<string, ServiceSnapshot>>;
    /** What went over the wire; nothing of the monitor's own. */
    readonly wire: BatchCounts & {
      /** What the provider bills, estimated: a command each over REST; `null` elsewhere. */
      readonly billed: number | null;
      /** The same in each window. */
      readonly windows: Readonly<Record<string, BatchCounts>>;
    };
    /** The states of the circuit breakers that were heard of, by driver. */
    readonly breakers: Readonly<Record<string, BreakerState>>;
  };
  /** What all processes did, by service; `null` where it is not read. */
  readonly fleet: Readonly<Record<string, FleetSnapshot>> | null;
  /** The store; `null` before it was asked. */
  readonly store: StoreSample | null;
  /** The alerts that fire. */
  readonly alerts: readonly Alert[];
}

/** What went over the wire from one time to another. */
export function batchDifference(now: BatchCounts, then: BatchCounts): BatchCounts {
  return {
    commands: now.commands - then.commands,
    roundTrips: now.roundTrips - then.roundTrips,
    retries: now.retries - then.retries,
    sent: now.sent - then.sent,
    received: now.received - then.received,
  };
}

/** What was counted from one time to another. */
export function fleetDifference(now: FleetCounts, then: FleetCounts): FleetCounts {
  const counts = Object.fromEntries(COUNTS.map((name) => [name, now[name] - then[name]]));
  const octaves = now.octaves.map((n, i) => n - (then.octaves[i] ?? 0));
  return { ...(counts as Record<(typeof COUNTS)[number], number>), octaves };
}

/** Counts with what follows from them. */
export function fleetWindow(counts: FleetCounts): FleetWindow {
  return { ...counts, hitRate: rateOf(counts.hits, counts.misses), latency: fleetTimes(counts.octaves) };
}
