import type { CacheClient } from "../client/client.ts";
import type { ClientOptions } from "../client/types.ts";
import { oddSecrets } from "../config/odd_secrets.ts";
import type { Config, DatabasesMode } from "../config/options.ts";
import { parseConfig } from "../config/parse_config.ts";
import { CONFIG_VARIABLES } from "../config/variables.ts";
import { createCacheClient } from "../main.ts";
import { readEnvironment } from "../runtime/environment.ts";
import { SERVICE_VARIABLES } from "../services/all.ts";
import { redact, UsageError } from "./errors.ts";

/** Which store a command is for; what is left out is the environment's. */
export interface StoreFlags {
  readonly url?: string;
  readonly token?: string;
  readonly prefix?: string;
  readonly databases?: DatabasesMode;
  /** Milliseconds. */
  readonly timeout?: number;
}

/** Commands are in less of a hurry than requests are. */
const TIMEOUT_MS = 10_000;

/** A client for a command. */
export interface OpenedStore {
  readonly client: CacheClient;
  /** The store in words, without secrets: `redis://localhost:6379`. */
  readonly name: string;
  /** The database that the URL or the environment names; 0 where none does. */
  readonly database: number;
  /** What every key starts with; empty for nothing. */
  readonly prefix: string;
  /** Milliseconds that a step may take. */
  readonly timeout: number;
  /** What is odd about its password or token, a sentence each. */
  readonly odd: readonly string[];
}

/**
 * The store that the flags or the environment name; no I/O takes place.
 *
 * @param flags The flags.
 * @returns The client; who makes it closes it.
 * @throws {UsageError} When no store is named.
 * @throws {CacheConfigError} With every problem of the configuration.
 */
export function reachStore(flags: StoreFlags): OpenedStore {
  const { timeout = TIMEOUT_MS } = flags;
  const options: ClientOptions = { ...chosen(flags), timeout, onError: "throw", fleetStats: false };
  const config = configOf(options);
  if (config.driver === "memory" && !flags.url) {
    throw new UsageError(
      "cannot tell which store is meant: accepted are --url redis://localhost:6379 and the like, or CACHE_URL in the environment or in .env.cache",
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

/** The configuration that the flags and the environment make. */
export function configOf(options: ClientOptions): Config {
  const inFiles = new Set<string>();
  const names = [...CONFIG_VARIABLES, ...SERVICE_VARIABLES];
  return parseConfig(readEnvironment({ names, inFiles }), { options, inFiles, ttlVariables: SERVICE_VARIABLES });
}

/** The flags as a client's options. */
export function chosen({ url, token, prefix, databases }: StoreFlags): ClientOptions {
  return {
    ...(url !== undefined && { url }),
    ...(token !== undefined && { token }),
    ...(prefix !== undefined && { prefix }),
    ...(databases !== undefined && { databases }),
  };
}

/** A store in words, without secrets. */
export function describeStore(config: Config): string {
  if (config.driver === "memory") return "memory:";
  if (config.driver === "upstash") return redact(config.upstash.url);
  const { path, host, port, tls } = config.redis;
  if (path) return `unix:${path}`;
  return `${tls ? "rediss" : "redis"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
