/** The view of the caches, made from a monitor's snapshot: for the dashboard's page and `larder stats --watch`. */

import type { Location } from "../client/types.ts";
import { fleetTimes } from "../monitor/fleet_counts.ts";
import type { FleetWindow, MonitorSnapshot, StoreSample, Windowed } from "../monitor/mod.ts";
import { rateOf } from "../monitor/series.ts";
import type { Size } from "../monitor/sizes.ts";
import type { BreakerState } from "../telemetry/events.ts";
import { type ChartPoint, type ServiceView, STORE_FIELDS, type StoreView, type View } from "./messages.ts";

/** The parts of a view that are not in a snapshot. */
export interface ViewOptions {
  /** The locations of the services. */
  readonly locations: readonly Location[];
  /** The sizes of the services that were measured. */
  readonly sizes: ReadonlyMap<string, Size>;
  /** The state of the circuit breaker. */
  readonly breaker: BreakerState;
  /** The states of the breakers of a cluster's nodes, by address. */
  readonly breakers: ReadonlyMap<string, BreakerState>;
  /** Commands a second. */
  readonly operations: number | null;
}

/** The window of counts and times; the monitor must have it. */
export const WINDOW = "1m";

/** The counts of a window: of all processes, or of this one. */
type Counts = Omit<View["all"], "keys" | "memory">;

/**
 * Makes a view.
 *
 * @param snapshot The snapshot of a monitor that has the window {@linkcode WINDOW}.
 * @param options The parts that are not in the snapshot.
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
    nodes: (store?.nodes ?? []).map((node) => ({ ...node, breaker: options.breakers.get(node.node) ?? null })),
    breaker: options.breaker,
    alerts,
  };
}

/** Returns the point of a view on the charts. */
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

/** Returns the services, and the databases with keys that belong to no service. */
function rowsOf(
  { locations, sizes }: ViewOptions,
  store: StoreSample | null,
): Pick<ServiceView, "service" | "database" | "unnamed" | "keys" | "memory">[] {
  const rows = locations.map(({ service = "", number }) => {
    const size = sizes.get(service);
    const keys = store?.keys?.[service] ?? size?.keys ?? null;
    return { service, database: number, keys, memory: memoryOf(keys, size) };
  });
  // The store does not count keys below a prefix.
  const own = locations.every(({ numbered, prefix }) => numbered && prefix === "");
  const others = Object.entries((own && store?.databases) || {}).flatMap(([name, keys]) => {
    const database = Number(name);
    const known = database > 15 || keys === 0 || locations.some(({ number }) => number === database);
    return known ? [] : { service: `database ${database}`, database, unnamed: true as const, keys, memory: null };
  });
  return [...rows, ...others].sort((a, b) => a.database - b.database);
}

/** Scales the memory that was measured to the current number of keys. */
function memoryOf(keys: number | null, size: Size | undefined): number | null {
  if (keys === 0) return 0;
  if (keys === null || !size?.keys || size.memory === null) return null;
  return Math.round((size.memory / size.keys) * keys);
}

function storeView(store: StoreSample, operations: number | null): StoreView {
  const fields = Object.fromEntries(STORE_FIELDS.map((name) => [name, store[name]])) as unknown as Pick<
    StoreSample,
    (typeof STORE_FIELDS)[number]
  >;
  return { ...fields, operations: store.up ? operations : null };
}
