/** Samples the caches again and again, and remembers the last hour: for the dashboard, and for `larder stats --watch`. */

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
import type { BreakerState } from "../telemetry/events.ts";
import type { ChartPoint, SampleMessage, View } from "./messages.ts";
import { pointOf, viewOf, WINDOW } from "./view.ts";

/** What is watched: any cache client. */
export type WatchedClient = MonitoredClient & InspectedClient;

/** Options of {@linkcode Watcher}. */
export interface WatcherOptions {
  /** How often a sample is taken. @default "2s", over REST, where commands are billed, "30s" */
  readonly interval?: Duration | undefined;
  /** The rules whose alerts are shown. @default FLEET_RULES */
  readonly rules?: readonly AlertRule[] | undefined;
  /** The deadline of each question to the store, in milliseconds; above 2000 it is 2000, for the next sample is near. @default 2000 */
  readonly timeout?: number | undefined;
}

const TIMEOUT_MS = 2000;

/** How many points are kept: an hour of them every two seconds. */
const MOST_POINTS = 1800;
const HOUR_MS = 3_600_000;
/** How many alerts are kept. */
const MOST_ALERTS = 50;
/** How often it is measured how much memory keys take, in milliseconds: over REST, where pages are billed, less often; sooner where it is not known. */
const SIZES_EVERY = { tcp: 60_000, rest: 600_000 };
const SIZES_SOON = { tcp: 3000, rest: 60_000 };
/** Of how many keys of a service, and how many are looked at where services share a database. */
const SAMPLED = 20;
const LOOKED_AT = { tcp: 100_000, rest: 10_000 };

/** Watches a client. */
export class Watcher {
  /** How often a sample is taken, in milliseconds. */
  readonly interval: number;
  readonly #client: WatchedClient;
  readonly #timeout: number;
  readonly #rest: boolean;
  readonly #monitor: Monitor;
  readonly #listeners = new Set<(event: SampleMessage | Alert) => void>();
  readonly #history: ChartPoint[] = [];
  readonly #log: Alert[] = [];
  #locations: readonly Location[] = [];
  #sizes: ReadonlyMap<string, Size> = new Map();
  #measured = Number.NEGATIVE_INFINITY;
  #measuring: Promise<void> | undefined;
  #breaker: BreakerState = "closed";
  #trying = false;
  #commands: { readonly at: number; readonly count: number } | undefined;
  #view: View | null = null;

  /**
   * Begins to watch: the first sample is taken at once.
   *
   * @param client The client. It is not closed with this.
   * @param options How often, and by which rules.
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

  /** How things were when they were last looked at; `null` before the first sample. */
  get view(): View | null {
    return this.#view;
  }

  /**
   * Listens.
   *
   * @param listener Called with each sample and each alert. What it throws is ignored.
   * @returns Stops listening.
   */
  subscribe(listener: (event: SampleMessage | Alert) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Stops watching. */
  async close(): Promise<void> {
    this.#listeners.clear();
    await this.#monitor.close();
    await this.#measuring;
  }

  async #begin(): Promise<void> {
    try {
      // From then on the client counts for them all.
      this.#locations = await locationsOf(this.#client);
    } catch {
      // A driver that cannot be opened: the samples tell.
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
      // A server that began anew counts from 0.
      operations =
        store.at > at && store.commands >= count ? ((store.commands - count) / (store.at - at)) * 1000 : null;
      this.#commands = { at: store.at, count: store.commands };
    }
    const view = viewOf(snapshot, {
      locations: this.#locations,
      sizes: this.#sizes,
      breaker: this.#breaker,
      operations,
    });
    const point = pointOf(view);
    this.#view = view;
    this.#history.push(point);
    while (this.#history.length > MOST_POINTS || (this.#history[0] as ChartPoint).at < view.at - HOUR_MS)
      this.#history.shift();
    this.#emit({ view, point });
  }

  /** Sends something through the client, for nothing else of what is done here asks its breaker. */
  async #tryBreaker(): Promise<void> {
    if (this.#trying) return;
    this.#trying = true;
    this.#breaker = (await this.#client.health({ timeout: this.#timeout })).breaker;
    this.#trying = false;
  }

  #remember(alert: Alert): void {
    this.#log.unshift(alert);
    this.#log.length = Math.min(this.#log.length, MOST_ALERTS);
    this.#emit(alert);
  }

  #emit(event: SampleMessage | Alert): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch {
        // A listener's own failure must not become another's.
      }
    }
  }

  /** Measures now and then, and does not hold up samples. */
  #measure(now: number): void {
    const of = this.#rest ? "rest" : "tcp";
    const unknown = this.#view?.services.some(({ keys, memory, unnamed }) => keys && memory === null && !unnamed);
    const every = (unknown ? SIZES_SOON : SIZES_EVERY)[of];
    if (this.#measuring || (now - this.#measured < every && now >= this.#measured)) return;
    this.#measured = now;
    const measuring = async (): Promise<void> => {
      try {
        this.#locations = await locationsOf(this.#client);
        const options = { most: LOOKED_AT[of], sample: SAMPLED, timeout: this.#timeout };
        const sizes = await sizesOf(this.#locations, options);
        this.#sizes = new Map(sizes.map((size, i) => [this.#locations[i]?.service ?? "", size]));
      } catch {
        // The store went away, or may not be asked: it is tried again.
      }
      this.#measuring = undefined;
    };
    this.#measuring = measuring();
  }
}
