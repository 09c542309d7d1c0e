/** The options of the cluster driver: their types and checks. */

import { checkOptions, FUNCTION, type Rules, TEXT, whole } from "../../src/base/check.ts";
import type { NodeAddress } from "../../src/base/hosts.ts";
import type { Timeout } from "../../src/base/ttl.ts";
import { checkTls, type NodeRedisTls, parseTime } from "../node_redis/options.ts";
import { readServers } from "../node_redis/several_servers.ts";

/** Options of `cluster`. */
export interface ClusterOptions {
  /**
   * Some nodes of the cluster, masters or replicas, or one name that leads to them: `"host:port"`, `"[::1]:port"` or
   * `{ host, port }`. The port is 6379 if it is left out. The others are learnt from them.
   */
  readonly nodes: readonly (string | { readonly host: string; readonly port?: number })[];
  /** The ACL user of all nodes. @default the servers' default user */
  readonly username?: string;
  /** The password of the user. */
  readonly password?: string;
  /** True for encrypted connections to all nodes, or their settings. @default false */
  readonly tls?: boolean | NodeRedisTls;
  /**
   * `size`: the most connections to each master. With more than one, overlapping sends may change places.
   * @default { size: 1 }
   */
  readonly pool?: { readonly size?: number };
  /** The longest time to open a connection, login included: milliseconds, or `"5s"`. @default 5000 */
  readonly connectTimeout?: Timeout;
  /**
   * The silence after which a PING keeps a connection alive: milliseconds, or `"1m"`.
   * @default no PING; 2 s, and never more, on the connections for invalidation messages
   */
  readonly pingInterval?: Timeout;
  /**
   * Returns the address at which a node can be reached from here, for the address that the cluster gives: behind NAT,
   * a tunnel or a port mapping. It is not called for `nodes`.
   * @default the same address
   */
  readonly mapAddress?: (address: NodeAddress) => NodeAddress;
}

const RULES: Rules = {
  nodes: undefined,
  username: TEXT,
  password: TEXT,
  tls: undefined,
  pool: undefined,
  connectTimeout: undefined,
  pingInterval: undefined,
  mapAddress: FUNCTION,
};

/** The options, checked. */
export interface CheckedOptions {
  /** The given nodes, each once. */
  readonly seeds: readonly NodeAddress[];
  /** The options of each node's connections. */
  readonly node: {
    readonly username?: string;
    readonly password?: string;
    readonly tls?: boolean | NodeRedisTls;
    readonly pool: { readonly size: number };
    readonly connectTimeout: number;
    readonly pingInterval?: Timeout;
  };
  readonly mapAddress: ClusterOptions["mapAddress"];
}

/**
 * Checks the options.
 *
 * @throws {TypeError | RangeError} With the name of the option.
 */
export function readClusterOptions(options: ClusterOptions): CheckedOptions {
  checkOptions(options, RULES, "cluster");
  const { nodes, username, password, tls, pool, connectTimeout = 5000, pingInterval, mapAddress } = options;
  if (pool !== undefined) checkOptions(pool, { size: whole(1) }, "cluster.pool");
  checkTls(tls, "cluster.tls");
  if (pingInterval !== undefined && pingInterval !== 0) parseTime(pingInterval, "pingInterval");
  return {
    seeds: readServers(nodes, 6379, "nodes of cluster"),
    node: {
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(tls !== undefined && { tls }),
      pool: { size: pool?.size ?? 1 },
      connectTimeout: parseTime(connectTimeout, "connectTimeout"),
      ...(pingInterval !== undefined && { pingInterval }),
    },
    mapAddress,
  };
}
