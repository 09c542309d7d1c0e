/** The options of the driver of Sentinel: their types and checks. */

import { check, checkOptions, FUNCTION, type Rule, type Rules, TEXT, whole } from "../../src/base/check.ts";
import type { NodeAddress } from "../../src/base/hosts.ts";
import type { Timeout } from "../../src/base/ttl.ts";
import { checkTls, type NodeRedisTls, parseTime } from "../node_redis/options.ts";
import { readServers } from "../node_redis/several_servers.ts";

/** Options of {@linkcode sentinel}. */
export interface SentinelOptions {
  /** The sentinels: `"host:port"`, `"[::1]:port"` or `{ host, port }`. Their port is 26379 if none is given. */
  readonly sentinels: readonly (string | { readonly host: string; readonly port?: number })[];
  /** The name under which the sentinels watch the master, such as `"mymaster"`. */
  readonly name: string;
  /** The ACL user of the master and its replicas. @default the server's default user */
  readonly username?: string;
  /** The password of that user. */
  readonly password?: string;
  /** True for encrypted connections to the master, or their settings. @default false */
  readonly tls?: boolean | NodeRedisTls;
  /** The ACL user of the sentinels. @default the default user of the sentinels */
  readonly sentinelUsername?: string;
  /** The password of the sentinels, which is not that of the master. @default none */
  readonly sentinelPassword?: string;
  /** True for encrypted connections to the sentinels, or their settings. @default false */
  readonly sentinelTls?: boolean | NodeRedisTls;
  /** The database, 0-15, that a cache client takes if nothing else names one. @default 0 */
  readonly database?: number;
  /** `size`: the most connections to the master, which all databases share. @default { size: 1 } */
  readonly pool?: { readonly size?: number };
  /** The longest time to open a connection, login included: milliseconds, or `"5s"`. @default 5000 */
  readonly connectTimeout?: Timeout;
  /** The silence after which the master gets a PING: milliseconds, or `"1m"`. @default no PING */
  readonly pingInterval?: Timeout;
  /** Returns the address at which this process reaches a server that the sentinels name. @default the same address */
  readonly mapAddress?: (address: NodeAddress) => NodeAddress;
}

/** The port at which sentinels listen. */
const PORT = 26_379;
const RULES: Rules = {
  sentinels: undefined,
  name: [
    "the name of a master, such as mymaster",
    (value: unknown) => typeof value === "string" && /^\S+$/.test(value),
  ],
  username: TEXT,
  password: TEXT,
  tls: undefined,
  sentinelUsername: TEXT,
  sentinelPassword: TEXT,
  sentinelTls: undefined,
  database: whole(0, 15),
  pool: undefined,
  connectTimeout: undefined,
  pingInterval: undefined,
  mapAddress: FUNCTION,
};

/**
 * Returns the addresses of the sentinels. Throws for options that are missing, unknown or of another form.
 *
 * @throws {TypeError} With the name of the option.
 * @throws {RangeError} With the name of the option, for a number out of range.
 */
export function checkSentinelOptions(options: SentinelOptions): readonly NodeAddress[] {
  checkOptions(options, RULES, "sentinel");
  check(options.name, "name of sentinel", RULES.name as Rule);
  if (options.pool !== undefined) checkOptions(options.pool, { size: whole(1) }, "sentinel.pool");
  checkTls(options.tls, "sentinel.tls");
  checkTls(options.sentinelTls, "sentinel.sentinelTls");
  parseTime(options.connectTimeout ?? 1, "connectTimeout");
  if ((options.pingInterval ?? 0) !== 0) parseTime(options.pingInterval as Timeout, "pingInterval");
  return readServers(options.sentinels, PORT, "sentinels of sentinel");
}
