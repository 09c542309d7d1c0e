/** Watches the caches and remembers the last hour, for the dashboard and `larder stats --watch`. */

import type { Duration } from "../base/ttl.ts";
import type { Location } from "../client/types.ts";
import { locationsOf } from "../manager/inspect.ts";
import type { InspectedClient } from "../manager/mod.ts";
import {
  type Alert,
  type AlertRule,
  FLEET_RULES,
  type Monitor,
  type MonitoredClient,
  monitor,
} from "../monitor/mod.ts";
import { type Size, sizesOf } from "../monitor/sizes.ts";
import { type BreakerState, Events } from "../telemetry/events.ts";
import type { ChartPoint, SampleMessage, View } from "./messages.ts";
import { pointOf, viewOf, WINDOW } from "./view.ts";

/** A client that can be watched: any cache client. */
export type WatchedClient = MonitoredClient & InspectedClient;

/** Options of {@linkcode Watcher}. */
export interface WatcherOptions {
  /** The time between samples. @default "2s"; "30s" over REST, where commands are billed */
  readonly interval?: Duration | undefined;
  /** The rules whose alerts are shown. @default FLEET_RULES */
  readonly rules?: readonly AlertRule[] | undefined;
  /**
   * The deadline of each question to the store, in milliseconds. It is at most 2000, because the next sample is near.
   * @default 2000
   */
  readonly timeout?: number | undefined;
}

const TIMEOUT_MS = 2000;

/** The maximum number of points that are kept: an hour, with one every two seconds. */
const MOST_POINTS = 1800;
const HOUR_MS = 3_600_000;
/** The maximum number of alerts that are kept. */
const MOST_ALERTS = 50;
/** The time between measurements of the keys' memory, in milliseconds: longer over REST, where scans are billed. */
const SIZES_EVERY = { tcp: 60_000, rest: 600_000 };
/** The same, while the memory of a service is unknown. */
const SIZES_SOON = { tcp: 3000, rest: 60_000 };
/** The number of keys of each service that are measured. */
const SAMPLED = 20;
/** The maximum number of keys that are scanned in a database that services share. */
const SCANNED = { tcp: 100_000, rest: 10_000 };

/** Watches a client. */
export class Watcher {
  /** The time between samples, in milliseconds. */
  readonly interval: number;
  readonly #client: WatchedClient;
  readonly #timeout: number;
  readonly #rest: boolean;
  readonly #monitor: Monitor;
  readonly #events = new Events<SampleMessage | Alert>();
  readonly #history: ChartPoint[] = [];
  readonly #log: Alert[] = [];
  #locations: readonly Location[] = [];
  #sizes: ReadonlyMap<string, Size> = new Map();
  #measured = Number.NEGATIVE_INFINITY;
  #measuring: Promise<void> | undefined;
  #breaker: BreakerState = "closed";
  #breakers: ReadonlyMap<string, BreakerState> = new Map();
  #trying = false;
  #closed = false;
  #commands: { readonly at: number; readonly count: number } | undefined;
  #view: View | null = null;

  /**
   * Begins to watch. The first sample is taken at once.
   *
   * @param client The client. It is not closed with the watcher.
   * @param options The options.
   * @throws {TypeError | RangeError} For bad options.
   */
  constructor(client: WatchedClient, options: WatcherOptions = {}) {
    this.#rest = client.driver === "upstash";
    const { interval = this.#rest ? "30s" : "2s", rules = FLEET_RULES, timeout = TIMEOUT_MS } = options;
    this.#client = client;
    this.#timeout = Math.min(timeout, TIMEOUT_MS);
    this.#monitor = monitor(client, {
      interval,
      storeInterval: interval,
      windows: [WINDOW],
      rules,
      timeout: this.#timeout,
      fleet: true,
      logger: false,
    });
    this.interval = this.#monitor.interval;
    this.#monitor.subscribe((event) => {
      if (event.type === "alert") this.#remember(event.alert);
      else this.#show();
    });
    void this.#begin();
  }

  /** The points of the last hour, the oldest first. */
  get history(): readonly ChartPoint[] {
    return this.#history;
  }

  /** The alerts that fired or were resolved, the latest first. */
  get log(): readonly Alert[] {
    return this.#log;
  }

  /** The latest view; `null` before the first sample. */
  get view(): View | null {
    return this.#view;
  }

  /**
   * Listens to the watcher.
   *
   * @param listener Called with each sample and each alert. Exceptions are ignored.
   * @returns A function that stops listening.
   */
  subscribe(listener: (event: SampleMessage | Alert) => void): () => void {
    return this.#events.subscribe(listener);
  }

  /** Stops watching. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#monitor.close();
    await this.#measuring;
  }

  async #begin(): Promise<void> {
    try {
      // From now on the client counts all services.
      this.#locations = await locationsOf(this.#client);
    } catch {
      // A driver that cannot be opened shows in the samples.
    }
    await this.#monitor.sample();
  }

  #show(): void {
    void this.#tryBreaker();
    const snapshot = this.#monitor.snapshot();
    const { store } = snapshot;
    if (store?.up) this.#measure(snapshot.at);
    let operations = this.#view?.store?.operations ?? null;
    if (store?.up && store.commands !== null && store.at !== this.#commands?.at) {
      const { at, count } = this.#commands ?? { at: store.at, count: store.commands };
      // A server that was restarted counts from 0.
      operations =
        store.at > at && store.commands >= count ? ((store.commands - count) / (store.at - at)) * 1000 : null;
      this.#commands = { at: store.at, count: store.commands };
    }
    const view = viewOf(snapshot, {
      locations: this.#locations,
      sizes: this.#sizes,
      breaker: this.#breaker,
      breakers: this.#breakers,
      operations,
    });
    const point = pointOf(view);
    this.#view = view;
    this.#history.push(point);
    while (this.#history.length > MOST_POINTS || (this.#history[0] as ChartPoint).at < view.at - HOUR_MS)
      this.#history.shift();
    this.#emit({ view, point });
  }

  /** Sends a command through the client's breaker, which the monitor's own questions bypass. */
  async #tryBreaker(): Promise<void> {
    if (this.#trying) return;
    this.#trying = true;
    const { breaker, parts = [] } = await this.#client.health({ timeout: this.#timeout });
    this.#breaker = breaker;
    this.#breakers = new Map(parts.map(({ address, breaker }) => [address, breaker]));
    this.#trying = false;
  }

  #remember(alert: Alert): void {
    this.#log.unshift(alert);
    this.#log.length = Math.min(this.#log.length, MOST_ALERTS);
    this.#emit(alert);
  }

  #emit(event: SampleMessage | Alert): void {
    if (!this.#closed) this.#events.emit(event);
  }

  /** Measures sizes from time to time, without delaying samples. */
  #measure(now: number): void {
    const of = this.#rest ? "rest" : "tcp";
    const unknown = this.#view?.services.some(({ keys, memory, unnamed }) => keys && memory === null && !unnamed);
    const every = (unknown ? SIZES_SOON : SIZES_EVERY)[of];
    if (this.#measuring || (now - this.#measured < every && now >= this.#measured)) return;
    this.#measured = now;
    const measuring = async (): Promise<void> => {
      try {
        this.#locations = await locationsOf(this.#client);
        const options = { most: SCANNED[of], sample: SAMPLED, timeout: this.#timeout };
        const sizes = await sizesOf(this.#locations, options);
        this.#sizes = new Map(sizes.map((size, i) => [this.#locations[i]?.service ?? "", size]));
      } catch {
        // The store is away, or refuses the commands: the next measurement tries again.
      }
      this.#measuring = undefined;
    };
    this.#measuring = measuring();
  }
}
