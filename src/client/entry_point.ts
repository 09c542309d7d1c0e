import type { Driver } from "../../drivers/driver.ts";
import { rateLimits } from "../cache/rate_limits.ts";
import type { Config, ConfigOptions, DriverName } from "../config/options.ts";
import { parseConfig } from "../config/parse_config.ts";
import { CONFIG_VARIABLES } from "../config/variables.ts";
import { hidesVariables, readEnvironment } from "../runtime/environment.ts";
import { type FoodFastServices, SERVICE_VARIABLES, services } from "../services/all.ts";
import { type AnyService, type ServiceOf, variablesOf } from "../services/service.ts";
import { type Logger, listenerOf, warnOnce } from "../telemetry/logger.ts";
import { CacheClient, type ClientHooks } from "./client.ts";
import { type Opening, readyOpening } from "./store_connection.ts";

/** The options of a client. All but the functions can be set by environment variables too. */
export interface ClientOptions extends ConfigOptions, ClientHooks {
  /**
   * Told of failures: a pino logger, `console`, or anything with `warn(details, message)`; a line a kind and second at
   * the most. `false` is silence. @default `console.warn`, a line a kind and minute
   */
  readonly logger?: Logger | false;
  /** Variables to read in the place of the process's own: the `env` of a Worker. Values that are not strings are passed over. */
  readonly env?: Readonly<Record<string, unknown>>;
}

const OTHER_OPTIONS = ["clock", "logger", "waitUntil", "superClasses", "env"];

/** Copies of the package share a client where this is the same. Counted up by a change that breaks its callers. */
const COMPATIBLE = 1;

/** How to open a wire. */
export interface DriverFactory {
  /** Whether the store has numbered databases. */
  readonly numbered: boolean;
  /** Whether later clients get the same driver, which then outlives each. @default false */
  readonly kept?: boolean;
  /** Opens the driver; loads its code where that is loaded lazily. */
  open(config: Config, options: ClientOptions): Driver | Promise<Driver>;
}

/** The wires that a build can open by name. */
export type DriverFactories = Readonly<Partial<Record<DriverName, DriverFactory>>>;

/** A client that knows the services of Food Fast by name. */
export type FoodFastClient = CacheClient<FoodFastServices>;

/** What `mod.ts` and the edge build give, each with its own wires. */
export interface EntryPoint {
  /** Makes a client. */
  createCacheClient(options?: ClientOptions): FoodFastClient;
  /** The client that the process shares, by all copies of the package in it. */
  getCacheClient(): FoodFastClient;
  /** A service on the shared client. */
  getCacheService<N extends keyof FoodFastServices>(name: N): ServiceOf<FoodFastServices[N]>;
}

/**
 * Makes the entry functions over the wires of a build.
 *
 * @param wires The wires that can be opened by name.
 * @returns The functions.
 */
export function entryPoint(wires: DriverFactories): EntryPoint {
  // Kept where every copy of this module finds it: hot reload and bundlers make many. Each kind of build has its own.
  const place = Symbol.for(`@foodfast/larder client ${COMPATIBLE} ${Object.keys(wires)}`);
  const copies = globalThis as { [place: symbol]: FoodFastClient | undefined };
  const kept = new Map<string, Driver | Promise<Driver>>();
  const createCacheClient = (options: ClientOptions = {}): FoodFastClient =>
    new CacheClient({
      hooks: options,
      services,
      rateLimits,
      listener: listenerOf(options.logger),
      warn: (message) => warnOnce(options.logger, message),
      configure: (service) => configure(options, service, "node-redis" in wires),
      store: (config) => opening(config as Config, options, wires, kept),
    });
  const getCacheClient = (): FoodFastClient => {
    let client = copies[place];
    if (!client || client.closed) {
      client = createCacheClient();
      copies[place] = client;
    }
    return client;
  };
  return { createCacheClient, getCacheClient, getCacheService: (name) => getCacheClient().service(name) };
}

const NOWHERE =
  "no store is named, and the environment cannot be read: each process caches in its own memory. " +
  "Name it by the option url; on Deno permit --allow-env, in a Worker hand over its env";

/** Variables that are set for a store: whoever sets one, even to nothing, does not mean the memory of each process. */
const MEANT = /^(CACHE_URL|REDIS_(URL|HOST|USERNAME|PASSWORD)|(UPSTASH_REDIS_REST|KV_REST_API)_(URL|TOKEN))$/;

const MEMORY = "Where that is meant, set CACHE_DRIVER=memory";

function configure(options: ClientOptions, service: AnyService | undefined, tcp: boolean): Config {
  const { env } = options;
  const ttlVariables = [...SERVICE_VARIABLES, ...variablesOf(service?.collections ?? {})];
  const names = [...CONFIG_VARIABLES, ...ttlVariables];
  const inFiles = new Set<string>();
  const record = env ? strings(env) : readEnvironment({ names, inFiles, ...(service && { service: service.name }) });
  const config = parseConfig(record, { options, otherOptions: OTHER_OPTIONS, ttlVariables, tcp, inFiles });
  if (config.named) return config;
  const meant = names.find((name) => MEANT.test(name) && record[name] !== undefined);
  if (meant !== undefined) {
    const what = `${meant} is ${record[meant]?.trim() ? "set, but no address" : "empty"}`;
    warnOnce(options.logger, `no store is named (${what}): each process caches in its own memory. ${MEMORY}`);
  } else if (!env && hidesVariables(names)) warnOnce(options.logger, NOWHERE);
  return config;
}

function opening(
  config: Config,
  options: ClientOptions,
  wires: DriverFactories,
  kept: Map<string, Driver | Promise<Driver>>,
): Opening & { readonly key: string } {
  if (typeof options.driver === "object") return readyOpening(options.driver);
  const { driver: name } = config;
  const wire = wires[name];
  if (!wire) {
    const accepted = Object.keys(wires).join(", ");
    throw new TypeError(`cannot open the driver ${name} on this runtime: accepted are ${accepted}`);
  }
  const place = name === "memory" ? config.memory : name === "upstash" ? config.upstash : config.redis;
  const key = JSON.stringify([name, place, config.databases]);
  const open = (): Driver | Promise<Driver> => {
    const driver = kept.get(key) ?? wire.open(config, options);
    if (wire.kept) kept.set(key, driver);
    return driver;
  };
  return { key, name, numbered: wire.numbered, ready: wire.kept ?? false, open };
}

function strings(env: Readonly<Record<string, unknown>>): Record<string, string> {
  const entries = Object.entries(env).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return Object.fromEntries(entries);
}
