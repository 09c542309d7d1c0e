/**
 * The TCP driver: Redis through node-redis (`redis` on npm, version 4), with a pool of connections for each database.
 *
 * node-redis reconnects by itself and holds commands back until then, for as long as it takes. A cache needs the
 * opposite, so both are off: a connection lives until it is lost or does not answer in time, and the next send opens
 * another one, after a pause if attempts fail. No timer and no open socket keeps the process alive, only a caller that
 * waits for a send. If an address drops packets, a socket that still connects holds Node and Bun for `connectTimeout`
 * at most.
 *
 * @module
 */

import type { Timeout } from "../src/base/ttl.ts";
import type { Connection, Driver, RawCommand, SendOptions } from "./driver.ts";
import { LentConnection } from "./node_redis/connection.ts";
import { closedError, connectError, ignore } from "./node_redis/errors.ts";
import { addressOf, checkNodeRedisOptions, type NodeRedisOptions, parseTime } from "./node_redis/options.ts";
import { Pool } from "./node_redis/pool.ts";
import { Primary } from "./node_redis/primary.ts";
import { atAddress, likeClient, type NodeRedisClientOptions, type RedisAddress } from "./node_redis/redis_address.ts";
import { type Dial, openConnection } from "./node_redis/resp_connection.ts";
import { TrackingConnection } from "./node_redis/tracking.ts";

export type { NodeRedisClient, NodeRedisOptions, NodeRedisTls } from "./node_redis/options.ts";

/**
 * Makes a driver over TCP or a Unix socket. Nothing is opened before the first send.
 *
 * A send waits for its replies as long as the connection lives. A connection that does not answer within the longest
 * `timeout` of its sends is dropped, and those sends fail.
 *
 * @param options The address of the server and the login, or a ready client.
 * @throws {TypeError} For an unknown option, a value of another type, a URL that cannot be honoured, and options of a
 * connection next to a ready client.
 * @throws {RangeError} For a number out of range.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 * import { nodeRedis } from "@foodfast/larder/drivers/node-redis";
 *
 * const driver = nodeRedis({ url: "redis://127.0.0.1:6379", pool: { size: 2 } }); // nothing is opened yet
 * const client = createCacheClient({ driver });
 * console.log(client.driver); // "node-redis"
 * await driver.close();
 * ```
 */
export function nodeRedis(options: NodeRedisOptions): Driver {
  checkNodeRedisOptions(options);
  const size = options.pool?.size ?? 1;
  const limits = {
    connectTimeout: parseTime(options.connectTimeout ?? 5000, "connectTimeout"),
    pingInterval:
      (options.pingInterval ?? 0) === 0 ? undefined : parseTime(options.pingInterval as Timeout, "pingInterval"),
  };
  const pools: (Pool | LentConnection)[] = [];
  const settings = options.client ? (options.client.options as NodeRedisClientOptions | undefined) : addressOf(options);
  const named = options.database ?? settings?.database;
  const address: RedisAddress = options.client
    ? { ...limits, size: 1, ...likeClient(options.client) }
    : { ...limits, size, ...atAddress(settings as NodeRedisOptions, limits.connectTimeout) };
  if (options.client) {
    pools[named ?? 0] = new LentConnection(options.client, address.endpoint, ({ code }) => primary.denied(code));
  }
  const tracking = new TrackingConnection(address);
  const primary = new Primary(() => {
    for (const pool of pools) pool?.leave();
    tracking.leave();
  });
  const own = new Set<Connection>();
  let closed: Promise<unknown> | undefined;
  return {
    name: "node-redis",
    ...(named !== undefined && { database: named }),
    capabilities: {
      numbered: true,
      scripts: true,
      ordered: address.size === 1,
      // A ready client may lose its connection within a send, reconnect, and send the rest outside of MULTI.
      ...(options.client ? {} : { transactions: "multi" }),
    },
    send(database, commands, sendOptions) {
      if (closed) return Promise.reject(closedError());
      pools[database] ??= new Pool(address, database, primary);
      return pools[database].send(commands, sendOptions);
    },
    track: (_database, prefix, tracker) => tracking.add(prefix, tracker),
    ...(address.raw && {
      async connect(database: number, sendOptions?: SendOptions) {
        if (closed) throw closedError();
        const opened = performance.now();
        const connection = await connect(address, database, sendOptions, {
          denied: ({ code }) => primary.denied(code, opened),
          begun: (connection) => (closed ? connection.close() : own.add(connection)),
          gone: (connection) => own.delete(connection),
        });
        if (primary.doubted) connection.send([["ROLE"]]).then(([role]) => primary.see(role), ignore);
        return connection;
      },
    }),
    async close() {
      tracking.close();
      closed ??= Promise.all([...pools.map((pool) => pool.close()), ...[...own].map((each) => each.close())]);
      await closed;
    },
  };
}

/** Opens a connection that belongs to the caller. */
async function connect(
  { endpoint, connectTimeout, raw }: RedisAddress,
  database: number,
  options: SendOptions | undefined,
  hooks: Pick<Dial, "begun" | "gone" | "denied">,
): Promise<Connection> {
  if (!raw) throw new TypeError("Cannot open a connection: the address of the ready client is unknown");
  try {
    const { username, password } = await raw.credentials();
    const login: RawCommand[] = [["PING"]];
    if (database !== 0) login.unshift(["SELECT", database]);
    if (username || password) login.unshift(["AUTH", ...(username ? [username] : []), password ?? ""]);
    return await openConnection({
      endpoint,
      // Each socket gets a copy, because it writes into its options.
      socket: { ...raw.socket },
      login,
      timeout: options?.timeout ?? connectTimeout,
      ...hooks,
    });
  } catch (error) {
    throw connectError(error, endpoint, database);
  }
}
