/**
 * The TCP wire: Redis through node-redis (`redis` on npm, version 4), with a pool of connections for each database.
 *
 * node-redis reconnects by itself and holds commands back meanwhile, for as long as it takes; a cache wants the opposite.
 * Both are off here: a connection lives until it is lost or gives no answer in time, and the next send opens another,
 * after a pause where attempts fail. No timer and no open socket keeps the process alive: whoever waits for a send does.
 * A socket that still connects, to an address that drops packets, holds Node and Bun for `connectTimeout` at the most.
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
import { type Dial, openConnection } from "./node_redis/resp_connection.ts";
import { atAddress, likeClient, type NodeRedisClientOptions, type RedisAddress } from "./node_redis/target.ts";
import { TrackingConnection } from "./node_redis/tracking.ts";

export type { NodeRedisClient, NodeRedisOptions, NodeRedisTls } from "./node_redis/options.ts";

/**
 * Makes a driver over TCP or a Unix socket. Nothing is opened before the first send.
 *
 * A send does not keep the process alive, and waits for its replies for as long as the connection lives: a connection
 * that gives no answer within the longest `timeout` of the sends that it holds is dropped, and those sends fail.
 *
 * @param options Where the server is and how to log in, or a ready client.
 * @throws {TypeError} For an option that is unknown or of another form, a URL that cannot be honoured, and options of a
 * connection beside a ready client.
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
  const address = options.client ? (options.client.options as NodeRedisClientOptions | undefined) : addressOf(options);
  const named = options.database ?? address?.database;
  const target: RedisAddress = options.client
    ? { ...limits, size: 1, ...likeClient(options.client) }
    : { ...limits, size, ...atAddress(address as NodeRedisOptions, limits.connectTimeout) };
  if (options.client) {
    pools[named ?? 0] = new LentConnection(options.client, target.place, ({ code }) => primary.denied(code));
  }
  const watch = new TrackingConnection(target);
  const primary = new Primary(() => {
    for (const pool of pools) pool?.leave();
    watch.leave();
  });
  const own = new Set<Connection>();
  let closed: Promise<unknown> | undefined;
  return {
    name: "node-redis",
    ...(named !== undefined && { database: named }),
    capabilities: {
      numbered: true,
      scripts: true,
      ordered: target.size === 1,
      // A ready client may lose its connection within a send, reconnect, and send the rest outside of MULTI.
      ...(options.client ? {} : { transactions: "multi" }),
    },
    send(database, commands, sendOptions) {
      if (closed) return Promise.reject(closedError());
      pools[database] ??= new Pool(target, database, primary);
      return pools[database].send(commands, sendOptions);
    },
    track: (_database, prefix, tracker) => watch.add(prefix, tracker),
    ...(target.raw && {
      async connect(database: number, sendOptions?: SendOptions) {
        if (closed) throw closedError();
        const opened = performance.now();
        const connection = await connect(target, database, sendOptions, {
          denied: ({ code }) => primary.denied(code, opened),
          begun: (connection) => (closed ? connection.close() : own.add(connection)),
          gone: (connection) => own.delete(connection),
        });
        if (primary.doubted) connection.send([["ROLE"]]).then(([role]) => primary.see(role), ignore);
        return connection;
      },
    }),
    async close() {
      watch.close();
      closed ??= Promise.all([...pools.map((pool) => pool.close()), ...[...own].map((each) => each.close())]);
      await closed;
    },
  };
}

/** Opens a connection of the caller's own. */
async function connect(
  { place, connectTimeout, raw }: RedisAddress,
  database: number,
  options: SendOptions | undefined,
  told: Pick<Dial, "begun" | "gone" | "denied">,
): Promise<Connection> {
  if (!raw) throw new TypeError("Cannot connect without knowing where to");
  try {
    const { username, password } = await raw.credentials();
    const login: RawCommand[] = [["PING"]];
    if (database !== 0) login.unshift(["SELECT", database]);
    if (username || password) login.unshift(["AUTH", ...(username ? [username] : []), password ?? ""]);
    return await openConnection({
      place,
      // A copy for each: sockets write into their options.
      socket: { ...raw.socket },
      login,
      timeout: options?.timeout ?? connectTimeout,
      ...told,
    });
  } catch (error) {
    throw connectError(error, place, database);
  }
}
