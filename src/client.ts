import { type Driver, StoreError } from "../drivers/driver.ts";
import { Batch, type WireStats } from "./batch.ts";
import { Cache, type CacheContext, type Load } from "./cache.ts";
import type { Config, ConfigOptions, DriverName } from "./config.ts";
import { parseConfig } from "./config.ts";
import { toStoreError } from "./errors.ts";
import { type CacheListener, Events, type Logger } from "./events.ts";
import { Keyspace, rawKeys } from "./keyspace.ts";
import { readEnvironment } from "./runtime.ts";
import {
  type Collections,
  createService,
  SERVICE_DATABASES,
  type ServiceBase,
  type ServiceDefinition,
  type ServiceOf,
} from "./service.ts";
import { type CacheStats, Counters } from "./stats.ts";
import { describe } from "./ttl.ts";

/** The options of a client. All but the functions can be set by environment variables too. */
export interface ClientOptions extends ConfigOptions {
  /** The time in milliseconds since 1970, for the memory driver. @default Date.now */
  readonly clock?: () => number;
  /** Told of failures: `console`, a pino logger, or anything with `warn(details, message)`. */
  readonly logger?: Logger;
  /** Takes over work that may go on after the response, such as writing a loaded value. @default callers wait for it */
  readonly waitUntil?: (promise: Promise<unknown>) => void;
  /** Variables to read in the place of the process's own: the `env` of a Worker. Values that are not strings are passed over. */
  readonly env?: Readonly<Record<string, unknown>>;
}

const OTHER_OPTIONS = ["clock", "logger", "waitUntil", "env"];

/** How to open a wire. */
export interface Wire {
  /** Whether the store has numbered databases. */
  readonly numbered: boolean;
  /** Opens the driver; loads its code where that is loaded lazily. */
  open(config: Config, options: ClientOptions): Driver | Promise<Driver>;
}

/** The wires that a build can open by name. */
export type Wires = Readonly<Partial<Record<DriverName, Wire>>>;

// biome-ignore lint/suspicious/noExplicitAny: stands for services of every type
type AnyService = ServiceDefinition<any, any>;

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

/** What a client did in this process. */
export interface ClientStats extends CacheStats {
  /** The statistics of each service. */
  readonly services: Readonly<Record<string, CacheStats>>;
  /** What went over the wire. */
  readonly wire: Readonly<WireStats>;
}

/** One store, and what is gathered for it. */
class Store {
  readonly name: string;
  readonly numbered: boolean;
  readonly #open: () => Driver | Promise<Driver>;
  /** Whether the driver was handed in: then it is not the client's to close. */
  readonly #ready: boolean;
  readonly #lanes = new Map<number, { batch: Batch; loads: Map<string, Load> }>();
  #driver: Driver | Promise<Driver> | undefined;
  #closed = false;

  constructor(config: Config, options: ClientOptions, wires: Wires) {
    const ready = typeof options.driver === "object" ? options.driver : undefined;
    const wire = ready ? undefined : wires[config.driver];
    if (!ready && !wire) {
      const accepted =
        Object.keys(wires).join(", ") || "a driver made by its own factory, such as upstash({ url, token })";
      throw new TypeError(`cannot open the driver ${describe(config.driver)} here: accepted is ${accepted}`);
    }
    const numbered = ready?.capabilities.numbered ?? wire?.numbered ?? false;
    this.name = ready?.name ?? config.driver;
    if (config.databases === "numbered" && !numbered) {
      throw new TypeError(`cannot use numbered databases with ${this.name}: accepted are auto and prefixed`);
    }
    this.numbered = numbered && config.databases !== "prefixed";
    this.#ready = ready !== undefined;
    this.#open = () => ready ?? (wire as Wire).open(config, options);
  }

  driver(): Driver | Promise<Driver> {
    if (this.#closed) throw new StoreError("closed", "the cache client is closed");
    if (this.#driver) return this.#driver;
    const opening = this.#open();
    this.#driver = opening;
    if (opening instanceof Promise) {
      opening.then(
        (driver) => {
          this.#driver = driver;
        },
        () => {
          this.#driver = undefined;
        },
      );
    }
    return opening;
  }

  lane(database: number, make: (database: number) => Batch): { batch: Batch; loads: Map<string, Load> } {
    let lane = this.#lanes.get(database);
    if (!lane) {
      lane = { batch: make(database), loads: new Map() };
      this.#lanes.set(database, lane);
    }
    return lane;
  }

  /** Waits for what was issued, at most `timeout` ms, then closes the driver. */
  async close(timeout: number): Promise<void> {
    if (this.#closed) return;
    await Promise.all([...this.#lanes.values()].map(({ batch }) => batch.idle(timeout)));
    this.#closed = true;
    if (this.#ready) return;
    await (await Promise.resolve(this.#driver).catch(() => undefined))?.close();
  }
}

/**
 * What an application holds: one configuration, its drivers, its services. Made by `createCacheClient`; no I/O takes place
 * before the first operation.
 *
 * @typeParam S The services that can be asked for by name.
 */
export class CacheClient<S extends object = Record<never, never>> {
  readonly #config: Config;
  readonly #options: ClientOptions;
  readonly #wires: Wires;
  readonly #named: S;
  readonly #events: Events;
  readonly #stores = new Map<string, Store>();
  readonly #store: Store;
  readonly #services = new Map<string, { definition: AnyService; service: ServiceBase; counters: Counters[] }>();
  readonly #counters = new Counters();
  #closed = false;
  readonly #wire: WireStats = { commands: 0, roundTrips: 0, retries: 0 };

  /**
   * @param options The options; each beats its variable.
   * @param wires The wires that can be opened by name.
   * @param named The services that can be asked for by name.
   * @throws {CacheConfigError} With every problem of the configuration.
   */
  constructor(options: ClientOptions, wires: Wires, named: S) {
    this.#options = options;
    this.#wires = wires;
    this.#named = named;
    this.#events = new Events(options.logger);
    this.#config = this.#configure();
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
  service<D extends AnyService>(service: D): ServiceOf<D>;
  service(service: string | AnyService): unknown {
    const definition = typeof service === "string" ? this.#byName(service) : service;
    const known = this.#services.get(definition.name);
    if (known && (known.definition === definition || typeof service === "string")) return known.service;
    if (known) throw new TypeError(`cannot use two declarations of the service ${definition.name} in one client`);
    const config = this.#configure(definition);
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
    await batch.send(["PING"], [], options.timeout ?? this.#config.timeout, true);
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
   * @returns What was found; never throws.
   */
  async health(options: { readonly timeout?: number } = {}): Promise<Health> {
    const about = { driver: this.#store.name, databases: this.databases };
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

  /** What the client, its services and its wires did in this process. */
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
    const named = this.#named as Readonly<Record<string, AnyService>>;
    const definition = Object.hasOwn(named, name) ? named[name] : this.#services.get(name)?.definition;
    if (definition) return definition;
    const accepted = [...Object.keys(this.#named), "what defineService declares"].join(", ");
    throw new TypeError(`cannot use the service ${describe(name)}: accepted are ${accepted}`);
  }

  /** The configuration, with a service's own file on top. */
  #configure(definition?: AnyService): Config {
    const { env } = this.#options;
    const record = env ? strings(env) : readEnvironment(definition ? { service: definition.name } : {});
    const collections = Object.values(definition?.collections ?? {}) as { variable?: string }[];
    return parseConfig(record, {
      options: this.#options,
      otherOptions: OTHER_OPTIONS,
      ttlVariables: collections.flatMap(({ variable }) => variable ?? []),
      tcp: "node-redis" in this.#wires,
    });
  }

  #admit({ name, database }: AnyService, config: Config): void {
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
  #storeOf(config: Config): Store {
    const { driver } = config;
    const place = driver === "memory" ? config.memory : driver === "upstash" ? config.upstash : config.redis;
    const key = JSON.stringify([driver, place, config.databases]);
    let store = this.#stores.get(key);
    if (!store) {
      store = new Store(config, this.#options, this.#wires);
      this.#stores.set(key, store);
    }
    return store;
  }

  #lane(database: number, config: Config): { batch: Batch; loads: Map<string, Load>; numbered: boolean } {
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

  #context(config: Config, database: number, segment: string): Omit<CacheContext, "target" | "shape" | "counters"> {
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
      waitUntil: this.#options.waitUntil,
    };
  }
}

function strings(env: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}
