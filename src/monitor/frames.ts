/**
 * A frame holds all numbers at one moment. A window is the difference between the current frame and the frame that the
 * window begins with. The number of frames that are kept does not grow, and series that did not change share their
 * sample.
 */
import type { LiveCounters } from "../telemetry/stats.ts";
import type { BatchStats } from "../wire/batch.ts";
import { type FleetCounts, fleetDifference } from "./fleet_counts.ts";
import { equal, NOTHING, type Sample, sampleOf, sumOf } from "./series.ts";
import { keyOf, seriesKey, splitKey } from "./series_keys.ts";
import { SlidingWindow } from "./sliding_window.ts";
import type { StoreSample } from "./store_watch.ts";
import type { Tallies } from "./tallies.ts";

/** The commands that a client sent, and their bytes. */
export interface BatchCounts {
  /** Commands sent, repeated ones included. */
  readonly commands: number;
  /** Sends: pipelines over TCP, requests over REST. */
  readonly roundTrips: number;
  /** Commands that were sent again. */
  readonly retries: number;
  /** Bytes of commands since the monitor was made, estimated as characters; the protocol's own bytes are not in it. */
  readonly sent: number;
  /** Bytes of replies, likewise. */
  readonly received: number;
}

/** The store's numbers, as they were when it was last asked. */
export interface StoreNumbers {
  /** The store; `undefined` before it was asked. */
  readonly store: StoreSample | undefined;
  /** The counts of all processes, by service. */
  readonly fleet: Readonly<Record<string, FleetCounts>>;
  /** The number of questions that the store did not answer. */
  readonly unanswered: number;
}

/** All numbers at one moment. They only grow, but for those of the store. */
export interface Frame extends StoreNumbers {
  /** The time in milliseconds. */
  readonly at: number;
  /** The samples of all series. */
  readonly series: ReadonlyMap<string, Sample>;
  /** The sum of each service's series, and as `""` the sum of all. */
  readonly totals: ReadonlyMap<string, Sample>;
  /** The commands that were sent. */
  readonly wire: BatchCounts;
}

/** The counters of a client. */
export interface CountingClient {
  /** Returns the counters by service. */
  counters(): readonly (readonly [service: string, counters: readonly LiveCounters[]])[];
  /** Returns the counts of commands. */
  stats(): { readonly wire: Readonly<BatchStats> };
}

/** Takes frames, and keeps those that windows begin with. */
export class Frames {
  readonly #client: CountingClient;
  readonly #tallies: Tallies;
  readonly #windows = new Map<number, SlidingWindow<Frame>>();
  #last: Pick<Frame, "series" | "totals"> = { series: new Map(), totals: new Map() };
  #firstStore: StoreSample | undefined;
  #firstFleet: Readonly<Record<string, FleetCounts>> = {};

  /**
   * Creates frames of a client.
   *
   * @param client The client.
   * @param tallies The counts that the client's counters lack.
   * @param lengths The lengths of the windows, in milliseconds.
   * @param interval The time between frames, in milliseconds.
   */
  constructor(client: CountingClient, tallies: Tallies, lengths: readonly number[], interval: number) {
    this.#client = client;
    this.#tallies = tallies;
    for (const length of lengths) this.#windows.set(length, new SlidingWindow(length, interval));
  }

  /** Returns the numbers of now. Series that did not change share their sample with the last frame that was kept. */
  take(at: number, numbers: StoreNumbers): Frame {
    const series = new Map<string, Sample>();
    const changed = new Set<string>();
    const own = new Map<string, Sample[]>();
    for (const [key, group] of this.#groups()) {
      const current = sampleOf(group, this.#tallies.series.get(key));
      const last = this.#last.series.get(key) ?? NOTHING;
      const same = equal(current, last);
      const sample = same ? last : current;
      const [service] = splitKey(key);
      if (!same) changed.add(service);
      series.set(key, sample);
      own.set(service, [...(own.get(service) ?? []), sample]);
    }
    const totals = new Map<string, Sample>();
    for (const [service, samples] of own) {
      const last = changed.has(service) ? undefined : this.#last.totals.get(service);
      totals.set(service, last ?? sumOf(samples));
    }
    const last = changed.size > 0 ? undefined : this.#last.totals.get("");
    totals.set("", last ?? sumOf([...totals.values()]));
    const { commands, roundTrips, retries } = this.#client.stats().wire;
    const { sent, received } = this.#tallies;
    return { ...numbers, at, series, totals, wire: { commands, roundTrips, retries, sent, received } };
  }

  /** Keeps a frame, for windows to begin with. */
  keep(frame: Frame): Frame {
    this.#last = frame;
    if (frame.store?.up) this.#firstStore ??= frame.store;
    this.#firstFleet = { ...frame.fleet, ...this.#firstFleet };
    for (const window of this.#windows.values()) window.push(frame);
    return frame;
  }

  /** Returns the frame that a window begins with which ends now. */
  start(length: number, now: Frame): Frame {
    return this.#windows.get(length)?.start(now.at) ?? now;
  }

  /**
   * Returns what all processes counted for a service in a window. A window that is older than the first answer of the
   * store begins with that answer.
   */
  fleetIn(length: number, now: Frame, service: string): FleetCounts | undefined {
    const counts = now.fleet[service];
    if (!counts) return undefined;
    return fleetDifference(counts, this.start(length, now).fleet[service] ?? this.#firstFleet[service] ?? counts);
  }

  /** Returns how much one of the store's counters grew in a window. */
  storeIn(length: number, now: Frame, name: "evictions" | "expired" | "slowQueries"): number {
    const current = now.store?.[name] ?? 0;
    const first = this.start(length, now).store?.[name] ?? this.#firstStore?.[name] ?? current;
    // A server that was restarted counts from 0.
    return current < first ? current : current - first;
  }

  /** Returns the counters by series, in the order of services. */
  #groups(): ReadonlyMap<string, readonly LiveCounters[]> {
    const groups = new Map<string, LiveCounters[]>();
    for (const [service, own] of this.#client.counters()) {
      for (const counters of own) {
        const key = seriesKey(groups, service, counters.collection);
        const group = groups.get(key);
        if (group) group.push(counters);
        else groups.set(key, [counters]);
      }
    }
    for (const key of this.#tallies.series.keys()) if (!groups.has(key)) groups.set(key, []);
    return groups;
  }
}

/** Returns the sum of a service's series, or of all series without a service. */
export function totalOf({ totals }: Frame, service = ""): Sample {
  return totals.get(service) ?? NOTHING;
}

/** Returns the sample of a collection. */
export function sampleIn({ series }: Frame, service: string, collection: string): Sample {
  return series.get(keyOf(service, collection)) ?? NOTHING;
}

/** Returns the services of a frame. `"cache"`, the caches without a service, is among them only if it was used. */
export function servicesOf({ series }: Frame): string[] {
  const used = [...series].filter(([key, sample]) => key !== keyOf("cache", "") || !equal(sample, NOTHING));
  return [...new Set(used.map(([key]) => splitKey(key)[0]))];
}

/** Returns the commands that were sent from one time to another. */
export function batchDifference(now: BatchCounts, then: BatchCounts): BatchCounts {
  return {
    commands: now.commands - then.commands,
    roundTrips: now.roundTrips - then.roundTrips,
    retries: now.retries - then.retries,
    sent: now.sent - then.sent,
    received: now.received - then.received,
  };
}
