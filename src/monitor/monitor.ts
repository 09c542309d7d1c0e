/**
 * The monitor samples the counters of a client, listens to events, asks the store, and judges rules.
 *
 * - A hit costs nothing more: counters are read once an interval, and hits and misses are not listened to.
 * - Memory does not grow with time: each window keeps a fixed number of frames, for a fixed number of series.
 * - No key and no value is kept.
 */
import { checkFunction, checkOptions, FLAG, FUNCTION, invalid, type Rules } from "../base/check.ts";
import { unref } from "../base/timers.ts";
import { type Duration, LONGEST_TIMER, parseDuration, parseTimeout, type Timeout } from "../base/ttl.ts";
import type { Location, LocationOf } from "../client/types.ts";
import { AT_EDGE } from "../runtime/edge.ts";
import { type BreakerState, type CacheListener, type CacheTarget, Events, type Sending } from "../telemetry/events.ts";
import { type Logger, warn } from "../telemetry/logger.ts";
import type { LiveCounters } from "../telemetry/stats.ts";
import type { BatchStats } from "../wire/batch.ts";
import type { FleetCounts } from "./fleet_counts.ts";
import { type BatchCounts, type Frame, Frames, type StoreNumbers, servicesOf } from "./frames.ts";
import { Judge } from "./judge.ts";
import { type Alert, type AlertRule, type CheckedRule, checkRules, DEFAULT_RULES } from "./rules.ts";
import { scopeOf } from "./scope.ts";
import type { Sample } from "./series.ts";
import { MAX_SERIES, splitKey } from "./series_keys.ts";
import { type MonitorSnapshot, type NamedWindow, snapshotOf } from "./snapshot.ts";
import { type StoreSample, StoreWatch } from "./store_watch.ts";
import { Tallies } from "./tallies.ts";
import { Webhook, type WebhookOptions } from "./webhook.ts";

/** The methods of a client that a monitor uses. */
export interface MonitoredClient {
  /** The name of the driver. */
  readonly driver: string;
  /** Returns the counters by service. */
  counters(): readonly (readonly [service: string, counters: readonly LiveCounters[]])[];
  /** Returns the counts of commands. */
  stats(): { readonly wire: Readonly<BatchStats> };
  /** Listens to events. */
  subscribe(listener: CacheListener, options: { readonly quiet: boolean }): () => void;
  /** Listens to sends. */
  onSend(listener: (sending: Sending) => void): () => void;
  /** Returns the location of a service or database. */
  locate(of: LocationOf): Promise<Location>;
}

/** Options of {@linkcode monitor}. */
export interface MonitorOptions {
  /** The time between samples; rules are judged with each. @default "10s" */
  readonly interval?: Duration;
  /** The sliding windows of snapshots. @default ["1m", "5m", "1h"] */
  readonly windows?: readonly Duration[];
  /** The rules. @default DEFAULT_RULES */
  readonly rules?: readonly AlertRule[];
  /** Receives alerts, and those that could not be delivered; `false` is silence. @default `console.warn` */
  readonly logger?: Logger | false;
  /** The URL that alerts are sent to, or its options. */
  readonly webhook?: string | WebhookOptions;
  /** Asks the store for its own numbers: two commands each time over TCP. @default true */
  readonly store?: boolean;
  /** The time between questions to the store. @default the interval; "1m" over REST, where commands are billed */
  readonly storeInterval?: Duration;
  /** Reads the counts of all processes with `fleetStats`: one command a service. @default true, but not over REST */
  readonly fleet?: boolean;
  /** The deadline of each question to the store: milliseconds, or `"2s"`. @default 2000 */
  readonly timeout?: Timeout;
  /**
   * The time in milliseconds since 1970. A monitor with its own clock has no timer: call `tick`.
   * @default a clock that ignores corrections of the system's clock
   */
  readonly clock?: () => number;
}

/** An event of a monitor. */
export type MonitorEvent =
  /** An alert fires, or is resolved. */
  | { readonly type: "alert"; readonly alert: Alert }
  /** A sample was taken, so a snapshot has new numbers. */
  | { readonly type: "sample"; readonly at: number };

/** The numbers of all series, for exporters. */
export interface MonitorReadings {
  /** The name of the driver. */
  readonly driver: string;
  /** The series. */
  readonly series: readonly (CacheTarget & { readonly sample: Sample })[];
  /** The commands sent to the store. */
  readonly wire: BatchCounts;
  /** The states of the circuit breakers. */
  readonly breakers: ReadonlyMap<string, BreakerState>;
  /** The store, as it was when it was last asked. */
  readonly store: StoreSample | undefined;
  /** The number of questions that the store did not answer. */
  readonly unanswered: number;
  /** The counts of all processes, by service. */
  readonly fleet: Readonly<Record<string, FleetCounts>>;
  /** The rules. */
  readonly rules: readonly AlertRule[];
  /** The firing alerts. */
  readonly alerts: readonly Alert[];
}

const OPTIONS: Rules = {
  interval: undefined,
  windows: ['a list such as ["1m", "1h"]', (value: unknown) => Array.isArray(value)],
  rules: undefined,
  logger: undefined,
  webhook: undefined,
  store: FLAG,
  storeInterval: undefined,
  fleet: FLAG,
  timeout: undefined,
  clock: FUNCTION,
};

/** Watches a client; {@linkcode monitor} makes one. */
export class Monitor {
  /** The time between samples, in milliseconds. */
  readonly interval: number;
  readonly #client: MonitoredClient;
  readonly #now: () => number;
  readonly #logger: Logger | false | undefined;
  readonly #webhook: Webhook | undefined;
  readonly #store: StoreWatch;
  readonly #asksStore: boolean;
  readonly #readsFleet: boolean;
  readonly #storeInterval: number;
  readonly #rules: readonly CheckedRule[];
  readonly #judge: Judge;
  readonly #windows: readonly NamedWindow[];
  readonly #frames: Frames;
  readonly #tallies = new Tallies();
  readonly #events = new Events<MonitorEvent>();
  readonly #leave: readonly (() => void)[];
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #numbers: StoreNumbers = { store: undefined, fleet: {}, unanswered: 0 };
  #asked = Number.NEGATIVE_INFINITY;
  #sampled = Number.NEGATIVE_INFINITY;
  /** The first frame, until the time is known. */
  #first: Frame | undefined;
  #sampling: Promise<readonly Promise<void>[]> | undefined;
  #closed = false;

  /**
   * Creates a monitor; {@linkcode monitor} does the same.
   *
   * @param client The client.
   * @param options The options.
   */
  constructor(client: MonitoredClient, options: MonitorOptions) {
    checkOptions(options, OPTIONS, "a monitor");
    const rest = client.driver === "upstash";
    const { interval = "10s", windows = ["1m", "5m", "1h"], rules = DEFAULT_RULES } = options;
    const timeout = parseTimeout(options.timeout ?? 2000, "timeout");
    const { store = true, fleet = !rest, storeInterval = rest ? "1m" : interval, clock } = options;
    this.interval = spanOf(interval, "interval");
    this.#storeInterval = spanOf(storeInterval, "storeInterval");
    this.#client = client;
    // At the edge the time stands still while code is loaded.
    this.#now = clock ?? (AT_EDGE ? Date.now : steadyClock());
    this.#logger = options.logger;
    this.#webhook = options.webhook === undefined ? undefined : new Webhook(options.webhook, options.logger);
    this.#asksStore = store;
    this.#readsFleet = fleet;
    this.#store = new StoreWatch(client, timeout);
    this.#rules = checkRules(rules);
    this.#judge = new Judge(this.#rules);
    this.#windows = windows.map((window) => [nameOf(window), spanOf(window, "a window")]);
    const lengths = [...this.#windows.map(([, length]) => length), ...this.#rules.map(({ window }) => window)];
    this.#frames = new Frames(client, this.#tallies, lengths, this.interval);
    this.#leave = [
      client.subscribe(
        (event) => {
          this.#begin();
          this.#tallies.hear(event);
        },
        { quiet: true },
      ),
      client.onSend((sending) => {
        this.#begin();
        this.#tallies.weigh(sending);
      }),
    ];
    // Windows begin here, so they hold nothing that the client did before. At the edge, the clock says 1970 while code
    // is loaded; there, windows begin with the first request.
    const first = this.#frames.take(this.#now(), this.#numbers);
    if (clock || first.at > 0) this.#frames.keep(first);
    else this.#first = first;
    if (clock === undefined && !AT_EDGE) {
      // An interval that is longer than a timer's maximum takes several turns of the timer.
      const turns = Math.ceil(this.interval / LONGEST_TIMER);
      let turn = 0;
      this.#timer = setInterval(() => {
        if (++turn % turns === 0) void this.sample();
      }, this.interval / turns);
      unref(this.#timer);
    }
  }

  /** The firing alerts. */
  get alerts(): readonly Alert[] {
    return this.#judge.firing;
  }

  /** The time of the last sample, in milliseconds; -Infinity before the first. */
  get sampled(): number {
    return this.#sampled;
  }

  /** The time in milliseconds since 1970, by the monitor's clock. */
  get now(): number {
    return this.#now();
  }

  /**
   * Takes a sample, judges the rules, and waits until alerts were delivered to the webhook, or given up. At the edge,
   * where timers do not run, call it for each request, with its `waitUntil`.
   */
  async tick(): Promise<void> {
    await Promise.all(await this.#run());
  }

  /**
   * Takes a sample and judges the rules, without waiting for the webhook. Waits for a running sample instead of
   * starting another. Never rejects.
   */
  async sample(): Promise<void> {
    await this.#run();
  }

  /** Asks whether the store answers now. Never rejects. */
  ready(): Promise<boolean> {
    return this.#closed ? Promise.resolve(false) : this.#store.answers();
  }

  /**
   * Returns everything that the monitor knows.
   *
   * @returns The counts up to now; the store's numbers as of the last time it was asked.
   */
  snapshot(): MonitorSnapshot {
    this.#begin();
    return snapshotOf(this.#frames, this.#frames.take(this.#now(), this.#numbers), this.#windows, {
      driver: this.#client.driver,
      breakers: this.#tallies.breakers,
      readsFleet: this.#readsFleet,
      alerts: this.alerts,
    });
  }

  /**
   * Returns the numbers that exporters need: totals that only grow, without windows.
   *
   * @returns The counts up to now; the store's numbers as of the last time it was asked.
   */
  readings(): MonitorReadings {
    const { series, wire, store, unanswered, fleet } = this.#frames.take(this.#now(), this.#numbers);
    return {
      driver: this.#client.driver,
      series: [...series].map(([key, sample]) => {
        const [service, collection] = splitKey(key);
        return { service, collection, sample };
      }),
      wire,
      breakers: this.#tallies.breakers,
      store,
      unanswered,
      fleet,
      rules: this.#rules,
      alerts: this.alerts,
    };
  }

  /**
   * Listens to the monitor.
   *
   * @param listener Called when an alert fires or is resolved, and after each sample. Exceptions are ignored.
   * @returns A function that stops listening.
   */
  subscribe(listener: (event: MonitorEvent) => void): () => void {
    checkFunction(listener, "a listener");
    return this.#events.subscribe(listener);
  }

  /** Stops watching, and waits for alerts that are being delivered. The client stays open. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const leave of this.#leave) leave();
    await this.#sampling;
    await this.#webhook?.done();
  }

  /** Closes the monitor at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #run(): Promise<readonly Promise<void>[]> {
    if (this.#closed) return Promise.resolve([]);
    if (AT_EDGE) return this.#sample();
    this.#sampling ??= this.#sample().finally(() => {
      this.#sampling = undefined;
    });
    return this.#sampling;
  }

  /** Takes a sample, and returns the deliveries of its alerts. */
  async #sample(): Promise<readonly Promise<void>[]> {
    this.#begin();
    const at = this.#now();
    if (this.#isStoreDue(at)) {
      this.#asked = at;
      const numbers = await this.#ask(at);
      if (this.#closed) return [];
      this.#numbers = numbers;
    }
    const now = this.#frames.keep(this.#frames.take(at, this.#numbers));
    this.#sampled = at;
    const breakerOpen = [...this.#tallies.breakers.values()].some((state) => state !== "closed");
    const changed = this.#judge.judge(at, servicesOf(now), now.store?.nodes ?? [], (rule, service) =>
      scopeOf(this.#frames, now, rule, service, breakerOpen),
    );
    const deliveries = changed.map((alert) => this.#report(alert));
    this.#events.emit({ type: "sample", at });
    return deliveries.filter((delivery) => delivery !== undefined);
  }

  #isStoreDue(at: number): boolean {
    if (!this.#asksStore && !this.#readsFleet) return false;
    // Timers fire a little early, and clocks may be set back.
    return at - this.#asked >= this.#storeInterval * 0.9 || at < this.#asked;
  }

  /** Asks the store. The sample waits for that, up to the deadline of each question. */
  async #ask(at: number): Promise<StoreNumbers> {
    const services = this.#client.counters().flatMap(([name]) => (name === "cache" ? [] : name));
    const some = services.slice(0, MAX_SERIES);
    const [store, fleet] = await Promise.all([
      this.#asksStore ? this.#store.sample(at, some) : undefined,
      this.#readsFleet ? this.#store.fleet(some) : {},
    ]);
    const { unanswered } = this.#numbers;
    return {
      store,
      fleet: { ...this.#numbers.fleet, ...fleet },
      unanswered: unanswered + (store?.error ? 1 : 0),
    };
  }

  /** Reports an alert to the logger, the listeners and the webhook. */
  #report(alert: Alert): Promise<void> | undefined {
    const { message, rule, state, severity, metric, service, node, value, threshold } = alert;
    const owner = { ...(service && { service }), ...(node && { node }) };
    const details = { rule, state, severity, metric, ...owner, value, threshold };
    // Most rules are named like their metric, which the message begins with.
    warn(this.#logger, details, `alert ${state}: ${message.startsWith(rule) ? "" : `${rule}: `}${message}`);
    this.#events.emit({ type: "alert", alert });
    return this.#webhook?.send(alert);
  }

  /** Keeps the first frame as soon as the time is known, for windows to begin with. */
  #begin(): void {
    const first = this.#first;
    if (!first) return;
    const at = this.#now();
    if (at <= 0) return;
    this.#first = undefined;
    this.#frames.keep({ ...first, at });
  }
}

/**
 * Watches a client: samples its counters, asks the store, judges rules, and reports alerts.
 *
 * @param client The client. It is not closed with the monitor.
 * @param options The options.
 * @returns The monitor, to be closed.
 * @throws {TypeError | RangeError} For bad options.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 * import { DEFAULT_RULES, monitor } from "@foodfast/larder/monitor";
 *
 * await using client = createCacheClient({ driver: "memory" });
 * await using watch = monitor(client, {
 *   rules: [...DEFAULT_RULES, { name: "slow carts", metric: "latency_p99", above: 50, service: "order" }],
 *   logger: console,
 * });
 * await client.service("product").products.get(1);
 * console.log(watch.snapshot().instance.services.product?.misses); // 1
 * ```
 */
export function monitor(client: MonitoredClient, options: MonitorOptions = {}): Monitor {
  return new Monitor(client, options);
}

function spanOf(duration: Duration, name: string): number {
  const span = parseDuration(duration, name);
  if (span === undefined) throw invalid(`set ${name} of a monitor`, duration, 'a time that ends, such as "10s"');
  return span;
}

/** Returns the name of a window: the string that was given, or a number of seconds with its unit. */
function nameOf(window: Duration): string {
  return typeof window === "number" ? `${window}s` : window;
}

/** Returns a clock that starts at the system's time, and then ignores corrections of it. */
function steadyClock(): () => number {
  const offset = Date.now() - performance.now();
  return () => offset + performance.now();
}
