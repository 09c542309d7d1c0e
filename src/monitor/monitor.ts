/**
 * The monitor: samples what a client counts anyway, listens to what counters lack, asks the store, and judges rules.
 *
 * - Nothing is done for a hit: counters are read on the interval, and the listener has no use for hits and misses.
 * - What is kept does not grow with time: a sample a step of each window, shared where nothing changed, for so many series.
 * - No key and no value is kept.
 */
import type { Reply } from "../../drivers/driver.ts";
import { checkFunction, checkNames, describe, refuse } from "../base/check.ts";
import { unref } from "../base/timers.ts";
import { type Duration, LONGEST_TIMER, parseDuration, parseTimeout, type Timeout } from "../base/ttl.ts";
import type { Location, LocationOf } from "../client/client.ts";
import { AT_EDGE } from "../runtime/edge.ts";
import type { BreakerState, CacheEvent, CacheListener, CacheTarget, Sending } from "../telemetry/events.ts";
import { type Logger, warn } from "../telemetry/logger.ts";
import type { LiveCounters } from "../telemetry/stats.ts";
import type { BatchStats } from "../wire/batch.ts";
import { Judge } from "./judge.ts";
import type { Scope } from "./rule_metrics.ts";
import { type Alert, type AlertRule, type CheckedRule, checkRules, DEFAULT_RULES } from "./rules.ts";
import { counted, equal, NOTHING, type Sample, sampleDifference, sampleOf, sumOf, Tally } from "./series.ts";
import { SlidingWindow } from "./sliding_window.ts";
import {
  type BatchCounts,
  batchDifference,
  type FleetSnapshot,
  type FleetWindow,
  fleetDifference,
  fleetWindow,
  type MonitorSnapshot,
  type SeriesSnapshot,
  type ServiceSnapshot,
  type Windowed,
} from "./snapshot.ts";
import { type FleetCounts, type StoreSample, StoreWatch } from "./store_watch.ts";
import { Webhook, type WebhookOptions } from "./webhook.ts";

/** What a monitor needs of a client. */
export interface MonitoredClient {
  /** The name of the driver. */
  readonly driver: string;
  /** The counters by service. */
  counters(): readonly (readonly [service: string, counters: readonly LiveCounters[]])[];
  /** What went over the wire. */
  stats(): { readonly wire: Readonly<BatchStats> };
  /** Listens to events. */
  subscribe(listener: CacheListener, options: { readonly quiet: boolean }): () => void;
  /** Listens to sends. */
  onSend(listener: (sending: Sending) => void): () => void;
  /** Where keys live. */
  locate(of: LocationOf): Promise<Location>;
}

/** Options of {@linkcode monitor}. */
export interface MonitorOptions {
  /** How often counters are sampled and rules judged. @default "10s" */
  readonly interval?: Duration;
  /** The sliding windows of snapshots. @default ["1m", "5m", "1h"] */
  readonly windows?: readonly Duration[];
  /** The rules. @default DEFAULT_RULES */
  readonly rules?: readonly AlertRule[];
  /** Told of alerts, and of what could not be delivered; `false` is silence. @default `console.warn` */
  readonly logger?: Logger | false;
  /** Where alerts are sent. */
  readonly webhook?: string | WebhookOptions;
  /** Whether the store is asked for its own numbers: over TCP two commands each time. @default true */
  readonly store?: boolean;
  /** How often the store is asked. @default the interval, over REST, where commands are billed, "1m" */
  readonly storeInterval?: Duration;
  /** Whether the counts of all processes are read: those of clients with `fleetStats`; a command a service. @default true but over REST */
  readonly fleet?: boolean;
  /** The deadline of each question to the store: milliseconds, or `"2s"`. @default 2000 */
  readonly timeout?: Timeout;
  /** The time in milliseconds since 1970. With one of your own there is no timer: call `tick`. @default a clock that is not set back */
  readonly clock?: () => number;
}

/** What a monitor tells. */
export type MonitorEvent =
  /** An alert fires, or is resolved. */
  | { readonly type: "alert"; readonly alert: Alert }
  /** A sample was taken: a snapshot has news. */
  | { readonly type: "sample"; readonly at: number };

/** The numbers of all series, for exporters. */
export interface Readings {
  /** The name of the driver. */
  readonly driver: string;
  /** The series. */
  readonly series: readonly (CacheTarget & { readonly sample: Sample })[];
  /** What went over the wire. */
  readonly wire: BatchCounts;
  /** The states of the circuit breakers. */
  readonly breakers: ReadonlyMap<string, BreakerState>;
  /** The store. */
  readonly store: StoreSample | undefined;
  /** How often the store did not answer the monitor. */
  readonly unanswered: number;
  /** The fleet's counts. */
  readonly fleet: Readonly<Record<string, FleetCounts>>;
  /** The rules. */
  readonly rules: readonly AlertRule[];
  /** The alerts that fire. */
  readonly alerts: readonly Alert[];
}

/** What is sampled. */
interface Frame {
  readonly at: number;
  readonly series: ReadonlyMap<string, Sample>;
  /** The series of each service taken together, and all of them as `""`. */
  readonly totals: ReadonlyMap<string, Sample>;
  readonly wire: BatchCounts;
  readonly store: StoreSample | undefined;
  readonly fleet: Readonly<Record<string, FleetCounts>>;
  readonly unanswered: number;
}

/** How many series are told apart: those beyond are one, `other`. */
const MAX_SERIES = 200;
const OTHER = "other ";
const OPTIONS = [
  "interval",
  "windows",
  "rules",
  "logger",
  "webhook",
  "store",
  "storeInterval",
  "fleet",
  "timeout",
  "clock",
];

/** Watches a client; made by {@linkcode monitor}. */
export class Monitor {
  /** How often it samples, in milliseconds. */
  readonly interval: number;
  readonly #client: MonitoredClient;
  readonly #now: () => number;
  readonly #logger: Logger | false | undefined;
  readonly #webhook: Webhook | undefined;
  readonly #store: StoreWatch;
  readonly #asksStore: boolean;
  readonly #asksFleet: boolean;
  readonly #storeInterval: number;
  readonly #rules: readonly CheckedRule[];
  readonly #judge: Judge;
  /** The windows of snapshots by name, and those of rules, by their length. */
  readonly #names: readonly (readonly [name: string, length: number])[];
  readonly #windows = new Map<number, SlidingWindow<Frame>>();
  readonly #tallies = new Map<string, Tally>();
  readonly #breakers = new Map<string, BreakerState>();
  readonly #listeners = new Set<(event: MonitorEvent) => void>();
  readonly #leave: readonly (() => void)[];
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #last: Pick<Frame, "series" | "totals"> = { series: new Map(), totals: new Map() };
  #sent = 0;
  #received = 0;
  #unanswered = 0;
  #known: StoreSample | undefined;
  #fleet: Readonly<Record<string, FleetCounts>> = {};
  /** How the store and the fleet were when they were first known: what windows that are older begin with. */
  #firstStore: StoreSample | undefined;
  #firstFleet: Readonly<Record<string, FleetCounts>> = {};
  #asked = Number.NEGATIVE_INFINITY;
  #sampled = Number.NEGATIVE_INFINITY;
  /** The numbers from before the time was known. */
  #first: Frame | undefined;
  #sampling: Promise<readonly Promise<void>[]> | undefined;
  #closed = false;

  /**
   * Makes a monitor; {@linkcode monitor} does it.
   *
   * @param client The client.
   * @param options What is watched, how often, and who is told.
   */
  constructor(client: MonitoredClient, options: MonitorOptions) {
    checkNames(options, OPTIONS, "monitor");
    const rest = client.driver === "upstash";
    const { interval = "10s", windows = ["1m", "5m", "1h"], rules = DEFAULT_RULES } = options;
    const timeout = parseTimeout(options.timeout ?? 2000, "timeout");
    const { store = true, fleet = !rest, storeInterval = rest ? "1m" : interval, clock } = options;
    if (!Array.isArray(windows)) refuse(`windows ${describe(windows)}`, 'lists such as ["1m", "1h"]');
    if (clock !== undefined) checkFunction(clock, "clock");
    for (const [name, value] of Object.entries({ store, fleet })) {
      if (typeof value !== "boolean") refuse(`${name} ${describe(value)}`, "true and false");
    }
    this.interval = finite(interval, "interval");
    this.#storeInterval = finite(storeInterval, "storeInterval");
    this.#client = client;
    // At the edge the time stands still while code is loaded.
    this.#now = clock ?? (AT_EDGE ? Date.now : steadyClock());
    this.#logger = options.logger;
    this.#webhook = options.webhook === undefined ? undefined : new Webhook(options.webhook, options.logger);
    this.#asksStore = store;
    this.#asksFleet = fleet;
    this.#store = new StoreWatch(client, timeout);
    this.#rules = checkRules(rules);
    this.#judge = new Judge(this.#rules);
    this.#names = windows.map((window) => [nameOf(window), finite(window, "a window")]);
    for (const length of [...this.#names.map(([, length]) => length), ...this.#rules.map(({ window }) => window)]) {
      if (!this.#windows.has(length)) this.#windows.set(length, new SlidingWindow(length, this.interval));
    }
    this.#leave = [
      client.subscribe((event) => this.#hear(event), { quiet: true }),
      client.onSend((sending) => this.#weigh(sending)),
    ];
    // Windows begin here: what the client did before is in none. At the edge it is 1970 while code is loaded: there
    // they begin with the first request.
    const first = this.#frame(this.#now());
    if (clock || first.at > 0) this.#keep(first);
    else this.#first = first;
    if (clock === undefined && !AT_EDGE) {
      // A longer interval than a timer's is several of one.
      const turns = Math.ceil(this.interval / LONGEST_TIMER);
      let turn = 0;
      this.#timer = setInterval(() => {
        if (++turn % turns === 0) void this.sample();
      }, this.interval / turns);
      unref(this.#timer);
    }
  }

  /** The alerts that fire. */
  get alerts(): readonly Alert[] {
    return this.#judge.firing;
  }

  /** When the last sample was taken, in milliseconds; -Infinity before the first. */
  get sampled(): number {
    return this.#sampled;
  }

  /** The time in milliseconds since 1970, by the monitor's clock. */
  get now(): number {
    return this.#now();
  }

  /**
   * Takes a sample, judges the rules, and waits until alerts were delivered to the webhook, or given up. Where there is no timer, as at the edge,
   * call it for a request, with its `waitUntil`.
   */
  async tick(): Promise<void> {
    await Promise.all(await this.#run());
  }

  /** Takes a sample and judges the rules, and does not wait for the webhook. Never rejects. One that is under way is waited for. */
  async sample(): Promise<void> {
    await this.#run();
  }

  #run(): Promise<readonly Promise<void>[]> {
    if (this.#closed) return Promise.resolve([]);
    if (AT_EDGE) return this.#sample();
    this.#sampling ??= this.#sample().finally(() => {
      this.#sampling = undefined;
    });
    return this.#sampling;
  }

  /** Whether the store answers now. Never rejects. */
  ready(): Promise<boolean> {
    return this.#closed ? Promise.resolve(false) : this.#store.answers();
  }

  /**
   * All that the monitor knows.
   *
   * @returns Counts up to now; the store and the fleet as they last were.
   */
  snapshot(): MonitorSnapshot {
    this.#begin();
    const at = this.#now();
    const now = this.#frame(at);
    const { wire } = now;
    const services: Record<string, ServiceSnapshot> = {};
    for (const service of servicesOf(now)) {
      const collections: Record<string, SeriesSnapshot> = {};
      for (const [key, sample] of now.series) {
        const [of, collection] = split(key);
        if (of !== service || collection === "" || equal(sample, NOTHING)) continue;
        collections[collection] = this.#series(now, (frame) => frame.series.get(key) ?? NOTHING);
      }
      services[service] = { ...this.#series(now, (frame) => ofService(frame, service)), collections };
    }
    const windows: Record<string, BatchCounts> = {};
    for (const [name, length] of this.#names) windows[name] = batchDifference(wire, this.#start(length, now).wire);
    const billed = this.#client.driver === "upstash" ? wire.commands : null;
    return {
      at,
      driver: this.#client.driver,
      instance: {
        all: this.#series(now, ofService),
        services,
        wire: { ...wire, billed, windows },
        breakers: Object.fromEntries(this.#breakers),
      },
      fleet: this.#asksFleet ? this.#fleetSnapshot(now) : null,
      store: this.#known ?? null,
      alerts: this.alerts,
    };
  }

  /**
   * The numbers that exporters need: they only grow, and are cut into no windows.
   *
   * @returns The numbers as they are now; the store and the fleet as they last were.
   */
  readings(): Readings {
    const { series, wire, store, unanswered, fleet } = this.#frame(this.#now());
    return {
      driver: this.#client.driver,
      series: [...series].map(([key, sample]) => {
        const [service, collection] = split(key);
        return { service, collection, sample };
      }),
      wire,
      breakers: this.#breakers,
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
   * @param listener Called when an alert fires or is resolved, and after each sample. What it throws is ignored.
   * @returns Stops listening.
   */
  subscribe(listener: (event: MonitorEvent) => void): () => void {
    checkFunction(listener, "a listener");
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
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

  /** Samples, and answers what is being delivered. */
  async #sample(): Promise<readonly Promise<void>[]> {
    this.#begin();
    const at = this.#now();
    // What the store was asked for does not hold up what the counters say, but for its deadline.
    if ((this.#asksStore || this.#asksFleet) && (at - this.#asked >= this.#storeInterval * 0.9 || at < this.#asked)) {
      this.#asked = at;
      const services = this.#client.counters().flatMap(([name]) => (name === "cache" ? [] : name));
      const some = services.slice(0, MAX_SERIES);
      const [known, fleet] = await Promise.all([
        this.#asksStore ? this.#store.sample(at, some) : undefined,
        this.#asksFleet ? this.#store.fleet(some) : {},
      ]);
      if (this.#closed) return [];
      if (known?.up === false) this.#unanswered++;
      this.#known = known;
      if (known?.up) this.#firstStore ??= known;
      this.#firstFleet = { ...fleet, ...this.#firstFleet };
      this.#fleet = { ...this.#fleet, ...fleet };
    }
    const now = this.#keep(this.#frame(at));
    this.#sampled = at;
    const told = this.#judge.judge(at, servicesOf(now), (rule, service) => this.#scope(now, rule, service));
    const sent = told.map((alert) => this.#tell(alert));
    this.#emit({ type: "sample", at });
    return sent.filter((one) => one !== undefined);
  }

  #tell(alert: Alert): Promise<void> | undefined {
    const { message, rule, state, severity, metric, service, value, threshold } = alert;
    const details = { rule, state, severity, metric, ...(service && { service }), value, threshold };
    // Most rules are called like what they watch, which the message says.
    warn(this.#logger, details, `alert ${state}: ${message.startsWith(rule) ? "" : `${rule}: `}${message}`);
    this.#emit({ type: "alert", alert });
    return this.#webhook?.send(alert);
  }

  #emit(event: MonitorEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch {
        // A listener's own failure must not become the monitor's.
      }
    }
  }

  #hear(event: CacheEvent): void {
    this.#begin();
    switch (event.type) {
      case "error": {
        const { kinds } = this.#tally(event.service, event.collection);
        const { kind } = event.error;
        if (Object.hasOwn(kinds, kind)) kinds[kind]++;
        break;
      }
      case "load-end":
        this.#tally(event.service, event.collection).loads.time(event.duration);
        break;
      case "load-error": {
        const { heard, loads } = this.#tally(event.service, event.collection);
        heard.loadErrors++;
        loads.time(event.duration);
        break;
      }
      case "lock-wait":
        this.#tally(event.service, event.collection).heard.lockWaits++;
        break;
      case "lock-lost":
        this.#tally(event.service, event.collection).heard.lostLocks++;
        break;
      case "near-invalidate":
        this.#tally(event.service, event.collection).heard.nearInvalidations += event.entries;
        break;
      case "invalidate":
        this.#tally(event.service, "").heard.invalidations++;
        break;
      case "breaker":
        if (this.#breakers.has(event.driver) || this.#breakers.size < 16) this.#breakers.set(event.driver, event.state);
        break;
    }
  }

  #tally(service: string, collection: string): Tally {
    const wanted = `${service} ${collection}`;
    const key = this.#tallies.has(wanted) || this.#tallies.size < MAX_SERIES ? wanted : OTHER;
    let tally = this.#tallies.get(key);
    if (!tally) {
      tally = new Tally();
      this.#tallies.set(key, tally);
    }
    return tally;
  }

  #weigh({ commands, replies }: Sending): void {
    this.#begin();
    for (const command of commands) for (const arg of command) this.#sent += sizeOf(arg);
    replies.then(
      (all) => {
        this.#received += sizeOf(all);
      },
      () => {},
    );
  }

  /** The numbers of now. Series that rest share their sample with the last time. */
  #frame(at: number): Frame {
    const groups = new Map<string, LiveCounters[]>();
    for (const [service, own] of this.#client.counters()) {
      for (const counters of own) {
        const wanted = `${service} ${counters.collection}`;
        const key = groups.has(wanted) || groups.size < MAX_SERIES ? wanted : OTHER;
        const group = groups.get(key);
        if (group) group.push(counters);
        else groups.set(key, [counters]);
      }
    }
    for (const key of this.#tallies.keys()) if (!groups.has(key)) groups.set(key, []);
    const series = new Map<string, Sample>();
    const moved = new Set<string>();
    const own = new Map<string, Sample[]>();
    for (const [key, group] of groups) {
      const sample = sampleOf(group, this.#tallies.get(key));
      const last = this.#last.series.get(key) ?? NOTHING;
      const [service] = split(key);
      const changed = !equal(sample, last);
      if (changed) moved.add(service);
      series.set(key, changed ? sample : last);
      own.set(service, [...(own.get(service) ?? []), changed ? sample : last]);
    }
    const totals = new Map<string, Sample>();
    for (const [service, samples] of own) {
      const last = moved.has(service) ? undefined : this.#last.totals.get(service);
      totals.set(service, last ?? sumOf(samples));
    }
    const last = moved.size > 0 ? undefined : this.#last.totals.get("");
    totals.set("", last ?? sumOf([...totals.values()]));
    const { commands, roundTrips, retries } = this.#client.stats().wire;
    const wire = { commands, roundTrips, retries, sent: this.#sent, received: this.#received };
    return { at, series, totals, wire, store: this.#known, fleet: this.#fleet, unanswered: this.#unanswered };
  }

  /** Lets windows begin once the time is known. */
  #begin(): void {
    const first = this.#first;
    if (!first) return;
    const at = this.#now();
    if (at <= 0) return;
    this.#first = undefined;
    this.#keep({ ...first, at });
  }

  /** Keeps numbers where windows begin. */
  #keep(frame: Frame): Frame {
    this.#last = frame;
    for (const window of this.#windows.values()) window.push(frame);
    return frame;
  }

  /** Where a window begins that ends now. */
  #start(length: number, now: Frame): Frame {
    return this.#windows.get(length)?.start(now.at) ?? now;
  }

  #series(now: Frame, read: (frame: Frame) => Sample): SeriesSnapshot {
    const sample = read(now);
    const windows: Record<string, Windowed> = {};
    for (const [name, length] of this.#names) {
      const start = this.#start(length, now);
      windows[name] = { seconds: (now.at - start.at) / 1000, ...counted(sampleDifference(sample, read(start))) };
    }
    return { ...counted(sample), windows };
  }

  #fleetSnapshot(now: Frame): Record<string, FleetSnapshot> {
    return Object.fromEntries(
      Object.entries(now.fleet).map(([service, counts]) => {
        const windows: Record<string, FleetWindow> = {};
        for (const [name, length] of this.#names) {
          const then = this.#start(length, now).fleet[service] ?? this.#firstFleet[service] ?? counts;
          windows[name] = fleetWindow(fleetDifference(counts, then));
        }
        return [service, { ...fleetWindow(counts), windows }];
      }),
    );
  }

  #scope(now: Frame, { window, collection }: CheckedRule, service: string | undefined): Scope {
    const start = this.#start(window, now);
    const read = (frame: Frame): Sample => {
      if (collection === undefined) return ofService(frame, service);
      return frame.series.get(`${service} ${collection}`) ?? NOTHING;
    };
    const done = (name: "evictions" | "expired" | "slowQueries"): number => {
      const is = now.store?.[name] ?? 0;
      const was = start.store?.[name] ?? this.#firstStore?.[name] ?? is;
      // A server that began anew counts from 0.
      return is < was ? is : is - was;
    };
    const fleet = { hits: 0, misses: 0 };
    for (const [name, counts] of Object.entries(now.fleet)) {
      if (service !== undefined && name !== service) continue;
      const then = start.fleet[name] ?? this.#firstFleet[name] ?? counts;
      const { hits, misses } = fleetDifference(counts, then);
      fleet.hits += hits;
      fleet.misses += misses;
    }
    return {
      counted: counted(sampleDifference(read(now), read(start))),
      fleet,
      store: now.store,
      storeDone: { evictions: done("evictions"), expired: done("expired"), slowQueries: done("slowQueries") },
      unanswered: now.unanswered - start.unanswered,
      breakerOpen: [...this.#breakers.values()].some((state) => state !== "closed"),
      service,
    };
  }
}

/**
 * Watches a client: samples what it counts, asks the store, judges rules, and tells of alerts.
 *
 * @param client The client. It is not closed with the monitor.
 * @param options What is watched, how often, and who is told.
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
 *   rules: [...DEFAULT_RULES, { name: "slow carts", metric: "latency_p99", above: 50, service: "order", minSamples: 100 }],
 *   logger: console,
 * });
 * await client.service("product").products.get(1);
 * console.log(watch.snapshot().instance.services.product?.misses); // 1
 * ```
 */
export function monitor(client: MonitoredClient, options: MonitorOptions = {}): Monitor {
  return new Monitor(client, options);
}

function ofService({ totals }: Frame, service = ""): Sample {
  return totals.get(service) ?? NOTHING;
}

/** The services of a frame; the caches without one only where they were used. */
function servicesOf({ series }: Frame): string[] {
  const used = [...series].filter(([key, sample]) => key !== "cache " || !equal(sample, NOTHING));
  return [...new Set(used.map(([key]) => split(key)[0]))];
}

/** Names of services have no spaces. */
function split(key: string): [service: string, collection: string] {
  const at = key.indexOf(" ");
  return [key.slice(0, at), key.slice(at + 1)];
}

function sizeOf(value: Reply): number {
  if (typeof value === "string") return value.length;
  if (typeof value === "number") return String(value).length;
  if (value === null) return 0;
  if (value instanceof Error) return value.message.length;
  let size = 0;
  for (const item of value) size += sizeOf(item);
  return size;
}

function finite(ttl: Duration, what: string): number {
  const length = parseDuration(ttl, what);
  if (length === undefined) refuse(`${what} "forever"`, 'times that end, such as "10s"');
  return length;
}

/** What a window is called: as it was written, numbers with their unit. */
function nameOf(window: Duration): string {
  return typeof window === "number" ? `${window}s` : window;
}

/** The time since 1970 as it was at the start, and then as a clock goes that nobody sets. */
function steadyClock(): () => number {
  const offset = Date.now() - performance.now();
  return () => offset + performance.now();
}
