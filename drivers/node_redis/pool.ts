import { LONGEST_TIMER } from "../../src/base/ttl.ts";
import { type Command, type Reply, type SendOptions, StoreError } from "../driver.ts";
import { PooledConnection } from "./connection.ts";
import { closedError, ignore, throwIfRefused } from "./errors.ts";
import type { Primary } from "./primary.ts";
import { dial, disconnect, LONGEST_PAUSE, type RedisAddress, SHORTEST_PAUSE } from "./redis_address.ts";
import { leftError, lostError } from "./resp_connection.ts";

/** The extra milliseconds that a connection waits for a send with `waiting`. */
const GRACE = 1000;
/** The interval in milliseconds at which a server in use is asked whether it is still the primary. */
const ROLES = 10_000;

/**
 * Returns how long a connection waits for a send with `waiting`: longer than its timeout, because the reply may already
 * be in a socket that a busy process has not read yet.
 */
function patience({ timeout }: SendOptions): number | undefined {
  return timeout && Math.min(timeout + GRACE, LONGEST_TIMER);
}

/** The connections to one database. */
export class Pool {
  readonly #address: RedisAddress;
  readonly #database: number;
  readonly #primary: Primary;
  /** The moment at which a server was last asked for its role, or a connection was opened. */
  #asked = 0;
  /** The attempt to replace the open connections. */
  #replacing: Promise<void> | undefined;
  #connections: readonly PooledConnection[] = [];
  /** The attempt to connect, which all sends share. */
  #attempt: Promise<PooledConnection> | undefined;
  #abort: AbortController | undefined;
  #failures = 0;
  #pausedUntil = 0;
  #failure: StoreError | undefined;
  #closed = false;

  constructor(address: RedisAddress, database: number, primary: Primary) {
    this.#address = address;
    this.#database = database;
    this.#primary = primary;
  }

  send(commands: readonly Command[], options: SendOptions | undefined): Promise<Reply[]> {
    const now = performance.now();
    const timeout = options?.waiting ? patience(options) : options?.timeout;
    if (this.#replacing) return this.#sendAfter(this.#replacing, commands, options, now);
    let best: PooledConnection | undefined;
    // Losing a connection replaces the list, so the loop continues over the list with which it started.
    for (const connection of this.#connections) {
      if (connection.overdue(now)) connection.giveUp();
      else if (!best || connection.pending < best.pending) best = connection;
    }
    if (best) {
      const grow = best.pending > 0 && this.#connections.length < this.#address.size && now >= this.#pausedUntil;
      if (grow && !this.#closed) this.#open();
      if (now - this.#asked > ROLES) this.#askRole(best, timeout, now);
      return best.send(commands, timeout, now);
    }
    if (now < this.#pausedUntil && this.#failure) return Promise.reject(this.#failure);
    return this.#sendAfter(this.#open(), commands, options, now);
  }

  #sendAfter(
    opened: Promise<unknown>,
    commands: readonly Command[],
    options: SendOptions | undefined,
    now: number,
  ): Promise<Reply[]> {
    return opened.then(() => {
      // The caller has already seen a failure, so the commands must not be executed now.
      const { timeout, waiting } = options ?? {};
      if (waiting ? !waiting() : timeout !== undefined && performance.now() - now >= timeout) {
        throw new StoreError(
          "timeout",
          `Redis at ${this.#address.endpoint} could not be reached within ${Math.round(timeout ?? 0)} ms`,
        );
      }
      return this.send(commands, options);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#abort?.abort(closedError());
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }

  /** Replaces the open connections by a new one. If none can be opened, they stay. */
  leave(): void {
    const old = this.#connections;
    if (this.#replacing || old.length === 0) return;
    this.#replacing = this.#open()
      .then(() => {
        this.#connections = this.#connections.filter((connection) => !old.includes(connection));
        for (const connection of old) connection.close(leftError(this.#address.endpoint));
      }, ignore)
      .finally(() => {
        this.#replacing = undefined;
      });
  }

  /**
   * Asks for the role of the server along with a send, because a process that only reads gets no error from a server
   * that was demoted. If the command is not allowed, it is not sent again.
   */
  #askRole(connection: PooledConnection, timeout: number | undefined, now: number): void {
    this.#asked = now;
    connection.send([["ROLE"]], timeout, now).then(([reply]) => {
      const role = Array.isArray(reply) ? reply[0] : undefined;
      if (role === undefined) this.#asked = Number.POSITIVE_INFINITY;
      else if (role === "master") connection.primary = true;
      else if (connection.primary) this.#deny(connection, "READONLY");
    }, ignore);
  }

  #deny(connection: PooledConnection, code: string): void {
    if (this.#primary.denied(code, connection.opened)) this.leave();
  }

  #open(): Promise<PooledConnection> {
    if (this.#attempt) return this.#attempt;
    if (this.#closed) return Promise.reject(closedError());
    const attempt = this.#connect();
    this.#attempt = attempt;
    // Registered first, so that callers that wait for the attempt find the connection in the list before later sends.
    attempt.then(
      (connection) => {
        this.#attempt = undefined;
        this.#failures = 0;
        this.#connections = [...this.#connections, connection];
        if (this.#closed) connection.close();
      },
      (error: StoreError) => {
        this.#attempt = undefined;
        this.#failure = error;
        this.#pausedUntil = performance.now() + Math.min(SHORTEST_PAUSE * 2 ** this.#failures++, LONGEST_PAUSE);
      },
    );
    return attempt;
  }

  async #connect(): Promise<PooledConnection> {
    const { endpoint, connectTimeout, pingInterval } = this.#address;
    let lost: ((error: Error) => void) | undefined;
    const opened = performance.now();
    this.#abort = new AbortController();
    const client = await dial(
      this.#address,
      this.#database,
      this.#abort,
      (error) => lost?.(error),
      // Any reply will do. Without one, some proxies accept for servers that are gone, and a full server stays
      // unnoticed.
      async (client) => {
        const role = this.#primary.doubted && client.sendCommand(["ROLE"]).catch(ignore);
        await client.sendCommand(["PING"]).catch(throwIfRefused);
        if (role) this.#primary.see(await role);
      },
    ).finally(() => {
      this.#abort = undefined;
    });
    const connection = new PooledConnection(
      client,
      endpoint,
      ({ code }) => this.#deny(connection, code),
      () => {
        this.#connections = this.#connections.filter((other) => other !== connection);
        disconnect(client);
      },
    );
    connection.opened = this.#asked = opened;
    lost = (error) => connection.lose(lostError(endpoint, error));
    if (pingInterval) connection.keepAlive(pingInterval, connectTimeout);
    return connection;
  }
}
