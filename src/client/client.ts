import type { Command } from "../../drivers/driver.ts";
import { checkFunction, checkNames, invalid } from "../base/check.ts";
import { CacheConfigError } from "../base/errors.ts";
import { toStoreError } from "../base/foreign_error.ts";
import { remember } from "../base/remember.ts";
import { showsLife } from "../base/store_error.ts";
import type { Timeout } from "../base/ttl.ts";
import { Cache } from "../cache/cache.ts";
import { type CallOptions, timeoutOf } from "../cache/call.ts";
import type { CacheContext } from "../cache/context.ts";
import type { FleetStats } from "../cache/fleet.ts";
import { COMMON } from "../config/common.ts";
import { sealOptions } from "../entry/codec.ts";
import { rawKeys } from "../entry/keyspace.ts";
import type { KeyRing } from "../entry/seal.ts";
import { PROBE } from "../lua/small.ts";
import type { FoodFastServices } from "../services/all.ts";
import { OWN_DATABASE } from "../services/databases.ts";
import {
  type Collections,
  difference,
  type ServiceBase,
  type ServiceDefinition,
  type ServiceOf,
} from "../services/service.ts";
import type { CacheListener, Sending } from "../telemetry/events.ts";
import { Counters, type LiveCounters } from "../telemetry/stats.ts";
import { Assembly, type Home } from "./assembly.ts";
import { ClientState } from "./client_state.ts";
import { createService } from "./create_service.ts";
import type { Health } from "./health.ts";
import type { StoreConnection } from "./store_connection.ts";
import type { ClientHooks, ClientStats, Location, LocationOf, Setup } from "./types.ts";

/**
 * A client: one configuration, its drivers, its services and caches. `createCacheClient` makes it. No I/O takes place
 * before the first operation.
 *
 * @typeParam S The services that can be asked for by name; by default those of Food Fast.
 */
export class CacheClient<S extends object = FoodFastServices> {
  readonly #setup: Setup<S>;
  readonly #state: ClientState;
  readonly #assembly: Assembly;
  readonly #store: StoreConnection;
  /** The home of the unnamed cache. */
  readonly #home: Home;
  readonly #services = new Map<string, { definition: ServiceDefinition; service: ServiceBase; home: Home }>();
  /** The services by declaration. A declaration that was evaluated again has its own service object. */
  readonly #declared = new WeakMap<ServiceDefinition, ServiceBase>();
  readonly #caches = new Map<number, Cache<string | number>>();
  #closed = false;

  /**
   * Makes a client. Applications call `createCacheClient`.
   *
   * @internal
   * @param setup The parts that the build gives its clients.
   * @param state The state of the client that it is made of, if it is for a request.
   */
  constructor(setup: Setup<S>, state: ClientState = new ClientState(setup)) {
    this.#setup = setup;
    this.#state = state;
    this.#assembly = new Assembly(setup, state);
    const { own } = setup.configurations;
    this.#home = { configured: own, database: own.config.database, segment: "" };
    this.#store = this.#assembly.store(own);
  }

  /** The name of the driver. */
  get driver(): string {
    return this.#store.name;
  }

  /** `true` once the client is closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** The way in which databases are kept apart, once `"auto"` is decided. */
  get databases(): "numbered" | "prefixed" {
    return this.#store.numbered ? "numbered" : "prefixed";
  }

  /**
   * Returns a service: its collections and verbs. A module that is evaluated more than once (hot reload, the layers of
   * Next.js, a second copy of a package) makes its declaration again. That is the same service, with the same keys,
   * counts, loads and near caches, and with the schemas and functions of the declaration that is passed. All else
   * in the two declarations must be equal.
   *
   * @param service The name of a Food Fast service or of one that was declared (then the latest declaration counts), or
   * a declaration made by `defineService`.
   * @returns The service; the same object for the same declaration.
   * @throws {CacheConfigError} For an encrypted service of the application's own without keys, and for problems of its
   * configuration.
   * @throws {TypeError} For an unknown name, a name declared twice in different ways (the message says what differs), a
   * database that another service has, or a custom service outside 8-15 (`allowSharedDatabases` permits the last two).
   */
  service<N extends keyof S & string>(service: N): ServiceOf<S[N]>;
  /**
   * Returns a declared service.
   *
   * @param service The declaration.
   * @returns The service; the same object for the same declaration.
   */
  service<D extends ServiceDefinition>(service: D): ServiceOf<D>;
  service(service: string | ServiceDefinition): unknown {
    const definition = Object(service) === service ? (service as ServiceDefinition) : this.#byName(service as string);
    const known = this.#services.get(definition.name);
    const same = typeof service === "string" ? known?.service : this.#declared.get(definition);
    if (same) return same;
    const differs = known && difference(known.definition, definition);
    if (differs) {
      const expected = `that of the client (${differs}); restart after a change`;
      throw invalid(`use the service ${definition.name}`, definition, expected, TypeError, "another declaration");
    }
    const home = this.#homeOf(definition);
    const { config } = home.configured;
    if (!known) this.#admit(definition.name, home);
    const context = this.#assembly.context(home);
    const made = createService<Collections, object>(definition, {
      database: home.database,
      context,
      ring: this.#ringOf(definition, home),
      counters: remember(this.#state.counters, definition.name, (): Counters[] => []),
      config,
      near: (target, prefix, options) => this.#assembly.near(home, context.space, target, prefix, options),
      fleet: this.#assembly.lane(home).fleet,
    });
    this.#declared.set(definition, made);
    this.#services.set(definition.name, { definition, service: made, home });
    return made;
  }

  /**
   * Returns the generic verbs over one database.
   *
   * @param options `database`: its number, 0-15; default REDIS_DB, else 0.
   * @returns A cache whose keys are used as they are.
   * @throws {RangeError} For a database outside 0-15.
   * @throws {TypeError} For unknown options.
   */
  cache<T = unknown>(options?: { readonly database?: number }): Cache<string | number, T> {
    if (options !== undefined) checkNames(options, ["database"], "a cache");
    const { database = this.#home.database } = options ?? {};
    let cache = this.#caches.get(database);
    if (!cache) {
      const [[expected, fits]] = COMMON.database;
      if (!fits(database as never)) throw invalid("use a database", database, expected, RangeError);
      const home = { ...this.#home, database };
      const context = this.#assembly.context(home);
      const { near, compressAbove } = home.configured.config.defaults;
      const target = { service: "cache", collection: "" };
      const made: CacheContext = {
        ...context,
        target,
        shape: rawKeys,
        counters: remember(this.#state.rest, database, () => new Counters()),
        scripts: { ...context.scripts, values: near ? context.scripts.near : undefined },
        near: near ? this.#assembly.near(home, context.space, target, "", near === true ? {} : near) : undefined,
        sealing: sealOptions(this.#state.known, undefined, compressAbove),
      };
      this.#assembly.lane(home).fleet?.add(made);
      cache = new Cache(made);
      this.#caches.set(database, cache);
    }
    return cache as Cache<string | number, T>;
  }

  /**
   * Finds the location of the keys of a service or of a database, for tools.
   *
   * @param of The service, or the database.
   * @returns The location.
   * @throws {TypeError | RangeError} As {@linkcode CacheClient.service} and {@linkcode CacheClient.cache} do.
   * @throws {StoreError} When the client was closed, or its driver cannot be opened.
   */
  async locate({ service, database }: LocationOf): Promise<Location> {
    let home: Home = { ...this.#home, database: database ?? this.#home.database };
    let name: string | undefined;
    if (service === undefined) {
      this.cache({ database: home.database });
    } else {
      const made: ServiceBase = this.service(service as ServiceDefinition);
      name = made.name;
      home = this.#services.get(name)?.home ?? home;
    }
    const { database: sent, prefix, shards } = this.#assembly.keyspace(home);
    const tags = shards.map((shard) => shard.prefix.slice(prefix.length));
    const store = this.#assembly.store(home.configured);
    const driver = await store.driver();
    return { driver, database: sent, prefix, tags, service: name, number: home.database, numbered: store.numbered };
  }

  /**
   * Returns this client for one request of a Worker. Work that may go on after the response goes through `waitUntil`.
   * On runtimes that forbid requests to share sockets, timers or promises, it has its own. Counts, the breaker and near
   * caches are shared.
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
    return new CacheClient({ ...setup, hooks: { ...setup.hooks, ...hooks } }, this.#state);
  }

  /**
   * Opens the connection ahead of the first operation, to a cluster those to all masters. Masters that do not answer
   * are no error as long as one does: see {@linkcode CacheClient.health}.
   *
   * @param options `timeout`: the deadline, in milliseconds or as `"2s"`.
   * @throws {StoreError} When the store does not answer in time, whatever `onError` says. A refused PING is an answer.
   */
  async connect(options: { readonly timeout?: Timeout } = {}): Promise<void> {
    const timeout = timeoutOf(this.#home.configured.config, options);
    const { batch } = this.#assembly.lane(this.#home);
    const answered = batch.send(["PING"], [], timeout, true).catch((error) => {
      if (!showsLife(error)) throw error;
    });
    await (this.#store.parts?.connect(answered, () => this.#store.driver(), timeout) ?? answered);
  }

  /**
   * Asks the store for a sign of life.
   *
   * @param options `timeout`: the deadline, in milliseconds or as `"2s"`.
   * @returns `true` if it answered, even with a refusal. {@linkcode CacheClient.health} checks reads and writes too.
   */
  async ping(options: { readonly timeout?: Timeout } = {}): Promise<boolean> {
    timeoutOf(this.#home.configured.config, options);
    return this.connect(options).then(
      () => true,
      () => false,
    );
  }

  /**
   * Checks the store by a read and by a write that changes nothing.
   *
   * @param options `timeout`: the deadline, in milliseconds or as `"2s"`.
   * @returns The result; a store that is away is part of it, not an error.
   */
  async health(options: { readonly timeout?: Timeout } = {}): Promise<Health> {
    const { name, untold } = this.#store;
    const about = { driver: name, databases: this.databases, ...(untold && { near: untold.message }) };
    const timeout = timeoutOf(this.#home.configured.config, options);
    const { batch } = this.#assembly.lane(this.#home);
    const space = this.#assembly.keyspace(this.#home);
    const ask = (timeout: number, ...command: Command): Promise<string | undefined> => {
      const sent = batch.send(command, [command.at(-1) as string], timeout, true);
      return sent.then(
        () => undefined,
        (error) => toStoreError(error).message,
      );
    };
    const check = async (left: number): Promise<Omit<Health, keyof typeof about>> => {
      const start = performance.now();
      const writing = ask(left, "EVAL", PROBE, 1, space.own("health"));
      const notRead = await ask(left, "MGET", space.of("").epochKey);
      const latency = performance.now() - start;
      const notWritten = await writing;
      const [reads, writes, error] = [notRead === undefined, notWritten === undefined, notRead ?? notWritten];
      return {
        ok: reads && writes,
        reads,
        writes,
        breaker: this.#store.breaker?.state ?? "closed",
        ...(reads && { latency }),
        ...(error !== undefined && { error }),
      };
    };
    const { parts } = this.#store;
    const checked = parts?.health(check, () => this.#store.driver(), batch, space, timeout) ?? check(timeout);
    return { ...about, ...(await checked) };
  }

  /**
   * Listens to everything that the client reports.
   *
   * @param listener Called with each event, at once.
   * @param options `quiet`: leaves out hits and misses, which then cost nothing unless another listener wants them.
   * @returns Stops listening.
   */
  subscribe(listener: CacheListener, options?: { readonly quiet?: boolean }): () => void {
    checkFunction(listener, "a listener");
    return this.#state.events.subscribe(listener, options?.quiet);
  }

  /**
   * Listens to what is sent to stores, for tools that trace or count it. Commands carry keys and values: keep neither.
   *
   * @param listener Called with each send as it leaves. What it throws is ignored.
   * @returns Stops listening.
   */
  onSend(listener: (sending: Sending) => void): () => void {
    return this.#state.sends.subscribe(listener);
  }

  /**
   * Returns the live counters of every cache and collection; reading them costs nothing. Caches without a service are
   * those of `"cache"`, one for each database.
   *
   * @returns The counters by service: its own first, then those of its collections.
   */
  counters(): readonly (readonly [service: string, counters: readonly LiveCounters[]])[] {
    const { counters, rest } = this.#state;
    return [...counters, ["cache", [...rest.values()]]];
  }

  /** Returns the counts of operations and sends since this client was made. */
  stats(): ClientStats {
    const { counters, wire } = this.#state;
    const services = Object.fromEntries([...counters].map(([name, own]) => [name, Counters.total(own)]));
    return { ...Counters.total(this.counters().flatMap(([, own]) => own)), services, wire: { ...wire } };
  }

  /**
   * Reads the counts of this client's services in all processes whose clients have `fleetStats` on.
   *
   * @param options Deadline and error handling.
   * @returns The counts of each service that this client has used: zeros if no client has `fleetStats` on. Services
   * whose store is away are left out.
   */
  async fleetStats(options?: CallOptions): Promise<Readonly<Record<string, FleetStats>>> {
    const all = [...this.#services].map(
      async ([name, { service }]) => [name, await service.fleetStats(options)] as const,
    );
    return Object.fromEntries((await Promise.all(all)).filter((entry): entry is [string, FleetStats] => !!entry[1]));
  }

  /**
   * Waits for the operations that were issued, then closes the connections. A ready driver stays open. Later operations
   * behave as if the store were away.
   */
  async close(): Promise<void> {
    this.#closed = true;
    const { timeout } = this.#home.configured.config;
    await Promise.all([...this.#assembly.stores.values()].map((store) => store.close(timeout)));
  }

  /** Closes the client at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #byName(name: string): ServiceDefinition {
    const named = this.#setup.services as Readonly<Record<string, ServiceDefinition>>;
    const definition = Object.hasOwn(named, name) ? named[name] : this.#services.get(name)?.definition;
    if (definition) return definition;
    throw invalid("use a service", name, [...Object.keys(named), "a declared service"].join(", "), TypeError);
  }

  /** Returns the home of a service: the database that it names, otherwise the one that services share. */
  #homeOf(definition: ServiceDefinition): Home {
    const { name, database = OWN_DATABASE } = definition;
    const configured = this.#setup.configurations.ofService(definition);
    const shared = definition.database === undefined || configured.config.allowSharedDatabases;
    return { configured, database, segment: shared ? name : "" };
  }

  /**
   * Returns the encryption keys of a service.
   *
   * @throws {CacheConfigError} If an application's own service is encrypted and no keys are set.
   */
  #ringOf({ name, encrypted }: ServiceDefinition, { configured }: Home): KeyRing | undefined {
    if (!encrypted) return undefined;
    const ring = this.#state.ring(configured.config);
    if (ring) return ring;
    const keys = 'CACHE_ENCRYPTION_KEYS (option "encryption")';
    if (!this.#setup.reserved.includes(name)) {
      throw new CacheConfigError([`${keys} is not set, but the service ${name} is encrypted`]);
    }
    // Values of the memory driver never leave the process.
    if (this.#assembly.store(configured).name !== "memory")
      this.#setup.warn?.(`values of auth and payment are stored in plain text: ${keys} is not set`);
    return undefined;
  }

  /** Throws for a service in a database that belongs to another. */
  #admit(name: string, { configured, database, segment }: Home): void {
    if (configured.config.allowSharedDatabases) return;
    const { reserved } = this.#setup;
    const own = reserved.indexOf(name);
    let owner = own === database ? undefined : reserved[database];
    for (const [other, { home }] of this.#services) {
      if (home.database === database && !(segment && home.segment)) owner ??= other;
    }
    if (owner === undefined && (own < 0 || own === database)) return;
    const hint = `one from 8-15 without the service ${owner}, or CACHE_ALLOW_SHARED_DATABASES`;
    throw invalid(`put the service ${name} in a database`, database, own < 0 ? hint : `${own}`, TypeError);
  }
}
