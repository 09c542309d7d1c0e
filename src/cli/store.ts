import type { NodeAddress } from "../base/hosts.ts";
import type { CacheClient } from "../client/client.ts";
import type { ClientOptions } from "../client/types.ts";
import { oddSecrets } from "../config/odd_secrets.ts";
import type { Config, DatabasesMode } from "../config/options.ts";
import { parseConfig } from "../config/parse_config.ts";
import { CONFIG_VARIABLES } from "../config/variables.ts";
import { createCacheClient } from "../main.ts";
import { TIMEOUT_MS } from "../manager/connection.ts";
import { readEnvironment } from "../runtime/environment.ts";
import { SERVICE_VARIABLES } from "../services/all.ts";
import { redact, UsageError } from "./errors.ts";

/** The options that name a store. Those that are left out come from the environment. */
export interface StoreFlags {
  readonly url?: string;
  readonly token?: string;
  readonly prefix?: string;
  readonly databases?: DatabasesMode;
  readonly shards?: number;
  /** Milliseconds. */
  readonly timeout?: number;
}

/** A client for a command, with the facts about its store. */
export interface OpenedStore {
  readonly client: CacheClient;
  /** The address of the store, without secrets, such as `redis://localhost:6379`. */
  readonly name: string;
  /** The database that the URL or the environment names; otherwise 0. */
  readonly database: number;
  /** The prefix of every key; empty without a prefix. */
  readonly prefix: string;
  /** The deadline of a step, in milliseconds. */
  readonly timeout: number;
  /** Hints about an odd password or token, a sentence each. */
  readonly odd: readonly string[];
}

/**
 * Makes a client for the store that the flags or the environment name. It does not connect.
 *
 * @param flags The flags.
 * @returns The client. The caller closes it.
 * @throws {UsageError} If no store is named.
 * @throws {CacheConfigError} With every problem of the configuration.
 */
export function reachStore(flags: StoreFlags): OpenedStore {
  const { timeout = TIMEOUT_MS } = flags;
  const options: ClientOptions = { ...chosen(flags), timeout, onError: "throw", fleetStats: false };
  const config = configOf(options);
  if (config.driver === "memory" && !flags.url) {
    throw new UsageError(
      "Cannot find a store: expected a URL such as --url redis://localhost:6379, " +
        "or CACHE_URL in the environment or in .env.cache",
    );
  }
  const { database, prefix } = config;
  return {
    client: createCacheClient({ ...options, logger: false }),
    name: describeStore(config),
    database,
    prefix,
    timeout,
    odd: oddSecrets(config),
  };
}

/** Returns the configuration of the flags and the environment. */
function configOf(options: ClientOptions): Config {
  const inFiles = new Set<string>();
  const names = [...CONFIG_VARIABLES, ...SERVICE_VARIABLES];
  return parseConfig(readEnvironment({ names, inFiles }), { options, inFiles, ttlVariables: SERVICE_VARIABLES });
}

/** Returns the flags as options of a client. */
export function chosen({ url, token, prefix, databases, shards }: StoreFlags): ClientOptions {
  return {
    ...(url !== undefined && { url }),
    ...(token !== undefined && { token }),
    ...(prefix !== undefined && { prefix }),
    ...(databases !== undefined && { databases }),
    ...(shards !== undefined && { cluster: { shards } }),
  };
}

/** Returns the address of a store, without secrets. */
export function describeStore(config: Config): string {
  if (config.driver === "memory") return "memory:";
  if (config.driver === "upstash") return redact(config.upstash.url);
  const scheme = config.redis.tls ? "rediss" : "redis";
  if (config.driver === "cluster") return `${scheme}+cluster://${config.cluster.nodes.map(showNode).join()}`;
  if (config.driver === "sentinel") {
    const { sentinels, name } = config.sentinel;
    return `${scheme}+sentinel://${sentinels.map(showNode).join()}/${encodeURIComponent(name)}`;
  }
  return config.redis.path ? `unix:${config.redis.path}` : `${scheme}://${showNode(config.redis)}`;
}

function showNode({ host, port }: NodeAddress): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
