import type { Driver } from "../../drivers/driver.ts";
import { invalid } from "../base/check.ts";
import { remember } from "../base/remember.ts";
import type { Config } from "../config/options.ts";
import { parseConfigWith } from "../config/parse_config.ts";
import type { AddressReaders } from "../config/settings.ts";
import { CONFIG_VARIABLES } from "../config/variables.ts";
import { hidesVariables, type ReadEnvironmentOptions } from "../runtime/environment.ts";
import { SERVICE_VARIABLES } from "../services/all.ts";
import { type ServiceDefinition, variablesOf } from "../services/service.ts";
import { warnOnce } from "../telemetry/logger.ts";
import type { DriverFactories } from "./driver_factory.ts";
import { type Opening, readyOpening } from "./store_connection.ts";
import type { ClientOptions, Configurations, Configured } from "./types.ts";

const OTHER_OPTIONS = ["clock", "logger", "waitUntil", "superClasses", "env"];

const NOWHERE =
  "no store is named, and the environment cannot be read: each process caches in its own memory. " +
  "Name one by the option url; on Deno allow --allow-env, in a Worker pass its env";

/** The variables that name a store. Setting one, even to nothing, suggests that memory is not intended. */
const MEANT =
  /^(CACHE_URL|REDIS_(URL|HOST|USERNAME|PASSWORD|CLUSTER_NODES|SENTINELS|SENTINEL_NAME)|(UPSTASH_REDIS_REST|KV_REST_API)_(URL|TOKEN))$/;

const MEMORY = "If this is intended, set CACHE_DRIVER=memory";

/** Reads the variables of the environment. */
export type ReadEnvironment = (options: ReadEnvironmentOptions) => Record<string, string>;

/** The configurations of a client that reads the environment and the files `.env.cache*`, each file once. */
export class EnvironmentConfigurations implements Configurations {
  readonly own: Configured;
  readonly #options: ClientOptions;
  readonly #factories: DriverFactories;
  readonly #kept: Map<string, Driver | Promise<Driver>>;
  readonly #readEnvironment: ReadEnvironment;
  readonly #addresses: AddressReaders;
  readonly #files = new Map<string, ReadonlyMap<string, string>>();
  /** The configurations by what was read. Most services are configured like the client. */
  readonly #made = new Map<string, Configured>();

  /**
   * @param options The client's options.
   * @param factories The drivers that can be opened by name.
   * @param kept The drivers that outlive their clients, by store.
   * @param readEnvironment Reads what the runtime has of variables and files.
   * @param addresses The readers of addresses.
   */
  constructor(
    options: ClientOptions,
    factories: DriverFactories,
    kept: Map<string, Driver | Promise<Driver>>,
    readEnvironment: ReadEnvironment,
    addresses: AddressReaders,
  ) {
    this.#options = options;
    this.#factories = factories;
    this.#kept = kept;
    this.#readEnvironment = readEnvironment;
    this.#addresses = addresses;
    this.own = this.#configure();
  }

  ofService(service: ServiceDefinition): Configured {
    return this.#configure(service);
  }

  #configure(service?: ServiceDefinition): Configured {
    const { env } = this.#options;
    const further = variablesOf(service?.collections ?? {}).filter((name) => !SERVICE_VARIABLES.includes(name));
    const ttlVariables = [...SERVICE_VARIABLES, ...further];
    const names = [...CONFIG_VARIABLES, ...ttlVariables];
    const inFiles = new Set<string>();
    const files = this.#files;
    const record = env
      ? strings(env)
      : this.#readEnvironment({ names, inFiles, files, ...(service && { service: service.name }) });
    const read = JSON.stringify([record, [...inFiles], further]);
    return remember(this.#made, read, () => this.#parse(record, names, ttlVariables, inFiles));
  }

  #parse(
    record: Record<string, string>,
    names: readonly string[],
    ttlVariables: readonly string[],
    inFiles: ReadonlySet<string>,
  ): Configured {
    const { env, logger } = this.#options;
    const tcp = "node-redis" in this.#factories;
    const config = parseConfigWith(this.#addresses, record, {
      options: this.#options,
      otherOptions: OTHER_OPTIONS,
      ttlVariables,
      tcp,
      inFiles,
    });
    if (!config.named) {
      const meant = names.find((name) => MEANT.test(name) && record[name] !== undefined);
      if (meant !== undefined) {
        const what = `${meant} is ${record[meant]?.trim() ? "set, but no address" : "empty"}`;
        warnOnce(logger, `no store is named (${what}): each process caches in its own memory. ${MEMORY}`);
      } else if (!env && hidesVariables(names)) warnOnce(logger, NOWHERE);
    }
    return { config, opening: this.#opening(config) };
  }

  #opening(config: Config): Opening {
    const options = this.#options;
    if (typeof options.driver === "object") return readyOpening(options.driver);
    const { driver: name } = config;
    const factory = this.#factories[name];
    if (!factory) {
      throw invalid("open a driver", name, `one that this runtime has: ${Object.keys(this.#factories).join(", ")}`);
    }
    const parts = config as unknown as Readonly<Record<string, unknown>>;
    const store = name === "memory" || name === "upstash" ? [parts[name]] : [parts.redis, parts[name]];
    const key = JSON.stringify([name, ...store, config.databases]);
    const open = (): Driver | Promise<Driver> => {
      const driver = this.#kept.get(key) ?? factory.open(config, options);
      if (factory.kept) this.#kept.set(key, driver);
      return driver;
    };
    return { key, name, numbered: factory.numbered, ready: factory.kept ?? false, open };
  }
}

function strings(env: Readonly<Record<string, unknown>>): Record<string, string> {
  const entries = Object.entries(env).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return Object.fromEntries(entries);
}
