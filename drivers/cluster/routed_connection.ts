import { isStoreError } from "../../src/base/store_error.ts";
import { type Connection, type RawCommand, type RawReply, type SendOptions, StoreError } from "../driver.ts";
import type { Translate } from "../node_redis/several_servers.ts";
import { Router } from "./router.ts";
import type { KnownNode, Topology } from "./topology.ts";

/** Opens a connection to a database of one node. */
export async function connectTo(
  { driver }: KnownNode,
  database: number,
  timeout: number | undefined,
): Promise<Connection> {
  if (!driver.connect) throw new TypeError("Cannot open a connection: the driver of the node has none");
  try {
    return await driver.connect(database, timeout === undefined ? {} : { timeout });
  } catch (error) {
    throw database === 0 ? error : databaseError(error, database);
  }
}

/** Returns the error of a node that refused a database, in words about the cluster. */
export function databaseError(error: unknown, database: number): unknown {
  if (!isStoreError(error) || error.kind !== "command" || !/^Cannot use database/.test(error.message)) return error;
  const [why = error.message] = /ERR (SELECT|DB) [^:;]+/.exec(error.message) ?? [];
  const text =
    `Cannot use database ${database} of the cluster: ${why}; ` +
    "set CACHE_DATABASES=prefixed, or give the cluster databases (Valkey 9: cluster-databases 16)";
  return new StoreError("command", text, { code: error.code });
}

/**
 * A connection to a cluster that belongs to one caller: it has a connection of its own to each node, opened when a
 * command goes there first, or again after it was lost.
 */
export class RoutedConnection implements Connection {
  readonly #topology: Topology;
  readonly #router: Router;
  readonly #connections = new Map<KnownNode, Promise<Connection>>();
  readonly #database: number;
  readonly #timeout: number | undefined;
  readonly #gone: (connection: Connection) => void;
  #closed: StoreError | undefined;

  /** @param gone Called when it is closed. */
  constructor(
    topology: Topology,
    translate: Translate,
    database: number,
    timeout: number | undefined,
    gone: (connection: Connection) => void,
  ) {
    this.#topology = topology;
    this.#database = database;
    this.#timeout = timeout;
    this.#gone = gone;
    this.#router = new Router(topology, translate, true, (node) => ({
      send: (commands, options) => this.#send(node, commands, options),
    }));
  }

  send(commands: readonly RawCommand[], options?: SendOptions): Promise<RawReply[]> {
    if (this.#closed) return Promise.reject(this.#closed);
    return this.#router.send(commands, options).catch((error) => {
      throw this.#closed ?? error;
    });
  }

  /** Listens on one master. What is published is heard on all of them. */
  async listen(command: RawCommand, onReply: (reply: RawReply) => void): Promise<void> {
    if (this.#closed) throw this.#closed;
    await this.#topology.ensure();
    if (!this.#topology.known) throw this.#topology.failure;
    return (await this.#open(this.#topology.any())).listen(command, onReply);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = new StoreError("closed", "The connection to the cluster is closed");
    this.#gone(this);
    for (const connection of this.#connections.values())
      connection.then(
        (open) => open.close(),
        () => {},
      );
    this.#connections.clear();
  }

  async #send(node: KnownNode, commands: readonly RawCommand[], options: SendOptions | undefined): Promise<RawReply[]> {
    // What the router sends on by itself comes here without the caller.
    if (this.#closed) throw this.#closed;
    const opened = this.#open(node);
    const connection = await opened;
    try {
      return await connection.send(commands, options);
    } catch (error) {
      if (this.#connections.get(node) === opened) this.#connections.delete(node);
      // It had ended before.
      if (error instanceof StoreError && error.repeat === "all" && !this.#closed) {
        return (await this.#open(node)).send(commands, options);
      }
      throw error;
    }
  }

  #open(node: KnownNode): Promise<Connection> {
    const open = this.#connections.get(node);
    if (open) return open;
    const opening = connectTo(node, this.#database, this.#timeout);
    this.#connections.set(node, opening);
    opening.catch(() => this.#connections.delete(node));
    return opening;
  }
}
