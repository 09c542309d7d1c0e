import type { ClientStats, Health } from "../client.ts";
import type { FleetStats } from "../fleet.ts";
import { type ManagedClient, type StepOptions, unfinished } from "./target.ts";

/** What `inspect` and `diagnose` need of a client. */
export interface InspectedClient extends ManagedClient {
  /** The name of the driver. */
  readonly driver: string;
  /** How databases are kept apart. */
  readonly databases: "numbered" | "prefixed";
  /** How the store is. */
  health(options?: { readonly timeout?: number }): Promise<Health>;
  /** What the client did. */
  stats(): ClientStats;
  /** What the clients of all processes did. */
  stats(options: { readonly scope: "fleet" }): Promise<Readonly<Record<string, FleetStats>>>;
  /** A service, so that its fleet's counts can be asked for. */
  service(name: string): unknown;
}

/** Options of {@linkcode inspect}. */
export interface InspectOptions extends StepOptions {
  /** The most keys that are counted for each service. @default 1_000_000 */
  readonly maxKeys?: number | undefined;
}

/** What a store and its caches are like; what the store cannot tell is `null`. */
export interface Inspection {
  /** The driver's name. */
  readonly driver: string;
  /** How databases are kept apart. */
  readonly databases: "numbered" | "prefixed";
  /** How long the store took to answer, in milliseconds. */
  readonly latency: number | null;
  /** The server's version. */
  readonly version: string | null;
  /** Bytes in use. */
  readonly memoryUsed: number | null;
  /** The limit in bytes; 0 for none. */
  readonly memoryLimit: number | null;
  /** What is evicted at the limit, such as `"allkeys-lru"`. */
  readonly policy: string | null;
  /** Keys evicted since the server's start. */
  readonly evictions: number | null;
  /** Keys expired since the server's start. */
  readonly expired: number | null;
  /** Connected clients. */
  readonly clients: number | null;
  /** Reads of existing keys, and of missing ones, since the server's start, by all its users. */
  readonly hits: number | null;
  readonly misses: number | null;
  /** `hits / (hits + misses)`; `null` before the first. */
  readonly hitRate: number | null;
  /** The services' keys. */
  readonly services: readonly ServiceKeys[];
  /** What the caches of all processes did that count together, by service. */
  readonly fleet: Readonly<Record<string, FleetStats>>;
}

/** How many keys a service has. */
export interface ServiceKeys {
  /** The service's name. */
  readonly service: string;
  /** Its database. */
  readonly database: number;
  /** How many keys, those of the library itself aside. */
  readonly keys: number;
  /** Whether there are more. */
  readonly more: boolean;
}

/**
 * Looks at the store and the caches on it.
 *
 * @param client The client.
 * @param options How many keys are counted at the most.
 * @returns What was found.
 * @throws {StoreError} When the store is away.
 */
export async function inspect(client: InspectedClient, options: InspectOptions = {}): Promise<Inspection> {
  return unfinished(client, options);
}
