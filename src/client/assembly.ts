import { needed } from "../base/check.ts";
import { remember } from "../base/remember.ts";
import type { SharedContext } from "../cache/context.ts";
import { Loads, Nears } from "../cache/loads.ts";
import { READ_SCRIPTS } from "../cache/read_scripts.ts";
import { DEFAULT_POLICY, type NearOptions, policyOf } from "../config/policy.ts";
import { type Keyspace, prefixOf, Shard } from "../entry/keyspace.ts";
import type { NearCache } from "../near/near_cache.ts";
import { AT_EDGE } from "../runtime/edge.ts";
import type { CacheTarget } from "../telemetry/events.ts";
import { Batch } from "../wire/batch.ts";
import type { ClientState } from "./client_state.ts";
import { StoreConnection, type StoreLane } from "./store_connection.ts";
import type { Configured, Setup } from "./types.ts";

/** The database and the configuration of a service, or of caches without a service. */
export interface Home {
  readonly configured: Configured;
  readonly database: number;
  /** The name that a service's keys start with if it shares its database; otherwise empty. */
  readonly segment: string;
}

/** Makes the parts that the caches of a client share: stores, lanes, keyspaces, contexts and near caches. */
export class Assembly {
  readonly stores: Map<string, StoreConnection>;
  readonly #setup: Setup<object>;
  readonly #state: ClientState;

  constructor(setup: Setup<object>, state: ClientState) {
    this.#setup = setup;
    this.#state = state;
    this.stores = (!AT_EDGE && state.stores) || new Map();
    state.stores ??= this.stores;
  }

  /** Returns the connection to a store; configurations that name one store share it. */
  store(configured: Configured): StoreConnection {
    const { opening, config } = configured;
    const make = () => {
      const parts = this.#setup.parts?.(this.#state.events, opening.name, config.defaults.breaker);
      return new StoreConnection(opening, config.databases, this.#state.breaker(opening, config), parts);
    };
    return remember(this.stores, opening.key, make);
  }

  /** Returns the batch, loads, near caches and counts of a home's database. */
  lane({ configured, database }: Home): StoreLane {
    const { config, opening } = configured;
    const store = this.store(configured);
    const { breaker, parts } = store;
    const { events, wire, sends } = this.#state;
    return store.lane(store.numbered ? database : 0, (number) => {
      const fleet = config.defaults.fleetStats ? this.#state.fleet(`${opening.key} ${number}`) : undefined;
      const batch: Batch = new Batch({
        database: number,
        driver: () => store.driver(),
        retries: config.retries,
        wire,
        breaker,
        parts,
        onLeave:
          fleet &&
          (() => {
            // Counts must not be sent twice, so they wait while the breaker sees sends fail.
            if (!breaker?.failing && !parts?.failing) fleet.ride(batch, config.timeout);
          }),
        sends,
        rights: this.#state.rights(opening.key),
        onRetry: (attempt, commands, error) => events.emit({ type: "retry", attempt, commands, error }),
        ...this.#setup.ofBatch?.(() => batch),
      });
      const nears = new Nears();
      const invalidator = this.#setup.invalidator?.(store, number, events);
      return { batch, loads: new Loads(nears), nears, fleet, invalidator };
    });
  }

  /** Returns the keyspace of a home. */
  keyspace({ configured, database, segment }: Home): Keyspace {
    const { numbered } = this.store(configured);
    const { config } = configured;
    const prefix = prefixOf({ numbered, prefix: config.prefix, segment }, database);
    const sent = numbered ? database : 0;
    return (this.#setup.shards?.(sent, prefix, config) as Keyspace | undefined) ?? new Shard(sent, prefix);
  }

  /** Returns the parts of a context that all caches of a home share. */
  context(home: Home): SharedContext {
    const { batch, loads, nears, invalidator } = this.lane(home);
    const { timeout, onError, ttl, defaults } = home.configured.config;
    const space = this.keyspace(home);
    return {
      batch,
      loads,
      nears,
      rateLimits: this.#setup.rateLimits,
      remembered: (make) =>
        remember(this.#state.remembered, `${home.configured.opening.key} ${home.database}`, make) as ReturnType<
          typeof make
        >,
      locks: this.#setup.locks,
      fleetCounts: this.#setup.fleetCounts,
      invalidator,
      timeout,
      onError,
      space,
      events: this.#state.events,
      policy: policyOf(
        { ...DEFAULT_POLICY, classes: ttl, ttl: ttl.default ?? Number.POSITIVE_INFINITY },
        { ...defaults, ttl: undefined },
      ),
      scripts: { ...READ_SCRIPTS },
      now: this.#state.clock ?? Date.now,
      waitUntil: this.#setup.hooks.waitUntil,
      known: this.#state.known,
      ...this.#setup.ofContext?.(space),
    };
  }

  /** Returns the near cache of a collection, or of a cache without a service; its logical keys start with `prefix`. */
  near(home: Home, space: Keyspace, target: CacheTarget, prefix: string, options: NearOptions): NearCache {
    const store = this.store(home.configured);
    const { events, nears, known, clock } = this.#state;
    const { database } = space;
    const location = `${database} ${target.service} ${target.collection}`;
    const near = remember(nears, location, () => {
      const nearCache = needed(this.#setup.nearCache, "make a near cache", "nearCache");
      const start = space.shards[1] ? space.prefix : space.key(prefix);
      const { ttl: classes } = home.configured.config;
      return nearCache({ options, space, target, database, prefix: start, events, store, now: clock, known, classes });
    });
    this.lane(home).nears.add(near);
    return near;
  }
}
