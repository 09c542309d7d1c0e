/**
 * The TCP driver: Redis through node-redis (`redis` on npm, version 4), with connections that all databases share.
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
import { ClientConnection, LentConnection } from "./node_redis/client_connection.ts";
import { closedError, connectError, ignore, throwIfRefused } from "./node_redis/errors.ts";
import type { NodeDriver } from "./node_redis/node_driver.ts";
import { addressOf, checkNodeRedisOptions, type NodeRedisOptions, parseTime } from "./node_redis/options.ts";
import { type OpenConnection, Pool } from "./node_redis/pool.ts";
import { Primary } from "./node_redis/primary.ts";
import {
  atAddress,
  dial,
  likeClient,
  type NodeRedisClientOptions,
  type RedisAddress,
  withinTimeout,
} from "./node_redis/redis_address.ts";
import { type Dial, lostError, type OwnedConnection, openConnection } from "./node_redis/resp_connection.ts";
import { SocketConnection } from "./node_redis/socket_connection.ts";
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
  const own = new Set<OwnedConnection>();
  let closed: Promise<unknown> | undefined;
  const driver: NodeDriver = {
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
      const pool = options.client ? database : 0;
      pools[pool] ??= new Pool(address, primary, (options.client ? overClient : overSocket)(address, primary));
      return pools[pool].send(database, commands, sendOptions);
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
    drop(why) {
      closed ??= Promise.resolve();
      tracking.close();
      for (const pool of pools) pool?.drop(why);
      for (const each of own) each.close(why);
    },
  };
  return driver;
}

/** Returns a function that opens a connection to all databases. */
function overSocket(address: RedisAddress, primary: Primary): OpenConnection {
  return async (database, abort, hooks) => {
    const { endpoint, raw } = address;
    const connection = new SocketConnection(endpoint, { ...raw?.socket, signal: abort.signal }, hooks);
    const login = (await raw?.credentials()) ?? {};
    const onRole = primary.doubted ? (role: unknown) => primary.see(role) : undefined;
    await withinTimeout(address, database, abort, () => connection.open(login, database, onRole));
    return connection;
  };
}

/** Returns a function that opens a duplicate of a ready client, for one database. */
function overClient(address: RedisAddress, primary: Primary): OpenConnection {
  return async (database, abort, hooks) => {
    const { endpoint } = address;
    let connection: ClientConnection | undefined;
    const client = await dial(
      address,
      database,
      abort,
      (error) => connection?.lose(lostError(endpoint, error)),
      // Any reply will do. Without one, some proxies accept for servers that are gone, and a full server stays
      // unnoticed.
      async (client) => {
        const role = primary.doubted && client.sendCommand(["ROLE"]).catch(ignore);
        await client.sendCommand(["PING"]).catch(throwIfRefused);
        if (role) primary.see(await role);
      },
    );
    connection = new ClientConnection(client, endpoint, hooks);
    return connection;
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
