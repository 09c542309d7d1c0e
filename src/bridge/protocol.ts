/**
 * The commands, transactions and connections that the bridge needs of a store: over connections that the driver opens
 * for it, or otherwise over the driver's text.
 *
 * Over connections, plain commands of all requests are pipelined on a few shared ones. None of these commands blocks,
 * because the bridge refuses those that do. Each transaction and each stream has a connection to itself.
 *
 * @module
 */

import {
  type Connection,
  type Driver,
  isDenial,
  type RawCommand,
  type RawReply,
  type Reply,
  StoreError,
} from "../../drivers/driver.ts";
import { unknownCommand } from "../base/store_error.ts";

/** Options of {@linkcode openProtocol}. */
export interface ProtocolOptions {
  readonly driver: Driver;
  readonly database: number;
  /** The deadline of one send in milliseconds, connecting and waiting included. */
  readonly timeout: number;
  /** The maximum number of connections for transactions. */
  readonly transactions: number;
}

/** A store as the bridge uses it. */
export interface Protocol {
  /** `true` if arguments may be bytes that are not UTF-8. */
  readonly binary: boolean;
  /** Sends commands in order. @throws {StoreError} If the store did not answer. */
  send(commands: readonly RawCommand[]): Promise<readonly RawReply[]>;
  /**
   * Runs commands as one transaction.
   *
   * @returns Their replies; the error for which all were discarded; or `undefined` if the store has no transactions.
   * @throws {StoreError} If the store did not answer.
   */
  transaction(commands: readonly RawCommand[]): Promise<readonly RawReply[] | StoreError | undefined>;
  /** Opens a connection. Absent if the driver cannot open connections. */
  connect?(): Promise<Connection>;
  /**
   * Sends a command that belongs to no database over a new connection, ahead of waiting commands. Absent if the driver
   * cannot open connections.
   *
   * @throws {StoreError} If the store did not answer.
   */
  sendAside?(command: RawCommand): Promise<RawReply>;
  /** Waits for in-flight commands, then closes the connections. Later commands fail. */
  close(): Promise<void>;
}

/**
 * Makes the protocol for a driver.
 *
 * @param options The driver, and its limits.
 * @param over Makes that of a store with several parts, over its connections.
 * @returns The protocol.
 */
export function openProtocol(
  options: ProtocolOptions,
  over: (options: ProtocolOptions, connections: Connections) => Protocol,
): Protocol {
  const { connect, capabilities } = options.driver;
  if (!connect) return textProtocol(options);
  const connections = new Connections(options, connect.bind(options.driver));
  return capabilities.parts ? over(options, connections) : connections;
}

function textProtocol({ driver, database, timeout }: ProtocolOptions): Protocol {
  const { transactions } = driver.capabilities;
  const send = async (commands: readonly RawCommand[]): Promise<readonly RawReply[]> =>
    (await driver.send(database, commands as Parameters<Driver["send"]>[1], { timeout })).map(toRaw);
  return {
    binary: false,
    send,
    async transaction(commands) {
      return transactions && settle(await send([["MULTI"], ...commands, ["EXEC"]]));
    },
    async close() {},
  };
}

const encoder = new TextEncoder();

/**
 * Turns a reply of text into one of bytes. Of simple strings only OK is known, because such drivers do not mark them.
 */
function toRaw(reply: Reply): RawReply {
  if (typeof reply === "string") return reply === "OK" ? reply : encoder.encode(reply);
  if (reply === null || typeof reply !== "object") return reply;
  if (!(reply instanceof Error)) return reply.map(toRaw);
  // Redis may know the command.
  const name = unknownCommand(reply);
  if (name === undefined) return reply;
  return new StoreError("command", `ERR unknown command '${name}': the store behind this server does not have it`);
}

/** Returns the outcome of a transaction, by the replies to MULTI, its commands and EXEC. */
function settle(replies: readonly RawReply[]): readonly RawReply[] | StoreError {
  const results = replies.at(-1);
  if (Array.isArray(results)) return results;
  if (results instanceof Error && results.kind !== "command") throw results;
  // The error of the command that could not be queued says more than EXECABORT.
  const wrong = replies.find((reply) => reply instanceof Error);
  return (wrong as StoreError) ?? new StoreError("command", "EXECABORT the transaction was discarded");
}

/** A shared connection. */
interface Line {
  readonly connection: Connection;
  /** The number of commands without a reply. */
  pending: number;
}

/** The maximum number of shared connections, and the in-flight commands on each at which another one is opened. */
const LINES = 4;
const BUSY = 500;
/** The number of times that a command is sent again which was refused before it ran. */
const REPEATS = 2;

function isDenied(reply: RawReply | undefined): boolean {
  return reply instanceof Error && isDenial(reply);
}

/** Pauses before a repetition. The first one is immediate, because the connection was replaced. */
async function pauseBefore(attempt: number): Promise<void> {
  if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, 30));
}

/** The connections that the bridge shares, and those of transactions. */
export class Connections implements Protocol {
  readonly binary = true;
  readonly #options: ProtocolOptions;
  readonly #connect: NonNullable<Driver["connect"]>;
  readonly #lines = new Set<Line>();
  #opening: Promise<void> | undefined;
  /** The connections for transactions that are not in use. */
  readonly #idle: { readonly connection: Connection; readonly part: string | undefined }[] = [];
  #inUse = 0;
  readonly #waiting = new Set<() => void>();
  readonly #pending = new Set<Promise<unknown>>();
  #closed = false;

  constructor(options: ProtocolOptions, connect: NonNullable<Driver["connect"]>) {
    this.#options = options;
    this.#connect = connect;
  }

  send(commands: readonly RawCommand[]): Promise<readonly RawReply[]> {
    return this.#track(this.#sendWhole(commands));
  }

  transaction(commands: readonly RawCommand[], part?: string): Promise<readonly RawReply[] | StoreError> {
    return this.#track(this.#transact([["MULTI"], ...commands, ["EXEC"]], part));
  }

  async connect(part?: string): Promise<Connection> {
    if (this.#closed) throw closedError();
    const { database, timeout } = this.#options;
    return await this.#connect(database, { timeout, ...(part !== undefined && { part }) });
  }

  sendAside(command: RawCommand, part?: string): Promise<RawReply> {
    return this.#track(this.#aside(command, part));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#pending);
    for (const { connection } of this.#lines) connection.close();
    for (const { connection } of this.#idle) connection.close();
  }

  async #track<T>(work: Promise<T>): Promise<T> {
    this.#pending.add(work);
    try {
      return await work;
    } finally {
      this.#pending.delete(work);
    }
  }

  /** Sends commands. If the server was demoted and refused some, they are sent again to the server of its name. */
  async #sendWhole(commands: readonly RawCommand[]): Promise<readonly RawReply[]> {
    const left = this.#deadline();
    let replies = await this.#send(commands, left);
    for (let attempt = 0; attempt < REPEATS && replies.some(isDenied); attempt++) {
      await pauseBefore(attempt);
      const again = commands.filter((_, i) => isDenied(replies[i]));
      // Replies that arrived before are kept, even if the repetition fails.
      const found = await this.#send(again, left).catch((error: StoreError) => again.map(() => error));
      let next = 0;
      replies = replies.map((reply) => (isDenied(reply) ? (found[next++] ?? null) : reply));
    }
    return replies;
  }

  /** Runs a transaction in the same way. A demoted server discards it as a whole. */
  async #transact(
    commands: readonly RawCommand[],
    part: string | undefined,
  ): Promise<readonly RawReply[] | StoreError> {
    const left = this.#deadline();
    for (let attempt = 0; ; attempt++) {
      const result = settle(await this.#onOwn(commands, part, left));
      if (attempt === REPEATS || !(result instanceof Error && isDenied(result))) return result;
      await pauseBefore(attempt);
    }
  }

  async #send(commands: readonly RawCommand[], left: () => number): Promise<readonly RawReply[]> {
    while (true) {
      const line = this.#pick();
      if (!line) {
        await this.#open();
        continue;
      }
      const timeout = left();
      line.pending += commands.length;
      try {
        return await line.connection.send(commands, { timeout });
      } catch (error) {
        this.#lines.delete(line);
        // The connection was lost while it was idle.
        if ((error as StoreError).repeat !== "all") throw error;
      } finally {
        line.pending -= commands.length;
      }
    }
  }

  async #aside(command: RawCommand, part: string | undefined): Promise<RawReply> {
    const left = this.#deadline();
    // In database 0, because a server that runs a script refuses SELECT.
    const connection = await this.#connect(0, { timeout: left(), ...(part !== undefined && { part }) });
    try {
      const [reply = null] = await connection.send([command], { timeout: left() });
      return reply;
    } finally {
      connection.close();
    }
  }

  /** Returns the first shared connection that is not busy, otherwise the least busy one. */
  #pick(): Line | undefined {
    let best: Line | undefined;
    for (const line of this.#lines) {
      if (line.pending < BUSY) return line;
      if (!best || line.pending < best.pending) best = line;
    }
    if (best && this.#lines.size < LINES) this.#open().catch(() => {});
    return best;
  }

  #open(): Promise<void> {
    this.#opening ??= this.connect()
      .then((connection) => {
        if (this.#closed) connection.close();
        else this.#lines.add({ connection, pending: 0 });
      })
      .finally(() => {
        this.#opening = undefined;
      });
    return this.#opening;
  }

  async #onOwn(
    commands: readonly RawCommand[],
    part: string | undefined,
    left: () => number,
  ): Promise<readonly RawReply[]> {
    await this.#acquire(left());
    try {
      while (true) {
        const idle = this.#idle.findLastIndex((one) => one.part === part);
        const [own] = idle >= 0 ? this.#idle.splice(idle, 1) : [];
        const connection = own?.connection ?? (await this.#openForTransactions(part));
        try {
          const replies = await connection.send(commands, { timeout: left() });
          this.#idle.push({ connection, part });
          // Those of parts that have left are the oldest before long.
          if (this.#idle.length > this.#options.transactions) this.#idle.shift()?.connection.close();
          return replies;
        } catch (error) {
          connection.close();
          if ((error as StoreError).repeat !== "all") throw error;
        }
      }
    } finally {
      this.#release();
    }
  }

  /** Opens a connection and tries MULTI. If MULTI is forbidden, the commands after it would run without it. */
  async #openForTransactions(part: string | undefined): Promise<Connection> {
    const connection = await this.connect(part);
    const [multi] = await connection.send([["MULTI"], ["DISCARD"]], { timeout: this.#options.timeout });
    if (!(multi instanceof Error)) return connection;
    connection.close();
    throw new StoreError("command", multi.message);
  }

  /** Waits until a connection for transactions is free. */
  async #acquire(timeout: number): Promise<void> {
    if (this.#inUse < this.#options.transactions) {
      this.#inUse++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const free = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(free);
        reject(new StoreError("timeout", `No connection for a transaction was free within ${timeout} ms`));
      }, timeout);
      this.#waiting.add(free);
    });
  }

  /** Gives the connection to the transaction that has waited the longest. */
  #release(): void {
    const [free] = this.#waiting;
    if (free) {
      this.#waiting.delete(free);
      free();
    } else this.#inUse--;
  }

  /** Returns a function that returns the time left of a request. */
  #deadline(): () => number {
    if (this.#closed) throw closedError();
    const { timeout } = this.#options;
    const end = performance.now() + timeout;
    return () => {
      const left = Math.ceil(end - performance.now());
      if (left > 0) return left;
      throw new StoreError("timeout", `The store could not be reached within ${timeout} ms`);
    };
  }
}

function closedError(): StoreError {
  return new StoreError("closed", "The bridge is closed");
}
