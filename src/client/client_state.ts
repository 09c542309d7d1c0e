import { checkFunction, needed } from "../base/check.ts";
import { hookError } from "../base/foreign_error.ts";
import { remember } from "../base/remember.ts";
import type { Fleet } from "../cache/fleet.ts";
import type { CommonConfig } from "../config/options.ts";
import { type Known, knowClasses, sealingOf } from "../entry/codec.ts";
import type { KeyRing } from "../entry/seal.ts";
import type { NearCache } from "../near/near_cache.ts";
import { Events, type Sending } from "../telemetry/events.ts";
import type { Counters } from "../telemetry/stats.ts";
import type { BatchStats, ReadRights } from "../wire/batch.ts";
import { Breaker } from "../wire/breaker.ts";
import type { Opening, StoreConnection } from "./store_connection.ts";
import type { Setup } from "./types.ts";

/** The state that a client shares with the clients for requests that it makes. */
export class ClientState {
  readonly events: Events = new Events();
  readonly sends: Events<Sending> = new Events();
  readonly wire: BatchStats = { commands: 0, roundTrips: 0, retries: 0 };
  /** The counters of each service and its collections. */
  readonly counters: Map<string, Counters[]> = new Map();
  /** The counters of caches without a service, by database. */
  readonly rest: Map<number, Counters> = new Map();
  /** The application's clock; if it throws, the system's is used. */
  readonly clock: (() => number) | undefined;
  /** The values that can be stored. */
  readonly known: Known;
  /** The near caches by database, service and collection. */
  readonly nears: Map<string, NearCache> = new Map();
  readonly #rings: Map<string, KeyRing> = new Map();
  readonly #breakers: Map<string, Breaker> = new Map();
  readonly #newFleet: (() => Fleet) | undefined;
  readonly #fleets: Map<string, Fleet> = new Map();
  readonly #rights: Map<string, ReadRights> = new Map();
  /** The memories that the caches of a store and database share, by both. */
  readonly remembered: Map<string, object> = new Map();
  /** The connections to stores, if requests may share them. */
  stores: Map<string, StoreConnection> | undefined;

  constructor(setup: Setup<object>) {
    if (setup.listener) this.events.subscribe(setup.listener, true);
    const { clock, waitUntil, superClasses } = setup.hooks;
    this.#newFleet = setup.fleetCounts;
    this.known = knowClasses(superClasses, setup.sealing);
    this.ring(setup.configurations.own.config);
    if (waitUntil !== undefined) checkFunction(waitUntil, "waitUntil");
    if (clock !== undefined) {
      checkFunction(clock, "clock");
      this.clock = () => this.#time(clock);
    }
  }

  #time(clock: () => number): number {
    try {
      const now = clock();
      if (Number.isFinite(now)) return now;
      throw new RangeError("it returned no finite number");
    } catch (thrown) {
      const error = hookError("clock", thrown);
      this.events.emit({ type: "error", operation: "clock", error, service: "cache", collection: "" });
      return Date.now();
    }
  }

  /** Returns the sender of one database's counts. Clients for requests count together. */
  fleet(key: string): Fleet {
    const make = needed(this.#newFleet, "count with fleetStats", "fleetCounts");
    return remember(this.#fleets, key, make);
  }

  /** Returns the encryption keys of a configuration, if it has any. */
  ring({ defaults: { encryption } }: CommonConfig): KeyRing | undefined {
    if (!encryption) return undefined;
    return remember(this.#rings, JSON.stringify(encryption), () => sealingOf(this.known).keyRing(encryption));
  }

  /** Returns the record of the commands that this user may read with, for all databases of a store. */
  rights(key: string): ReadRights {
    return remember(this.#rights, key, () => ({ readBy: "EVAL" }));
  }

  /** Returns the circuit breaker of a store, unless the configuration turns it off. */
  breaker({ key, name }: Opening, { defaults }: CommonConfig): Breaker | undefined {
    if (defaults.breaker === false) return undefined;
    const options = defaults.breaker ?? {};
    const make = () =>
      new Breaker(
        options,
        () => performance.now(),
        (state, error) => this.events.emit({ type: "breaker", driver: name, state, ...(error && { error }) }),
      );
    return remember(this.#breakers, key, make);
  }
}
