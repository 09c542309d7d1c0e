import type { StoreError } from "../drivers/driver.ts";
import { Batch, type WireStats } from "./batch.ts";
import { Cache, type CacheContext, type Load, timeoutOf } from "./cache.ts";
import type { CommonConfig } from "./config.ts";
import { toStoreError } from "./errors.ts";
import { type CacheListener, Events } from "./events.ts";
import { Keyspace, rawKeys } from "./keyspace.ts";
import {
  type Collections,
  createService,
  SERVICE_DATABASES,
  type ServiceBase,
  type ServiceDefinition,
  type ServiceOf,
} from "./service.ts";
import { type CacheStats, Counters } from "./stats.ts";
import { type Opening, Store } from "./store.ts";
import { describe } from "./ttl.ts";

/** What a client calls in the application. */
export interface ClientHooks {
  /** Takes over work that may go on after the response, such as writing a loaded value. @default callers wait for it */
  readonly waitUntil?: (promise: Promise<unknown>) => void;
}

/** What a build of the library gives its clients. */
export interface Setup<S> {
  /** What the client calls. */
  readonly hooks: ClientHooks;
  /** Told of failures. */
  readonly listener?: CacheListener | undefined;
  /** The services that can be asked for by name. */
  readonly services: S;
  /** The configuration; for a service, with what is its own. @throws {CacheConfigError} With every problem. */
  configure(service?: AnyService): CommonConfig;
  /** How to open the store that a configuration names, and what tells it from others. */
  store(config: CommonConfig): Opening & { readonly key: string };
}

/** A service of any type. */
// biome-ignore lint/suspicious/noExplicitAny: stands for services of every type
export type AnyService = ServiceDefinition<any, any>;

/** What a client's health check found. */
export interface Health {
  /** Whether the store answered. */
  readonly ok: boolean;
  /** The driver's name. */
  readonly driver: string;
  /** How databases are kept apart. */
  readonly databases: "numbered" | "prefixed";
  /** How long the store took to answer, in milliseconds. */
  readonly latency?: number;
  /** Why it did not, without secrets. */
  readonly error?: string;
}

/** What a client did since this client was made. */
export interface ClientStats extends CacheStats {
  /** The statistics of each service. */
  readonly services: Readonly<Record<string, CacheStats>>;
  /** What went over the wire. */
  readonly wire: Readonly<WireStats>;
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
  readonly #events: Events = new Events();
  readonly #stores = new Map<string, Store>();
  readonly #store: Store;
  readonly #services = new Map<string, { definition: AnyService; service: ServiceBase; counters: Counters[] }>();
  readonly #counters = new Counters();
  readonly #wire: WireStats = { commands: 0, roundTrips: 0, retries: 0 };
  #closed = false;

  /**
   * Makes a client; `createCacheClient` does it.
   *
   * @param setup What the build gives its clients.
   */
  constructor(setup: Setup<S>) {
    this.#setup = setup;
    if (setup.listener) this.#events.subscribe(setup.listener, true);
    this.#config = setup.configure();
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
   * A service: its collections and verbs.
   *
   * @param service The name of a Food Fast service, or a declaration made by `defineService`.
   * @returns The service; the same one each time.
   * @throws {TypeError} For an unknown name, a name declared twice, a database that another service has, or a custom service
   * outside 8-15 (`allowSharedDatabases` permits the last two).
   */
  service<N extends keyof S & string>(service: N): ServiceOf<S[N]>;
  /**
   * A declared service.
   *
   * @param service The declaration.
   * @returns The service; the same one each time.
   */
  service<D extends AnyService>(service: D): ServiceOf<D>;
  service(service: string | AnyService): unknown {
    const definition = typeof service === "string" ? this.#byName(service) : service;
    const known = this.#services.get(definition.name);
    if (known && (known.definition === definition || typeof service === "string")) return known.service;
    if (known) throw new TypeError(`cannot use two declarations of the service ${definition.name} in one client`);
    const config = this.#setup.configure(definition);
    this.#admit(definition, config);
    const segment = config.allowSharedDatabases ? definition.name : "";
    const counters: Counters[] = [];
    const context = this.#context(config, definition.database, segment);
    const made = createService<Collections, object>(definition, context, config.ttls, counters);
    this.#services.set(definition.name, { definition, service: made, counters });
    return made;
  }

  /**
   * The generic verbs over one database.
   *
   * @param options `database`: its number, 0-15; default REDIS_DB, else 0.
   * @returns A cache whose keys are used as they are.
   * @throws {RangeError} For a database outside 0-15.
   */
  cache<T = unknown>(options: { readonly database?: number } = {}): Cache<string | number, T> {
    const { database = this.#config.database } = options;
    if (!(Number.isInteger(database) && database >= 0 && database <= 15)) {
      throw new RangeError(`cannot use database ${describe(database)}: accepted are 0 to 15`);
    }
    return new Cache({
      ...this.#context(this.#config, database, ""),
      target: { service: "cache", collection: "" },
      shape: rawKeys,
      counters: this.#counters,
    });
  }

  /**
   * Opens the connection ahead of the first operation.
   *
   * @param options `timeout`: the deadline in milliseconds.
   * @throws {StoreError} When the store does not answer in time, whatever `onError` says.
   */
  async connect(options: { readonly timeout?: number } = {}): Promise<void> {
    const { batch } = this.#lane(this.#config.database, this.#config);
    await batch.send(["PING"], [], timeoutOf(this.#config, options), true);
  }

  /**
   * Asks the store for a sign of life.
   *
   * @param options `timeout`: the deadline in milliseconds.
   * @returns Whether it answered.
   */
  async ping(options: { readonly timeout?: number } = {}): Promise<boolean> {
    return (await this.health(options)).ok;
  }

  /**
   * How the store is.
   *
   * @param options `timeout`: the deadline in milliseconds.
   * @returns What was found; a store that is away is no exception.
   */
  async health(options: { readonly timeout?: number } = {}): Promise<Health> {
    const about = { driver: this.#store.name, databases: this.databases };
    timeoutOf(this.#config, options);
    const start = performance.now();
    try {
      await this.connect(options);
      return { ok: true, ...about, latency: performance.now() - start };
    } catch (error) {
      return { ok: false, ...about, error: toStoreError(error).message };
    }
  }

  /**
   * Listens to everything that the client reports.
   *
   * @param listener Called with each event, at once.
   * @returns Stops listening.
   */
  subscribe(listener: CacheListener): () => void {
    return this.#events.subscribe(listener);
  }

  /** What the client, its services and its wires did since this client was made. */
  stats(): ClientStats {
    const all = [this.#counters];
    const services: Record<string, CacheStats> = {};
    for (const [name, { service, counters }] of this.#services) {
      services[name] = service.stats();
      all.push(...counters);
    }
    return { ...Counters.total(all), services, wire: { ...this.#wire } };
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
  #storeOf(config: CommonConfig): Store {
    const opening = this.#setup.store(config);
    let store = this.#stores.get(opening.key);
    if (!store) {
      store = new Store(opening, config.databases);
      this.#stores.set(opening.key, store);
    }
    return store;
  }

  #lane(database: number, config: CommonConfig): { batch: Batch; loads: Map<string, Load>; numbered: boolean } {
    const store = this.#storeOf(config);
    const { numbered } = store;
    const lane = store.lane(numbered ? database : 0, (number) => {
      const options = {
        database: number,
        driver: () => store.driver(),
        retries: config.retries,
        wire: this.#wire,
        onRetry: (attempt: number, commands: number, error: StoreError): void =>
          this.#events.emit({ type: "retry", attempt, commands, error }),
      };
      return new Batch(options);
    });
    return { ...lane, numbered };
  }

  #context(
    config: CommonConfig,
    database: number,
    segment: string,
  ): Omit<CacheContext, "target" | "shape" | "counters"> {
    const { batch, loads, numbered } = this.#lane(database, config);
    const { prefix, timeout, onError } = config;
    return {
      batch,
      loads,
      timeout,
      onError,
      space: new Keyspace(database, { numbered, prefix, segment }),
      events: this.#events,
      ttl: config.ttl.default,
      waitUntil: this.#setup.hooks.waitUntil,
    };
  }
}
