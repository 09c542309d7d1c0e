/**
 * Makes the configuration from options and variables, by one pure schema that is built from the table of settings.
 *
 * An option beats the environment, and an address among the options (`url`, `host`, a ready driver) beats the whole
 * address of the environment. A URL beats the variables `REDIS_*`, which fill in the parts that it leaves out. With
 * `REDIS_URL` they must agree.
 *
 * @module
 */

import * as v from "valibot";
import type { Driver } from "../../drivers/driver.ts";
import { type Address, readAddress } from "../base/address.ts";
import { describe } from "../base/check.ts";
import { defined } from "../base/defined.ts";
import { CacheConfigError } from "../base/errors.ts";
import { Refusal, readHost, readNodes } from "../base/hosts.ts";
import type { Config, DriverName, ParseConfigOptions } from "./options.ts";
import { CLIENT_DEFAULTS } from "./policy.ts";
import { redactUrl } from "./redact_url.ts";
import { type AddressReaders, GROUPS, SETTINGS, type Setting, TTL_SETTINGS, ttlSetting } from "./settings.ts";
import { CONFIG_VARIABLES, isSlip, LINK, nearest, OURS, REST } from "./variables.ts";

/** The values that were given, by setting: variables, and the options that beat them. */
interface Given {
  readonly given: Record<string, unknown>;
  /** The option or variable that each value came from, for messages. */
  readonly labels: Record<string, string>;
  /** The TTL variables besides `CACHE_TTL_DEFAULT`. */
  readonly ttlNames: Set<string>;
  /** The start of the names of Upstash's variables. */
  readonly api: string;
}

/** The settings that name servers, each with the driver that it suggests if nothing else names one. */
const SERVERS = [
  ["cluster.nodes", "cluster"],
  ["sentinel.sentinels", "sentinel"],
  ["host", "node-redis"],
] as const satisfies readonly (readonly [string, DriverName])[];

/** Returns the options of a group under names such as `cluster.nodes`; says what is wrong with them. */
function ungroup(group: keyof typeof GROUPS, given: unknown, problems: string[]): Record<string, unknown> {
  const names = Object(given) === given && !Array.isArray(given) ? Object.keys(given as object) : undefined;
  const known = GROUPS[group];
  if (!names || names.some((name) => !known.includes(name))) {
    const received = names ? `{ ${names.join(", ")} }` : show(group, given);
    problems.push(`option "${group}" is ${received}, expected { ${known.join(", ")} }`);
    return {};
  }
  const { mapAddress } = given as { mapAddress?: unknown };
  if (mapAddress !== undefined && typeof mapAddress !== "function") {
    problems.push(`option "${group}.mapAddress" is ${describe(mapAddress)}, expected a function`);
  }
  return Object.fromEntries(Object.entries(given as object).map(([name, value]) => [`${group}.${name}`, value]));
}

function gather(
  record: Readonly<Record<string, string | undefined>>,
  { options = {}, otherOptions = [], ttlVariables = [], tcp = true, inFiles }: ParseConfigOptions,
  problems: string[],
): Given {
  const given: Record<string, unknown> = {};
  const labels: Record<string, string> = {};
  const take = (key: string, name: string) => {
    if (!env[name]) return;
    // Kubernetes sets REDIS_PORT to "tcp://10.0.0.1:6379" if a service is named redis.
    given[key] = key === "port" ? env[name].replace(/^tcp:.*:/, "") : env[name];
    labels[key] = name;
  };

  const env: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(record)) {
    // Spaces around a password or a prefix may be meant.
    env[name] = /PASSWORD|PREFIX/.test(name) ? value : value?.trim();
  }
  const chosen: unknown = (options.driver as Driver | undefined)?.send ? "memory" : options.driver;
  const { cluster, sentinel, ...flat } = options as Record<string, unknown>;
  for (const [name, group] of Object.entries({ cluster, sentinel })) {
    if (group !== undefined) Object.assign(flat, ungroup(name as keyof typeof GROUPS, group, problems));
  }
  const several = ["cluster.nodes", "sentinel.sentinels"].filter((name) => flat[name] !== undefined);
  const moved = chosen !== options.driver || (options.url ?? options.host ?? several[0]) !== undefined;
  const addresses = ["CACHE_DRIVER", "CACHE_URL", "REDIS_URL", ...REST.map((api) => `${api}_URL`)];
  addresses.push("REDIS_CLUSTER_NODES", "REDIS_SENTINELS", ...(several.length > 0 ? ["REDIS_HOST"] : []));
  if (moved) for (const name of addresses) delete env[name];
  if (chosen !== undefined && driverOf(env.CACHE_URL) !== chosen) delete env.CACHE_URL;

  for (const [option, { variable }] of Object.entries(SETTINGS)) take(option, variable);
  const ttlNames = new Set([...Object.keys(TTL_SETTINGS), ...ttlVariables]);
  const known = [...CONFIG_VARIABLES, ...ttlVariables];
  for (const name of Object.keys(env)) {
    const ours = inFiles?.has(name) ?? false;
    if (!env[name] || known.includes(name) || !(ours ? OURS : /^CACHE_/).test(name)) continue;
    const near = nearest(name, known);
    const ttl = name.startsWith("CACHE_TTL_");
    if (isSlip(name, near) || (ours && !ttl)) problems.push(`${name} is not a known variable, the nearest is ${near}`);
    else if (ttl && !LINK.test(name)) ttlNames.add(name);
  }
  for (const name of ttlNames) take(name, name);
  const pool = Object(options.pool) === options.pool ? options.pool?.size : options.pool;
  if (pool !== options.pool && Object.keys(options.pool ?? {}).some((name) => name !== "size")) {
    problems.push(`option "pool" is { ${Object.keys(options.pool ?? {}).join(", ")} }, expected { size }`);
  }
  for (const [option, value] of Object.entries({ ...flat, driver: chosen, pool })) {
    if (!Object.hasOwn(SETTINGS, option) && !option.endsWith(".mapAddress")) {
      const named = Object.keys(SETTINGS).map((name) => name.replace(/\..*/, ""));
      const accepted = [...new Set([...named, ...otherOptions])];
      if (!accepted.includes(option)) {
        problems.push(`option ${describe(option)} is unknown, expected one of ${accepted.join(", ")}`);
      }
    } else if (value !== undefined) {
      given[option] = value;
      labels[option] = `option "${option}"`;
    }
  }

  const named = (options.driver as Driver | undefined)?.database;
  if (options.database === undefined && named !== undefined) {
    given.database = named;
    labels.database = "the database of the driver";
  }
  const api = REST.find((api) => env[`${api}_URL`]) ?? REST[0];
  if (given.url === undefined) {
    const servers = SERVERS.filter(([name]) => given[name] !== undefined);
    const [name = "", first] = servers[0] ?? [];
    const tcpDriver = env.REDIS_URL ? driverOf(env.REDIS_URL, true) : first;
    if (given.driver === undefined && env[`${api}_URL`] && !(tcp && tcpDriver)) given.driver = "upstash";
    else if (given.driver === undefined) {
      given.driver = tcpDriver;
      for (const [other, driver] of servers) {
        if (driver === tcpDriver) continue;
        problems.push(`${labels[other]} is set, but ${env.REDIS_URL ? "REDIS_URL" : labels[name]} names another store`);
      }
    }
    if (/^(node-redis|cluster|sentinel)$/.test(`${given.driver}`)) take("url", "REDIS_URL");
    if (given.driver === "upstash") {
      take("url", `${api}_URL`);
      if (options.token === undefined) take("token", `${api}_TOKEN`);
    }
  }
  return { given, labels, ttlNames, api };
}

/**
 * Makes a configuration from variables and options.
 *
 * The driver is `CACHE_DRIVER`, else that of `CACHE_URL`, else cluster when `REDIS_CLUSTER_NODES` is set, sentinel when
 * `REDIS_SENTINELS` is, that of `REDIS_URL`, node-redis when `REDIS_HOST` is set, else upstash when
 * `UPSTASH_REDIS_REST_URL` or `KV_REST_API_URL` is set, else memory. URLs of other drivers are not looked at. An empty
 * variable is unset. An undeclared TTL variable is accepted, unless its name looks like a typo of a known one. Other
 * unknown `CACHE_*` variables are ignored, because other programs use such names too. They are problems if they look
 * like a typo of a known name, or stand in the library's own files.
 *
 * @param record The variables, such as `process.env`; only those of this library are looked at.
 * @param settings The client's options, the TTL variables of an application's services, whether there is TCP.
 * @returns The configuration.
 * @throws {CacheConfigError} With every problem at once, free of passwords, tokens and credentials in URLs.
 *
 * @example
 * ```ts
 * import { parseConfig } from "@foodfast/larder";
 *
 * const config = parseConfig({ CACHE_URL: "redis://localhost:6379", CACHE_TTL_PRODUCTS: "2h" });
 * console.log(config.driver); // "node-redis"
 * ```
 */
export function parseConfig(
  record: Readonly<Record<string, string | undefined>>,
  settings: ParseConfigOptions = {},
): Config {
  return parseConfigWith(TCP_ADDRESSES, record, settings);
}

/** The readers of addresses of builds with TCP. */
export const TCP_ADDRESSES: AddressReaders = { url: (given) => readAddress(given), host: readHost, nodes: readNodes };

/**
 * Makes a configuration as {@linkcode parseConfig} does.
 *
 * @param addresses The readers of addresses.
 * @param record The variables.
 * @param settings The options.
 * @returns The configuration.
 * @throws {CacheConfigError} With every problem at once.
 */
export function parseConfigWith(
  addresses: AddressReaders,
  record: Readonly<Record<string, string | undefined>>,
  settings: ParseConfigOptions,
): Config {
  const problems: string[] = [];
  const { options = {} } = settings;
  const { given, labels, ttlNames, api } = gather(record, settings, problems);
  const say = (key: string, message: string) => problems.push(`${labels[key]} is ${show(key, given[key])}, ${message}`);

  const table: Record<string, Setting> = { ...SETTINGS, ...TTL_SETTINGS };
  for (const name of ["url", "host"] as const) table[name] = { ...SETTINGS[name], read: addresses[name] };
  for (const [name, port] of [
    ["cluster.nodes", 6379],
    ["sentinel.sentinels", 26379],
  ] as const) {
    table[name] = { ...SETTINGS[name], read: (given) => addresses.nodes(given, port) };
  }
  for (const name of ttlNames) if (given[name] !== undefined) table[name] ??= ttlSetting(name);
  const result = v.safeParse(schemaOf(table, given), given);
  const values = result.output as Partial<Address> & Record<string, unknown>;
  for (const { path, message } of result.issues ?? []) {
    const key = path?.[0]?.key as string;
    say(key, message);
    delete values[key];
  }
  for (const [key, said] of Object.entries(values.url ?? {})) {
    const option = labels[key]?.startsWith("option ") ?? false;
    if (values[key] !== undefined && JSON.stringify(values[key]) !== JSON.stringify(said)) {
      if (key === "driver") say("url", `but the driver is ${values[key]}`);
      else if (option && options.url === undefined) continue;
      else if (option || labels.url === "REDIS_URL") say(key, `but ${labels.url} says otherwise`);
    }
    values[key] = said;
  }
  if (values.driver === "upstash" && (given.driver ?? "upstash") === "upstash") {
    for (const key of ["url", "token"]) {
      if ((given[key] ?? values[key]) !== undefined) continue;
      problems.push(
        `${api}_${key.toUpperCase()} (option "${key}") is not set, expected the ${key} of Upstash's REST API`,
      );
    }
  }
  if (settings.tcp !== false && values.driver === "sentinel" && (given.driver ?? "sentinel") === "sentinel") {
    for (const [key, expected] of [
      ["sentinel.sentinels", "host:26379,host:26379"],
      ["sentinel.name", "the name that the sentinels know the master by, often mymaster"],
    ] as const) {
      if ((given[key] ?? values[key]) !== undefined) continue;
      problems.push(`${SETTINGS[key].variable} (option "${key}") is not set, expected ${expected}`);
    }
  }
  const isNamed = (given.driver ?? given.url) !== undefined;
  if (values.requireStore && !isNamed) {
    say(
      "requireStore",
      "but no store is named, expected CACHE_URL, REDIS_URL, REDIS_HOST, REDIS_CLUSTER_NODES, REDIS_SENTINELS, " +
        "UPSTASH_REDIS_REST_URL or CACHE_DRIVER",
    );
  }
  if (problems.length > 0) throw new CacheConfigError(problems);

  for (const [name, { fallback }] of Object.entries(table)) values[name] ??= fallback;
  const named: Record<string, unknown> = { short: values.CACHE_TTL_SHORT, long: values.CACHE_TTL_LONG };
  const spanOf = (given: unknown): unknown => {
    const milliseconds = typeof given === "string" ? named[given] : given;
    return milliseconds === Number.POSITIVE_INFINITY ? undefined : milliseconds;
  };
  named.default = typeof values.ttl === "string" ? named[values.ttl] : values.ttl;
  const ttls = new Map<string, unknown>();
  for (const name of ttlNames) if (values[name] !== undefined) ttls.set(name, spanOf(values[name]));
  ttls.set("CACHE_TTL_DEFAULT", spanOf("default"));
  const { driver = "memory", base, token, path, username, password, maxEntries, maxBytes } = values;
  const { host = "localhost", port = 6379, tls = false } = values;
  const login = { username, password, tls, poolSize: values.pool };
  const inParts = driver === "cluster" || (options.driver as Driver | undefined)?.capabilities?.parts;
  return {
    driver,
    named: isNamed,
    memory: defined({ maxEntries, maxBytes }),
    redis: defined({ ...(driver === "node-redis" && { host, port, path }), ...login }),
    cluster: defined({
      nodes: values["cluster.nodes"] ?? [{ host, port }],
      mapAddress: given["cluster.mapAddress"],
    }),
    sentinel: defined({
      sentinels: values["sentinel.sentinels"],
      name: values["sentinel.name"],
      username: values["sentinel.username"],
      password: values["sentinel.password"],
      tls: values["sentinel.tls"] ?? tls,
      mapAddress: given["sentinel.mapAddress"],
    }),
    upstash: { url: base, token },
    prefix: values.prefix,
    databases: values.databases,
    database: values.database,
    timeout: values.timeout,
    retries: values.retries,
    onError: values.onError,
    allowSharedDatabases: values.allowSharedDatabases,
    ...defined({ shards: values["cluster.shards"] ?? (inParts ? 64 : undefined) }),
    ttl: { default: spanOf("default"), short: spanOf("short"), long: spanOf("long") },
    ttls,
    defaults: defined(Object.fromEntries(CLIENT_DEFAULTS.map((name) => [name, values[name]]))),
  } as unknown as Config;
}

/**
 * Makes the schema of what was given, of a table of settings: one problem for each value that its setting does not
 * accept.
 */
function schemaOf(
  table: Readonly<Record<string, Setting>>,
  given: Readonly<Record<string, unknown>>,
): v.GenericSchema<Record<string, unknown>> {
  const settings = Object.entries(table).filter(([name]) => given[name] !== undefined);
  const entries = settings.map(([name, { expected, read }]) => {
    const schema = v.pipe(
      v.unknown(),
      v.rawTransform(({ dataset, addIssue, NEVER }) => {
        try {
          return read(dataset.value);
        } catch (error) {
          addIssue({ message: error instanceof Refusal ? error.message : `expected ${expected}` });
          return NEVER;
        }
      }),
    );
    return [name, schema];
  });
  return v.object(Object.fromEntries(entries));
}

/** Returns which driver a URL is for, by its scheme; with `tcp` which of those over TCP. */
function driverOf(url = "", tcp = false): DriverName {
  const [, several] = /^\w+[+-](cluster|sentinel):/i.exec(url) ?? [];
  if (several) return several.toLowerCase() as DriverName;
  return tcp || !/^(http|memory)/i.test(url) ? "node-redis" : /^http/i.test(url) ? "upstash" : "memory";
}

/** Shows the value of a setting without its secrets. */
function show(key: string, value: unknown): string {
  if (/(^|\.)password$|^(token|encryption)$/.test(key)) return "***";
  // For these objects, the names in them say more than the type.
  if (/^(lock|near|breaker)$/.test(key) && Object(value) === value)
    return `{ ${Object.keys(value as object).join(", ")} }`;
  const url = typeof value === "string" && (key === "url" || /[@=]|:\/\//.test(value));
  return describe(url ? redactUrl(value) : value);
}
