/** From what a monitor knows to what is shown: by the dashboard's page and by `larder stats --watch`. */

import type { Location } from "../client/types.ts";
import { fleetTimes } from "../monitor/fleet_counts.ts";
import type { FleetWindow, MonitorSnapshot, StoreSample, Windowed } from "../monitor/mod.ts";
import { rateOf } from "../monitor/series.ts";
import type { Size } from "../monitor/sizes.ts";
import type { BreakerState } from "../telemetry/events.ts";
import type { ChartPoint, ServiceView, StoreView, View } from "./messages.ts";

/** What is shown beside what a monitor knows. */
export interface ViewOptions {
  /** Where the services live. */
  readonly locations: readonly Location[];
  /** What their keys come to, by service, as far as it was measured. */
  readonly sizes: ReadonlyMap<string, Size>;
  /** What the circuit breaker lets through. */
  readonly breaker: BreakerState;
  /** Commands a second. */
  readonly operations: number | null;
}

/** The window of counts and times; the monitor has to have it. */
export const WINDOW = "1m";

/** What is shown of a window, of the fleet or of this process. */
type Counts = Omit<View["all"], "keys" | "memory">;

/**
 * What is shown of the caches.
 *
 * @param snapshot What a monitor knows; it has the window {@linkcode WINDOW}.
 * @param options What is shown beside it.
 * @returns The view.
 */
export function viewOf(snapshot: MonitorSnapshot, options: ViewOptions): View {
  const { instance, fleet, store, alerts } = snapshot;
  const together = Object.values(fleet ?? {});
  const counting = together.some(({ hits, misses, writes }) => hits + misses + writes > 0);
  const { all } = instance;
  const alone = !counting && all.hits + all.misses + all.writes > 0;
  const ofService = (service: string): Counts => {
    const [own, shared] = [instance.services[service]?.windows[WINDOW], fleet?.[service]?.windows[WINDOW]];
    return counting ? (shared ? fleetCounts([shared]) : NONE) : own ? ownCounts(own) : NONE;
  };
  const shared = together.flatMap(({ windows }) => windows[WINDOW] ?? []);
  const services = rowsOf(options, store).map(({ service, database, unnamed, keys, memory }): ServiceView => {
    const { p50: _, p99: __, ...counts } = unnamed ? NONE : ofService(service);
    return { service, database, ...(unnamed && { unnamed }), keys, memory, ...counts };
  });
  const sum = (values: readonly (number | null)[]): number | null =>
    values.every((value) => value === null) ? null : values.reduce<number>((a, b) => a + (b ?? 0), 0);
  return {
    at: Math.round(snapshot.at),
    counted: counting ? "fleet" : alone ? "instance" : null,
    all: {
      keys: sum(services.map(({ keys }) => keys)),
      memory: sum(services.map(({ memory }) => memory)),
      ...(counting ? fleetCounts(shared) : ownCounts(all.windows[WINDOW])),
    },
    services,
    store: store && storeView(store, options.operations),
    breaker: options.breaker,
    alerts,
  };
}

/** A view as a point of the charts. */
export function pointOf({ at, all, services, store }: View): ChartPoint {
  const { hitRate, p50, p95, p99 } = all;
  const rates = services.flatMap((one) => (one.hitRate === null ? [] : [[one.service, one.hitRate] as const]));
  return {
    at,
    hitRate,
    services: Object.fromEntries(rates),
    latency: store?.latency ?? null,
    p50,
    p95,
    p99,
    operations: store?.operations ?? null,
    memory: store?.up ? store.memoryUsed : null,
    memoryLimit: (store?.up && store.memoryLimit) || null,
  };
}

const NONE: Counts = {
  hitRate: null,
  hits: 0,
  misses: 0,
  writes: 0,
  loads: 0,
  errors: 0,
  p50: null,
  p95: null,
  p99: null,
};

function ownCounts(window: Windowed | undefined): Counts {
  if (!window) return NONE;
  const { hitRate, hits, misses, writes, loads, errors, latency } = window;
  const at = (time: number): number | null => (latency.count > 0 ? time : null);
  const { p50, p95, p99 } = latency;
  return { hitRate, hits, misses, writes, loads, errors, p50: at(p50), p95: at(p95), p99: at(p99) };
}

function fleetCounts(windows: readonly FleetWindow[]): Counts {
  const counts = { hits: 0, misses: 0, writes: 0, loads: 0, errors: 0 };
  const octaves: number[] = [];
  for (const window of windows) {
    for (const name of Object.keys(counts) as (keyof typeof counts)[]) counts[name] += window[name];
    window.octaves.forEach((n, i) => {
      octaves[i] = (octaves[i] ?? 0) + n;
    });
  }
  const { p50, p95, p99 } = fleetTimes(octaves);
  return { ...counts, hitRate: rateOf(counts.hits, counts.misses), p50, p95, p99 };
}

/** The services, and the databases that have keys and belong to none of them. */
function rowsOf(
  { locations, sizes }: ViewOptions,
  store: StoreSample | null,
): Pick<ServiceView, "service" | "database" | "unnamed" | "keys" | "memory">[] {
  const rows = locations.map(({ service = "", number }) => {
    const size = sizes.get(service);
    const keys = store?.keys?.[service] ?? size?.keys ?? null;
    return { service, database: number, keys, memory: memoryOf(keys, size) };
  });
  // Below a prefix nobody tells them.
  const own = locations.every(({ numbered, prefix }) => numbered && prefix === "");
  const others = Object.entries((own && store?.databases) || {}).flatMap(([name, keys]) => {
    const database = Number(name);
    const known = database > 15 || keys === 0 || locations.some(({ number }) => number === database);
    return known ? [] : { service: `database ${database}`, database, unnamed: true as const, keys, memory: null };
  });
  return [...rows, ...others].sort((a, b) => a.database - b.database);
}

/** What was measured of fewer or more keys, for as many as there are. */
function memoryOf(keys: number | null, size: Size | undefined): number | null {
  if (keys === 0) return 0;
  if (keys === null || !size?.keys || size.memory === null) return null;
  return Math.round((size.memory / size.keys) * keys);
}

function storeView(store: StoreSample, operations: number | null): StoreView {
  const {
    up,
    error,
    latency,
    server,
    version,
    memoryUsed,
    memoryLimit,
    policy,
    evictions,
    expired,
    clients,
    slowQueries,
  } = store;
  return {
    up,
    error,
    latency,
    server,
    version,
    memoryUsed,
    memoryLimit,
    policy,
    evictions,
    expired,
    clients,
    slowQueries,
    operations: up ? operations : null,
  };
}
