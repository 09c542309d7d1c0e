/**
 * The driver of Sentinel: the present master of several servers, found and followed by the sentinels that watch them.
 *
 * It has the abilities of {@linkcode nodeRedis}, over such a driver of the present master. While that is away, sends
 * fail, until the sentinels announce another one; then they go there.
 *
 * @module
 */

import { inTime } from "../src/base/in_time.ts";
import { LONGEST_TIMER, type Timeout } from "../src/base/ttl.ts";
import { type Command, type Driver, isDenial, type Reply, type SendOptions, StoreError } from "./driver.ts";
import { closedError, isUnsent } from "./node_redis/errors.ts";
import type { NodeDriver } from "./node_redis/node_driver.ts";
import { parseTime } from "./node_redis/options.ts";
import { translator } from "./node_redis/several_servers.ts";
import { nodeRedis } from "./node_redis.ts";
import type { NamedServer } from "./sentinel/find_master.ts";
import { Master } from "./sentinel/master.ts";
import { checkSentinelOptions, type SentinelOptions } from "./sentinel/options.ts";

export type { NodeAddress } from "../src/base/hosts.ts";
export type { NodeRedisTls } from "./node_redis/options.ts";
export type { SentinelOptions } from "./sentinel/options.ts";

/** The most milliseconds that a sentinel, or a server that it names, has to answer. */
const PATIENCE = 2000;

/**
 * Makes a driver of the master that sentinels watch. Nothing is opened before the first send.
 *
 * After a failover, calls go to the new master as soon as one sentinel announces it. All connections to the old one are
 * ended before that, because a master that was frozen and wakes up answers for ten seconds more with what it had.
 *
 * What a master had not yet replicated when it failed is lost, invalidations too.
 *
 * @param options The sentinels, the name of the master, and the logins.
 * @throws {TypeError} For an option that is missing or unknown, and a value of another type or form.
 * @throws {RangeError} For a number out of range.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 * import { sentinel } from "@foodfast/larder/drivers/sentinel";
 *
 * const driver = sentinel({ sentinels: ["10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"], name: "mymaster" });
 * const client = createCacheClient({ driver }); // nothing is opened yet
 * console.log(client.driver); // "sentinel"
 * await driver.close();
 * ```
 */
export function sentinel(options: SentinelOptions): Driver {
  const sentinels = checkSentinelOptions(options);
  const { name, username, password, tls, database, pool, connectTimeout = 5000, pingInterval, mapAddress } = options;
  const shared = {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls !== undefined && { tls }),
    ...(pool !== undefined && { pool }),
    ...(pingInterval !== undefined && { pingInterval }),
    connectTimeout,
  };
  const master = new Master({
    sentinels,
    name,
    username: options.sentinelUsername,
    password: options.sentinelPassword,
    tls: options.sentinelTls,
    patience: Math.min(parseTime(connectTimeout as Timeout, "connectTimeout"), PATIENCE),
    reach: translator(mapAddress),
    open: (address) => nodeRedis({ ...address, ...shared }) as NodeDriver,
  });
  let closed = false;
  const tooLate = () => new StoreError("timeout", `The master ${name} was not found in time`);

  /** Sends to a node. What could not be sent there is sent to its successor. */
  function send(
    node: NamedServer,
    database: number,
    commands: readonly Command[],
    options: SendOptions | undefined,
    retry: ((error: StoreError) => Promise<Reply[]>) | undefined,
  ): Promise<Reply[]> {
    return node.driver.send(database, commands, options).then(
      (replies) => {
        for (const reply of replies) {
          if (reply instanceof StoreError && isDenial(reply)) master.denied(node, reply.code);
        }
        return replies;
      },
      (error: StoreError) => {
        if (error.kind === "connection" || error.kind === "timeout") master.doubt(node);
        if (retry && isUnsent(error)) return retry(error);
        throw error;
      },
    );
  }

  return {
    name: "sentinel",
    ...(database !== undefined && { database }),
    capabilities: { numbered: true, scripts: true, ordered: (pool?.size ?? 1) === 1, transactions: "multi" },
    partOf: () => master.name,
    parts: () => [master.name],
    send(database, commands, options) {
      if (closed) return Promise.reject(closedError());
      const begun = performance.now();
      const find = (failed?: StoreError): Promise<Reply[]> =>
        master.find().then((node) => {
          const { timeout, waiting } = options ?? {};
          // The caller has already seen a failure, so the commands must not be executed now.
          if (waiting ? !waiting() : timeout !== undefined && performance.now() - begun >= timeout) {
            throw failed ?? tooLate();
          }
          return send(node, database, commands, options, undefined);
        });
      return master.node ? send(master.node, database, commands, options, find) : find();
    },
    track: (database, prefix, tracker) => master.track(database, prefix, tracker),
    async connect(database, options) {
      if (closed) throw closedError();
      const { timeout = LONGEST_TIMER } = options ?? {};
      const begun = performance.now();
      const node = await inTime(master.find(), timeout, tooLate);
      const connection = node.driver.connect as NonNullable<Driver["connect"]>;
      const left = Math.max(1, timeout - (performance.now() - begun));
      return connection(database, options?.timeout === undefined ? {} : { timeout: left }).catch(
        (error: StoreError) => {
          if (error.kind === "connection") master.doubt(node);
          throw error;
        },
      );
    },
    close() {
      closed = true;
      return master.close();
    },
  };
}
