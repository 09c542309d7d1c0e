import type { Driver, StoreError } from "../../drivers/driver.ts";
import { checkFunction, checkNames, describe } from "../base/check.ts";
import { CacheConfigError } from "../base/errors.ts";
import { hookError, toStoreError } from "../base/foreign_error.ts";
import { showsLife } from "../base/store_error.ts";
import type { Timeout } from "../base/ttl.ts";
import { Cache } from "../cache/cache.ts";
import { type CallOptions, timeoutOf } from "../cache/call.ts";
import { type CacheContext, lookAt } from "../cache/context.ts";
import { checkScope, Fleet, type FleetStats } from "../cache/fleet.ts";
import type { rateLimits } from "../cache/rate_limits.ts";
import type { CommonConfig } from "../config/options.ts";
import type { NearOptions } from "../config/policy.ts";
import { DEFAULT_POLICY, policyOf } from "../config/policy.ts";
import { type Known, knowClasses, type SuperClass } from "../entry/codec.ts";
import { Keyspace, rawKeys } from "../entry/keyspace.ts";
import { type KeyRing, keyRing } from "../entry/seal.ts";
import { probe } from "../lua/entries.ts";
import { coarseClock } from "../near/coarse_clock.ts";
import { NearCache } from "../near/near_cache.ts";
import { AT_EDGE } from "../runtime/edge.ts";
import {
  type AnyService,
  type Collections,
  createService,
  difference,
  SERVICE_DATABASES,
  type ServiceBase,
  type ServiceOf,
} from "../services/service.ts";
import type { BreakerState } from "../telemetry/events.ts";
import { type CacheListener, type CacheTarget, Events, type Sending } from "../telemetry/events.ts";
import { type CacheStats, Counters, type LiveCounters } from "../telemetry/stats.ts";
import { Batch, type BatchStats, type ReadRights } from "../wire/batch.ts";
import { Breaker } from "../wire/breaker.ts";
import { type Lane, type Opening, StoreConnection } from "./store_connection.ts";

/** What a client calls in the application. */
export interface ClientHooks {
  /**
   * Takes over work that may go on after the response, such as writing a loaded value:
   * `(promise) => context.waitUntil(promise)`. What it throws is an `error` event, and costs nothing but that.
   * @default callers wait for it
   */
  readonly waitUntil?: (promise: Promise<unknown>) => void;
  /**
   * The time in milliseconds since 1970, for the age of entries, near caches and the memory driver. Processes of one
   * store should agree within a second. When one of your own is set back by more than that, what has a TTL in the
   * memory driver is over. @default Date.now
   */
  readonly clock?: () => number;
  /**
   * Classes whose instances may be stored, by any cache or service of the client: what enumerable properties of their
   * own they have comes back, with the class's methods; private fields (`#name`) do not.
   * @default none: an instance is refused
   *
   * @example
   * ```ts
   * import { createCacheClient } from "@foodfast/larder";
   *
   * class Money {
   *   constructor(readonly cents: number) {}
   *   toString(): string {
   *     return `${this.cents / 100} €`;
   *   }
   * }
   * await using client = createCacheClient({ driver: "memory", superClasses: [[Money, "shop.Money"]] });
   * await client.cache().set("price", { pho: new Money(950) });
   * console.log(`${(await client.cache<{ pho: Money }>().get("price"))?.pho}`); // "9.5 €"
   * ```
   */
  readonly superClasses?: readonly SuperClass[];
}

/** What a build of the library gives its clients. */
export interface Setup<S> {
  /** What the client calls. */
  readonly hooks: ClientHooks;
  /** Told of failures. */
  readonly listener?: CacheListener | undefined;
  /** Told once of what is as it is. */
  readonly warn?: ((message: string) => void) | undefined;
  /** The services that can be asked for by name. */
  readonly services: S;
  /** Makes the verbs of rate limits. */
  readonly rateLimits?: typeof rateLimits | undefined;
  /** The configuration; for a service, with what is its own. @throws {CacheConfigError} With every problem. */
  configure(service?: AnyService): CommonConfig;
  /** How to open the store that a configuration names, and what tells it from others. */
  store(config: CommonConfig): Opening & { readonly key: string };
}

/** What a client's health check found. */
export interface Health {
  /** Whether all is well: reads and writes work. */
  readonly ok: boolean;
  /** Whether the store answers reads. */
  readonly reads: boolean;
  /**
   * Whether the store takes writes. A replica, a full store and one that cannot persist refuse them, and so does one
   * whose user may not write or run scripts. Found out by a script that changes nothing.
   */
  readonly writes: boolean;
  /** The driver's name. */
  readonly driver: string;
  /** How databases are kept apart. */
  readonly databases: "numbered" | "prefixed";
  /** What the circuit breaker lets through; `"closed"` where there is none. */
  readonly breaker: BreakerState;
  /** How long the store took to answer, in milliseconds; absent where reads do not work. */
  readonly latency?: number;
  /** Why reads, or else writes, do not work, without secrets. */
  readonly error?: string;
  /**
   * Why near caches keep nothing: the store refuses to tell of changes, in its words. Absent where it tells, and where
   * nobody has asked it to.
   */
  readonly near?: string;
}

/** What to find the {@linkcode Location} of. */
export interface LocationOf {
  /** A service's name or declaration. */
  readonly service?: string | AnyService | undefined;
  /** A database, 0-15, where no service is given. @default REDIS_DB, else 0 */
  readonly database?: number | undefined;
}

/** Where keys live: for tools that speak to the store themselves. */
export interface Location {
  /** The wire to the store, opened. It is the client's to close. */
  readonly driver: Driver;
  /** The database as it is sent: 0 where databases are prefixes. */
  readonly database: number;
  /** What stands in front of every key in the store. */
  readonly prefix: string;
  /** The service's name, if it is one's place. */
  readonly service?: string | undefined;
  /** The database's number, 0-15. */
  readonly number: number;
  /** Whether the store has numbered databases, and they are used. */
  readonly numbered: boolean;
}

/** What a client did since this client was made. */
export interface ClientStats extends CacheStats {
  /** The statistics of each service. */
  readonly services: Readonly<Record<string, CacheStats>>;
  /** What went over the wire. */
  readonly wire: Readonly<BatchStats>;
}

/**
 * What an application holds: one configuration, its drivers, its services. Made by `createCacheClient`; no I/O takes place
 * before the first operation.
 *
 * @typeParam S The services that can be asked for by name.
 */
export class CacheClient<S extends object = Record<never, never>> {
  readonly #setup: Setup<S>;
  readonly #config: CommonConfig;
  readonly #store: StoreConnection;
  readonly #shared: ClientState;
  readonly #stores: Map<string, StoreConnection>;
  readonly #services = new Map<string, { definition: AnyService; service: ServiceBase }>();
  /** The services of all declarations, those among them that were made again. */
  readonly #declared = new WeakMap<AnyService, ServiceBase>();
  readonly #caches = new Map<number, Cache<string | number>>();
  #closed = false;

  /**
   * Makes a client; `createCacheClient` does it.
   *
   * @param setup What the build gives its clients.
   * @param shared What another client shares with it.
   */
  constructor(setup: Setup<S>, shared?: ClientState) {
    this.#setup = setup;
    this.#shared = shared ?? new ClientState(setup);
    this.#stores = (!AT_EDGE && shared?.stores) || new Map();
    this.#shared.stores ??= this.#stores;
    this.#config = this.#shared.config;
    this.#store = this.#storeOf(this.#config);
  }

  /** The name of the driver. */
  get driver(): string {
    return this.#store.name;
  }

  /** Whether the client was closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** How databases are kept apart, after `"auto"` is decided. */
  get databases(): "numbered" | "prefixed" {
    return this.#store.numbered ? "numbered" : "prefixed";
  }

  /**
   * A service: its collections and verbs. A declaration that is made again, by a module that is evaluated more than
   * once (hot reload, the layers of Next.js, a second copy of a package), is the same service: same keys, counts, loads
   * and near caches, and the schemas and functions of the declaration that was passed. It must say the same but for
   * these.
   *
   * @param service The name of a Food Fast service or of one that was declared (then the latest declaration counts), or
   * a declaration made by `defineService`.
   * @returns The service; the same object for the same declaration.
   * @throws {CacheConfigError} For an encrypted service of the application's own where there are no keys, and for
   * problems of its configuration.
   * @throws {TypeError} For an unknown name, a name declared twice in different ways (the message says what differs), a
   * database that another service has, or a custom service outside 8-15 (`allowSharedDatabases` permits the last two).
   */
  service<N extends keyof S & string>(service: N): ServiceOf<S[N]>;
  /**
   * A declared service.
   *
   * @param service The declaration.
   * @returns The service; the same object for the same declaration.
   */
  service<D extends AnyService>(service: D): ServiceOf<D>;
  service(service: string | AnyService): unknown {
    const definition = Object(service) === service ? (service as AnyService) : this.#byName(service as string);
    const known = this.#services.get(definition.name);
    const same = typeof service === "string" ? known?.service : this.#declared.get(definition);
    if (same) return same;
    const differs = known && difference(known.definition, definition);
    if (differs) {
      const two = `two declarations of the service ${definition.name} in one client`;
      throw new TypeError(`cannot use ${two}: ${differs}; restart after a change`);
    }
    const config = this.#setup.configure(definition);
    if (!known) this.#admit(definition, config);
    const segment = config.allowSharedDatabases ? definition.name : "";
    const { context, lane } = this.#context(config, definition.database, segment);
    const ring = this.#ringOf(definition, config);
    let counters = this.#shared.counters.get(definition.name);
    if (!counters) {
      counters = [];
      this.#shared.counters.set(definition.name, counters);
    }
    const made = createService<Collections, object>(definition, {
      context,
      ring,
      counters,
      ttls: config.ttls,
      defaults: config.defaults,
      near: (options, collection, prefix) => {
        const target = { service: definition.name, collection };
        return this.#near(config, lane, context.space, target, prefix, options);
      },
      fleet: lane.fleet,
    });
    this.#declared.set(definition, made);
    this.#services.set(definition.name, { definition, service: made });
    return made;
  }

  /**
   * The generic verbs over one database.
   *
   * @param options `database`: its number, 0-15; default REDIS_DB, else 0.
   * @returns A cache whose keys are used as they are.
   * @throws {RangeError} For a database outside 0-15.
   * @throws {TypeError} For options that are none.
   */
  cache<T = unknown>(options?: { readonly database?: number }): Cache<string | number, T> {
    if (options !== undefined) checkNames(options, ["database"], "a cache");
    const { database = this.#config.database } = options ?? {};
    if (!(Number.isInteger(database) && database >= 0 && database <= 15)) {
      throw new RangeError(`cannot use database ${describe(database)}: accepted are 0 to 15`);
    }
    let cache = this.#caches.get(database);
    if (!cache) {
      const { context, lane } = this.#context(this.#config, database, "");
      const { near, compressAbove = false } = this.#config.defaults;
      const target = { service: "cache", collection: "" };
      const { rest } = this.#shared;
      const counters = rest.get(database) ?? new Counters();
      rest.set(database, counters);
      const made: CacheContext = {
        ...context,
        target,
        shape: rawKeys,
        counters,
        readScript: near ? lookAt(context.space) : undefined,
        near: near ? this.#near(this.#config, lane, context.space, target, "", near === true ? {} : near) : undefined,
        sealing: compressAbove === false ? undefined : { compressAbove },
      };
      lane.fleet?.add(made);
      cache = new Cache(made);
      this.#caches.set(database, cache);
    }
    return cache as Cache<string | number, T>;
  }

  /**
   * Where the keys of a service or of a database live in the store, for tools.
   *
   * @param of The service, or the database.
   * @returns The place.
   * @throws {TypeError | RangeError} As {@linkcode CacheClient.service} and {@linkcode CacheClient.cache} do.
   * @throws {StoreError} When the client was closed, or its driver cannot be opened.
   */
  async locate({ service, database }: LocationOf): Promise<Location> {
    let config = this.#config;
    let number = database ?? config.database;
    let segment = "";
    let name: string | undefined;
    if (service === undefined) {
      this.cache({ database: number });
    } else {
      const made = this.service(service as AnyService);
      name = made.name;
      number = made.database;
      config = this.#setup.configure(this.#services.get(made.name)?.definition);
      if (config.allowSharedDatabases) segment = made.name;
    }
    const { numbered } = this.#lane(number, config);
    const { database: sent, prefix } = new Keyspace(number, { numbered, prefix: config.prefix, segment });
    const driver = await this.#storeOf(config).driver();
    return { driver, database: sent, prefix, service: name, number, numbered };
  }

  /**
   * This client for one request of a Worker: what it leaves for after the response goes through `waitUntil`. Where the runtime forbids that
   * requests share sockets, timers or promises, it has its own; counts, the breaker and near caches are shared.
   *
   * @param hooks `waitUntil`, as the runtime gives it for the request.
   * @returns A client; it need not be closed.
   * @throws {TypeError} Without `waitUntil`.
   *
   * @example
   * ```ts
   * import { createCacheClient } from "@foodfast/larder";
   *
   * const client = createCacheClient({ driver: "memory" });
   * const worker = {
   *   async fetch(_request: Request, _env: unknown, context: { waitUntil(promise: Promise<unknown>): void }) {
   *     const cache = client.forRequest({ waitUntil: (promise) => context.waitUntil(promise) }).cache();
   *     return new Response(await cache.getOrSet("greeting", () => "hello", { staleFor: "1m" }));
   *   },
   * };
   * const response = await worker.fetch(new Request("https://shop.example/"), {}, { waitUntil() {} });
   * console.log(await response.text()); // "hello"
   * ```
   */
  forRequest(hooks: Required<Pick<ClientHooks, "waitUntil">>): CacheClient<S> {
    const setup = this.#setup;
    checkFunction((hooks as typeof hooks | undefined)?.waitUntil, "waitUntil");
    return new CacheClient({ ...setup, hooks: { ...setup.hooks, ...hooks } }, this.#shared);
  }

  /**
   * Opens the connection ahead of the first operation.
   *
   * @param options `timeout`: the deadline, in milliseconds or as `"2s"`.
   * @throws {StoreError} When the store does not answer in time, whatever `onError` says. A user who may not send PING
   * is answered: the store is there.
   */
  async connect(options: { readonly timeout?: Timeout } = {}): Promise<void> {
    const { lane } = this.#lane(this.#config.database, this.#config);
    try {
      await lane.batch.send(["PING"], [], timeoutOf(this.#config, options), true);
    } catch (error) {
      if (!showsLife(error)) throw error;
    }
  }

  /**
   * Asks the store for a sign of life.
   *
   * @param options `timeout`: the deadline, in milliseconds or as `"2s"`.
   * @returns Whether it answered, be it with a refusal; {@linkcode CacheClient.health} tells whether it can be used.
   */
  async ping(options: { readonly timeout?: Timeout } = {}): Promise<boolean> {
    timeoutOf(this.#config, options);
    return this.connect(options).then(
      () => true,
      () => false,
    );
  }

  /**
   * How the store is, by a read and a write that changes nothing.
   *
   * @param options `timeout`: the deadline, in milliseconds or as `"2s"`.
   * @returns What was found; a store that is away is no exception.
   */
  async health(options: { readonly timeout?: Timeout } = {}): Promise<Health> {
    const { name, untold } = this.#store;
    const about = { driver: name, databases: this.databases, ...(untold && { near: untold.message }) };
    const timeout = timeoutOf(this.#config, options);
    const { batch, space } = this.#context(this.#config, this.#config.database, "").context;
    const start = performance.now();
    const failure = (error: unknown): string => toStoreError(error).message;
    const writing = batch.run(probe, [space.own("health")], [], timeout, true).then(() => undefined, failure);
    const notRead = await batch
      .send(["MGET", space.epochKey], [space.epochKey], timeout, true)
      .then(() => undefined, failure);
    const latency = performance.now() - start;
    const notWritten = await writing;
    const [reads, writes, error] = [notRead === undefined, notWritten === undefined, notRead ?? notWritten];
    return {
      ok: reads && writes,
      reads,
      writes,
      ...about,
      breaker: this.#store.breaker?.state ?? "closed",
      ...(reads && { latency }),
      ...(error !== undefined && { error }),
    };
  }

  /**
   * Listens to everything that the client reports.
   *
   * @param listener Called with each event, at once.
   * @param options `quiet`: hits and misses are not needed, so that they cost nothing where nobody else listens for them.
   * @returns Stops listening.
   */
  subscribe(listener: CacheListener, options?: { readonly quiet?: boolean }): () => void {
    checkFunction(listener, "a listener");
    return this.#shared.events.subscribe(listener, options?.quiet);
  }

  /**
   * Listens to what is sent to stores, for tools that trace or count it. Commands carry keys and values: keep neither.
   *
   * @param listener Called with each send as it leaves. What it throws is ignored.
   * @returns Stops listening.
   */
  onSend(listener: (sending: Sending) => void): () => void {
    return this.#shared.sends.subscribe(listener);
  }

  /**
   * The counters of every cache and collection, live: reading them costs nothing. Caches without a service are those of `"cache"`, one for each database.
   *
   * @returns The counters by service: its own first, then those of its collections.
   */
  counters(): readonly (readonly [service: string, counters: readonly LiveCounters[]])[] {
    const { counters, rest } = this.#shared;
    return [...counters, ["cache", [...rest.values()]]];
  }

  /** What the client, its services and its wires did since this client was made. */
  stats(): ClientStats;
  /**
   * What they did in all processes that count together: those whose clients have `fleetStats` on.
   *
   * @param options `scope: "fleet"`; deadline and error handling.
   * @returns The counts of each service that this client has used, zeros where no client has `fleetStats` on; without those whose store is away.
   */
  stats(options: { readonly scope: "fleet" } & CallOptions): Promise<Readonly<Record<string, FleetStats>>>;
  stats(
    options?: { readonly scope: "fleet" } & CallOptions,
  ): ClientStats | Promise<Readonly<Record<string, FleetStats>>> {
    if (options) return this.#fleetStats(options);
    const { counters, wire } = this.#shared;
    const services: Record<string, CacheStats> = {};
    for (const [name, own] of counters) services[name] = Counters.total(own);
    return { ...Counters.total(this.counters().flatMap(([, own]) => own)), services, wire: { ...wire } };
  }

  async #fleetStats(options: { readonly scope: "fleet" } & CallOptions): Promise<Record<string, FleetStats>> {
    checkScope(options);
    const entries = [...this.#services].map(
      async ([name, { service }]) => [name, await service.stats(options)] as const,
    );
    const found = (await Promise.all(entries)).filter((entry): entry is [string, FleetStats] => entry[1] !== undefined);
    return Object.fromEntries(found);
  }

  /**
   * Waits for what was issued, then closes the connections; a driver that was handed in stays open. Later operations answer as with a
   * store that is away.
   */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#stores.values()].map((store) => store.close(this.#config.timeout)));
  }

  /** Closes the client at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #byName(name: string): AnyService {
    const named = this.#setup.services as Readonly<Record<string, AnyService>>;
    const definition = Object.hasOwn(named, name) ? named[name] : this.#services.get(name)?.definition;
    if (definition) return definition;
    const accepted = [...Object.keys(this.#setup.services), "what defineService declares"].join(", ");
    throw new TypeError(`cannot use the service ${describe(name)}: accepted are ${accepted}`);
  }

  /** The keys of an encrypted service. @throws {CacheConfigError} Where a service of the application's own has none. */
  #ringOf({ name, encrypted }: AnyService, config: CommonConfig): KeyRing | undefined {
    if (!encrypted) return undefined;
    const ring = this.#shared.ring(config);
    if (ring) return ring;
    const keys = 'CACHE_ENCRYPTION_KEYS (option "encryption")';
    if (!Object.hasOwn(SERVICE_DATABASES, name)) {
      throw new CacheConfigError([`${keys} is not set, but the service ${name} is encrypted`]);
    }
    // What is in memory alone is stored nowhere.
    if (this.#storeOf(config).name !== "memory")
      this.#setup.warn?.(`values of auth and payment are stored in plain text: ${keys} is not set`);
    return undefined;
  }

  #admit({ name, database }: AnyService, config: CommonConfig): void {
    if (config.allowSharedDatabases) return;
    const hint = "choose another from 8-15, or set CACHE_ALLOW_SHARED_DATABASES";
    const own = Object.hasOwn(SERVICE_DATABASES, name) ? SERVICE_DATABASES[name] : undefined;
    if (own === undefined ? database < 8 : database !== own) {
      throw new TypeError(
        own === undefined
          ? `cannot put the service ${name} in database ${database}: 0-7 belong to the Food Fast services; ${hint}`
          : `cannot put the service ${name} in database ${database}: its own is ${own}`,
      );
    }
    for (const [other, { definition }] of this.#services) {
      if (definition.database === database) {
        throw new TypeError(`cannot put the service ${name} in database ${database}: ${other} has it; ${hint}`);
      }
    }
  }

  /** Configurations that name one store share its connections. */
  #storeOf(config: CommonConfig): StoreConnection {
    const opening = this.#setup.store(config);
    let store = this.#stores.get(opening.key);
    if (!store) {
      store = new StoreConnection(opening, config.databases, this.#shared.breaker(opening, config));
      this.#stores.set(opening.key, store);
    }
    return store;
  }

  #lane(database: number, config: CommonConfig): { lane: Lane; numbered: boolean } {
    const store = this.#storeOf(config);
    const { numbered, breaker } = store;
    const { events, wire, sends } = this.#shared;
    const lane = store.lane(numbered ? database : 0, (number) => {
      const fleet = config.defaults.fleetStats
        ? this.#shared.fleet(`${this.#setup.store(config).key} ${number}`)
        : undefined;
      const batch: Batch = new Batch({
        database: number,
        driver: () => store.driver(),
        loads: true,
        retries: config.retries,
        wire,
        breaker,
        onLeave:
          fleet &&
          (() => {
            // Counts are never sent twice: while the last send failed, as a breaker knows, they wait.
            if (!breaker?.failing) fleet.ride(batch, config.timeout);
          }),
        sends,
        rights: this.#shared.rights(this.#setup.store(config).key),
        onRetry: (attempt, commands, error) => events.emit({ type: "retry", attempt, commands, error }),
      });
      return { batch, loads: new Map(), nears: new Set(), fleet };
    });
    return { lane, numbered };
  }

  #context(
    config: CommonConfig,
    database: number,
    segment: string,
  ): { lane: Lane; context: Omit<CacheContext, "target" | "shape" | "counters" | "readScript"> } {
    const { lane, numbered } = this.#lane(database, config);
    const { prefix, timeout, onError, ttl, defaults } = config;
    const { hooks } = this.#setup;
    const space = new Keyspace(database, { numbered, prefix, segment });
    const context = {
      batch: lane.batch,
      loads: lane.loads,
      nears: lane.nears,
      rateLimits: this.#setup.rateLimits,
      timeout,
      onError,
      space,
      events: this.#shared.events,
      policy: policyOf(
        { ...DEFAULT_POLICY, classes: ttl, ttl: ttl.default ?? Number.POSITIVE_INFINITY },
        { ...defaults, ttl: undefined },
      ),
      texts: lookAt(space),
      heads: lookAt(space, 0, true),
      now: this.#shared.clock ?? Date.now,
      waitUntil: hooks.waitUntil,
      known: this.#shared.known,
    };
    return { lane, context };
  }

  #near(
    config: CommonConfig,
    lane: Lane,
    space: Keyspace,
    target: CacheTarget,
    prefix: string,
    options: NearOptions,
  ): NearCache {
    const store = this.#storeOf(config);
    const { events, nears } = this.#shared;
    const { service, collection } = target;
    const place = `${space.database} ${service} ${collection}`;
    let near = nears.get(place);
    if (!near) {
      const { clock = NEAR_CLOCK } = this.#shared;
      const driver = AT_EDGE ? undefined : () => store.driver();
      const { database } = space;
      const told = (refused?: StoreError): void => {
        if (store.untold?.message === refused?.message) return;
        store.untold = refused;
        const about = { driver: store.name };
        events.emit(
          refused ? { type: "near-unavailable", ...about, error: refused } : { type: "near-available", ...about },
        );
      };
      const more = { driver, told, now: clock, known: this.#shared.known, classes: config.ttl };
      near = new NearCache({ options, space, target, database, prefix: space.key(prefix), events, ...more });
      nears.set(place, near);
    }
    lane.nears.add(near);
    return near;
  }
}

/** Asking the time costs more than the rest of a near hit, and needs a timer to be saved: at the edge one ends with its request. */
const NEAR_CLOCK = AT_EDGE ? Date.now : coarseClock(() => Date.now());

/** What the client of a request shares with the one that it was made of. */
class ClientState {
  readonly config: CommonConfig;
  readonly events: Events = new Events();
  readonly sends: Events<Sending> = new Events();
  readonly wire: BatchStats = { commands: 0, roundTrips: 0, retries: 0 };
  /** The counters of each service and its collections. */
  readonly counters: Map<string, Counters[]> = new Map();
  /** The counters of caches without a service, by database. */
  readonly rest: Map<number, Counters> = new Map();
  /** The application's clock; where it throws, the system's is in its place. */
  readonly clock: (() => number) | undefined;
  /** The classes whose instances may be stored. */
  readonly known: Known | undefined;
  /** The near caches by database, service and collection. */
  readonly nears: Map<string, NearCache> = new Map();
  readonly #rings: Map<string, KeyRing> = new Map();
  readonly #breakers: Map<string, Breaker> = new Map();
  readonly #fleets: Map<string, Fleet> = new Map();
  readonly #rights: Map<string, ReadRights> = new Map();
  stores: Map<string, StoreConnection> | undefined;

  constructor(setup: Setup<object>) {
    if (setup.listener) this.events.subscribe(setup.listener, true);
    this.config = setup.configure();
    this.ring(this.config);
    const { clock, waitUntil, superClasses } = setup.hooks;
    if (waitUntil !== undefined) checkFunction(waitUntil, "waitUntil");
    if (clock !== undefined) {
      checkFunction(clock, "clock");
      this.clock = () => this.#time(clock);
    }
    if (superClasses !== undefined) this.known = knowClasses(superClasses);
  }

  #time(clock: () => number): number {
    try {
      const now = clock();
      if (Number.isFinite(now)) return now;
      throw new RangeError("it answered no finite number");
    } catch (thrown) {
      const error = hookError("clock", thrown);
      this.events.emit({ type: "error", operation: "clock", error, service: "cache", collection: "" });
      return Date.now();
    }
  }

  /** What is sent of the counts of one database: the clients of requests count together. */
  fleet(place: string): Fleet {
    const fleet = this.#fleets.get(place) ?? new Fleet();
    this.#fleets.set(place, fleet);
    return fleet;
  }

  /** The keys that a configuration names. */
  ring({ defaults: { encryption } }: CommonConfig): KeyRing | undefined {
    if (!encryption) return undefined;
    const id = JSON.stringify(encryption);
    const ring = this.#rings.get(id) ?? keyRing(encryption);
    this.#rings.set(id, ring);
    return ring;
  }

  /** What a store lets this user run. */
  rights(key: string): ReadRights {
    const rights = this.#rights.get(key) ?? { readBy: "EVAL" };
    this.#rights.set(key, rights);
    return rights;
  }

  breaker({ key, name }: { key: string; name: string }, { defaults }: CommonConfig): Breaker | undefined {
    if (defaults.breaker === false) return undefined;
    let breaker = this.#breakers.get(key);
    if (!breaker) {
      breaker = new Breaker(
        defaults.breaker ?? {},
        () => performance.now(),
        (state, error) => this.events.emit({ type: "breaker", driver: name, state, ...(error && { error }) }),
      );
      this.#breakers.set(key, breaker);
    }
    return breaker;
  }
}
