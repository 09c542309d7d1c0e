import { LONGEST_TIMER } from "../../src/base/ttl.ts";
import { type Command, type Reply, type SendOptions, StoreError } from "../driver.ts";
import type { ConnectionHooks, SharedConnection } from "./connection.ts";
import { closedError, ignore, markUnsent } from "./errors.ts";
import type { Primary } from "./primary.ts";
import { LONGEST_PAUSE, type RedisAddress, SHORTEST_PAUSE } from "./redis_address.ts";
import { leftError } from "./resp_connection.ts";

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

/** Opens a connection, of which the given database is needed first. The signal ends the attempt. */
export type OpenConnection = (
  database: number,
  abort: AbortController,
  hooks: ConnectionHooks,
) => Promise<SharedConnection>;

/** The connections that the databases of a driver share, or those to one database. */
export class Pool {
  readonly #address: RedisAddress;
  readonly #openConnection: OpenConnection;
  readonly #primary: Primary;
  /** The attempt to replace the open connections. */
  #replacing: Promise<void> | undefined;
  #connections: readonly SharedConnection[] = [];
  /** The attempt to connect, which all sends share. */
  #attempt: Promise<SharedConnection> | undefined;
  #abort: AbortController | undefined;
  #failures = 0;
  #pausedUntil = 0;
  #failure: StoreError | undefined;
  #closed = false;

  constructor(address: RedisAddress, primary: Primary, openConnection: OpenConnection) {
    this.#address = address;
    this.#primary = primary;
    this.#openConnection = openConnection;
  }

  send(database: number, commands: readonly Command[], options: SendOptions | undefined): Promise<Reply[]> {
    const now = performance.now();
    const timeout = options?.waiting ? patience(options) : options?.timeout;
    if (this.#replacing) return this.#sendAfter(this.#replacing, database, commands, options, now);
    let best: SharedConnection | undefined;
    // Losing a connection replaces the list, so the loop continues over the list with which it started.
    for (const connection of this.#connections) {
      if (connection.overdue(now)) connection.giveUp();
      else if (!best || connection.pending < best.pending) best = connection;
    }
    if (best) {
      const grow = best.pending > 0 && this.#connections.length < this.#address.size && now >= this.#pausedUntil;
      if (grow && !this.#closed) this.#open(database);
      if (now - best.asked > ROLES) this.#askRole(best, database, timeout, now);
      return best.send(database, commands, timeout, now);
    }
    if (now < this.#pausedUntil && this.#failure) return Promise.reject(this.#failure);
    return this.#sendAfter(this.#open(database), database, commands, options, now);
  }

  #sendAfter(
    opened: Promise<unknown>,
    database: number,
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
      return this.send(database, commands, options);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#abort?.abort(closedError());
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }

  /** Ends the connections at once, for a reason with which pending sends fail. */
  drop(why: StoreError): void {
    this.#closed = true;
    this.#abort?.abort(why);
    for (const connection of this.#connections) connection.lose(why);
  }

  /** Replaces the open connections by a new one. If none can be opened, they stay. */
  leave(): void {
    const old = this.#connections;
    if (this.#replacing || old.length === 0) return;
    this.#replacing = this.#open(0)
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
  #askRole(connection: SharedConnection, database: number, timeout: number | undefined, now: number): void {
    connection.asked = now;
    connection.send(database, [["ROLE"]], timeout, now).then(([reply]) => {
      const role = Array.isArray(reply) ? reply[0] : undefined;
      if (role === undefined) connection.asked = Number.POSITIVE_INFINITY;
      else if (role === "master") connection.primary = true;
      else if (connection.primary) this.#deny(connection, "READONLY");
    }, ignore);
  }

  #deny(connection: SharedConnection, code: string): void {
    if (this.#primary.denied(code, connection.opened)) this.leave();
  }

  #open(database: number): Promise<SharedConnection> {
    if (this.#attempt) return this.#attempt;
    if (this.#closed) return Promise.reject(closedError());
    const attempt = this.#connect(database);
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
        this.#failure = markUnsent(error);
        this.#pausedUntil = performance.now() + Math.min(SHORTEST_PAUSE * 2 ** this.#failures++, LONGEST_PAUSE);
      },
    );
    return attempt;
  }

  async #connect(database: number): Promise<SharedConnection> {
    const { connectTimeout, pingInterval } = this.#address;
    const opened = performance.now();
    const abort = new AbortController();
    this.#abort = abort;
    let connection: SharedConnection | undefined;
    let lost: StoreError | undefined;
    connection = await this.#openConnection(database, abort, {
      denied: ({ code }) => connection && this.#deny(connection, code),
      lost: (error) => {
        lost = error;
        this.#connections = this.#connections.filter((other) => other !== connection);
      },
    }).finally(() => {
      this.#abort = undefined;
    });
    // It may have been lost after its last reply to the login, before anybody knew of it.
    if (lost) throw lost;
    connection.opened = connection.asked = opened;
    if (pingInterval) connection.keepAlive(pingInterval, connectTimeout);
    return connection;
  }
}
