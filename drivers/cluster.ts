/**
 * The cluster driver: Redis Cluster and Valkey Cluster, over the connections of the TCP driver to each master.
 *
 * It keeps a map of the cluster's slots, sends each command to the master of its first key, and follows moves of slots
 * and failovers by itself. All keys of one command must share a hash tag, the text in the first braces of a key. As
 * with the TCP driver, nothing waits longer than its caller does, and no timer and no open socket keeps the process
 * alive.
 *
 * @module
 */

import { hashSlot } from "../src/base/crc16.ts";
import { type NodeAddress, nodeName } from "../src/base/hosts.ts";
import { keysOf } from "./cluster/keys.ts";
import { type ClusterOptions, readClusterOptions } from "./cluster/options.ts";
import { connectTo, databaseError, RoutedConnection } from "./cluster/routed_connection.ts";
import { Router } from "./cluster/router.ts";
import { Topology } from "./cluster/topology.ts";
import { Trackings } from "./cluster/trackings.ts";
import type { Command, Connection, Driver, Reply } from "./driver.ts";
import { closedError } from "./node_redis/errors.ts";
import type { NodeDriver } from "./node_redis/node_driver.ts";
import { atAddress } from "./node_redis/redis_address.ts";
import { translator } from "./node_redis/several_servers.ts";
import { TrackingConnection } from "./node_redis/tracking.ts";
import { within } from "./node_redis/within.ts";
import { nodeRedis } from "./node_redis.ts";

export type { ClusterOptions } from "./cluster/options.ts";
export type { NodeRedisTls } from "./node_redis/options.ts";

/**
 * The milliseconds of silence after which a connection for invalidation messages is asked whether it lives, and for
 * which it may be silent then: together less than what a cluster takes to replace a master.
 */
const PINGS = 2000;

/**
 * Makes a driver of a cluster. Nothing is opened before the first send.
 *
 * Its parts are the masters, named by their addresses.
 *
 * @param options Some of the nodes, and the login.
 * @throws {TypeError} For an unknown option, a value of another type, and an address that is not one.
 * @throws {RangeError} For a number out of range.
 *
 * @example
 * ```ts
 * import { cluster } from "@foodfast/larder/drivers/cluster";
 *
 * const driver = cluster({ nodes: ["10.0.0.1:6379", "10.0.0.2:6379"] }); // nothing is opened yet
 * console.log(driver.name, driver.capabilities.parts); // "cluster" true
 * await driver.close();
 * ```
 */
export function cluster(options: ClusterOptions): Driver {
  const { seeds, node, mapAddress } = readClusterOptions(options);
  const translate = translator(mapAddress);
  const topology = new Topology({
    seeds,
    translate,
    open: (address) => nodeRedis({ ...node, ...address }) as NodeDriver,
    changed() {
      trackings.follow(topology.masters);
      trackings.moved();
    },
  });
  const trackings = new Trackings(
    (part) => {
      const { address } = topology.node(part) ?? {};
      const patience = Math.min(node.connectTimeout, PINGS);
      const at = atAddress({ ...node, ...address }, patience);
      return new TrackingConnection({ size: 1, connectTimeout: patience, pingInterval: PINGS, ...at });
    },
    (part) => {
      const lost = topology.node(part);
      if (lost) topology.failed(lost);
    },
  );
  const ordered = node.pool.size === 1;
  const router = new Router(topology, translate, ordered, ({ driver }) => ({
    async send(commands, sendOptions, database) {
      try {
        return await driver.send(database, commands as readonly Command[], sendOptions);
      } catch (error) {
        throw database === 0 ? error : databaseError(error, database);
      }
    },
    asked: (command) => trackings.report(keysOf(command)),
  }));
  const own = new Set<Connection>();
  let closed: Promise<void> | undefined;
  return {
    name: "cluster",
    capabilities: { numbered: "optional", scripts: true, ordered, parts: true },
    send(database, commands, sendOptions) {
      if (closed) return Promise.reject(closedError());
      return router.send(commands, sendOptions, database) as Promise<Reply[]>;
    },
    partOf: (key) => topology.ownerOf(hashSlot(key)) ?? topology.masters[0] ?? nodeName(seeds[0] as NodeAddress),
    parts: () => topology.masters,
    track(_database, prefix, tracker) {
      if (!closed) topology.want();
      return trackings.add(prefix, tracker, topology.masters);
    },
    async connect(database, { part, timeout } = {}) {
      if (closed) throw closedError();
      const began = performance.now();
      await within(topology.ensure(), timeout);
      if (!topology.known) throw topology.failure;
      if (part !== undefined) {
        const left = timeout && Math.max(1, timeout - (performance.now() - began));
        return connectTo(topology.required(part), database, left);
      }
      const connection = new RoutedConnection(topology, translate, database, timeout, (gone) => own.delete(gone));
      own.add(connection);
      return connection;
    },
    async close() {
      trackings.close();
      for (const connection of own) connection.close();
      closed ??= topology.close(closedError());
      await closed;
    },
  };
}
