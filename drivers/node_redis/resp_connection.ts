/**
 * One connection to a Redis over `node:net` or `node:tls`: bytes go and come as they are.
 *
 * It keeps the process alive while somebody waits for it, not while it is idle.
 *
 * @module
 */

import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { LONGEST_TIMER } from "../../src/base/ttl.ts";
import { type Connection, isDenial, type RawCommand, type RawReply, type SendOptions, StoreError } from "../driver.ts";
import { encodeCommands, ReplyReader } from "./resp.ts";

/** How to open a connection. */
export interface Dial {
  /** What the server is called in messages. */
  readonly place: string;
  /** The options of `net.connect`, or with `tls: true` those of `tls.connect`. */
  readonly socket: { readonly tls?: boolean };
  /** What is sent first; all but the last, a PING, must succeed. */
  readonly login: readonly RawCommand[];
  /** Milliseconds that opening may take. */
  readonly timeout: number;
  /** Told of the connection before it is open, so that it can be closed meanwhile. */
  readonly begun: (connection: Connection) => void;
  /** Called once, when the connection has ended. */
  readonly gone: (connection: Connection) => void;
  /** Told that the server is not the one to ask; answers whether the connection is to end once it holds no send. */
  readonly denied?: (error: StoreError) => boolean;
}

/** Who waits for replies. */
interface Waiter {
  readonly replies: RawReply[];
  readonly wanted: number;
  readonly resolve: (replies: RawReply[]) => void;
  readonly reject: (error: StoreError) => void;
  readonly timer: ReturnType<typeof setTimeout> | undefined;
}

/**
 * Opens a connection.
 *
 * @param dial Where to, and how.
 * @returns The connection, logged in.
 * @throws {Error} What went wrong, as the socket or the server says it; a {@linkcode StoreError} when it was closed meanwhile.
 */
export async function openConnection(dial: Dial): Promise<Connection> {
  const connection = new RespConnection(dial);
  dial.begun(connection);
  try {
    const replies = await connection.login(dial);
    for (const [index, reply] of replies.entries()) {
      // Whatever a PING is answered shows that the connection works, unless it says that it is refused.
      const harmless = index === replies.length - 1 && !/^(NOAUTH|DENIED|ERR max)/.test((reply as Error)?.message);
      if (reply instanceof StoreError && !harmless) throw new Error(reply.message);
    }
    return connection;
  } catch (error) {
    connection.close();
    throw error instanceof StoreError && error.cause !== undefined ? error.cause : error;
  }
}

class RespConnection implements Connection {
  readonly #socket: Socket;
  readonly #place: string;
  readonly #gone: (connection: Connection) => void;
  readonly #denied: Dial["denied"];
  readonly #waiting: Waiter[] = [];
  /** Who listens; there are no other replies then. */
  #told: ((reply: RawReply) => void) | undefined;
  /** Ends the listening. */
  #stopped: ((error: StoreError) => void) | undefined;
  /** Why the connection has ended. */
  #ended: StoreError | undefined;
  /** Why it takes no more sends, and ends with the last that it holds. */
  #left: StoreError | undefined;

  constructor({ socket: options, place, gone, denied }: Dial) {
    this.#place = place;
    this.#gone = gone;
    this.#denied = denied;
    this.#socket = options.tls ? connectTls(options as object) : connectTcp(options as { port: number });
    const reader = new ReplyReader((reply) => this.#take(reply));
    this.#socket
      .setNoDelay(true)
      .setKeepAlive(true, 5000)
      .on("error", (error) => this.#end(lostError(place, error)))
      .on("end", () => this.#end(lostError(place, new Error("the server closed it"))))
      .on("close", () => this.#end(lostError(place, new Error("the socket was closed"))))
      .on("data", (chunk) => {
        if (this.#ended) return;
        try {
          reader.read(chunk as unknown as Uint8Array);
        } catch (error) {
          this.#end(error instanceof StoreError ? error : lostError(place, error));
        }
      });
  }

  /** Waits for the socket, then logs in. */
  login({ socket, login, timeout }: Dial): Promise<RawReply[]> {
    // Not before a certificate was verified.
    this.#socket.once(socket.tls ? "secureConnect" : "connect", () => this.#socket.write(encodeCommands(login)));
    return this.#wait(login.length, timeout);
  }

  send(commands: readonly RawCommand[], options?: SendOptions): Promise<RawReply[]> {
    const over = this.#ended ?? this.#left;
    if (over) return Promise.reject(unsent(over));
    if (this.#told) return Promise.reject(new TypeError("Cannot send on a connection that listens"));
    if (commands.length === 0) return Promise.resolve([]);
    const replies = this.#wait(commands.length, options?.timeout);
    this.#socket.write(encodeCommands(commands));
    return replies;
  }

  listen(command: RawCommand, told: (reply: RawReply) => void): Promise<void> {
    const over = this.#ended ?? this.#left;
    if (over) return Promise.reject(unsent(over));
    if (this.#told) return Promise.reject(new TypeError("Cannot listen twice on one connection"));
    this.#told = told;
    this.#socket.ref();
    this.#socket.write(encodeCommands([command]));
    return new Promise((resolve, reject) => {
      this.#stopped = (error) => (error.kind === "closed" ? resolve() : reject(error));
    });
  }

  async close(): Promise<void> {
    this.#end(new StoreError("closed", "The connection to Redis is closed"));
  }

  #wait(wanted: number, timeout: number | undefined): Promise<RawReply[]> {
    if (this.#ended) return Promise.reject(this.#ended);
    if (this.#waiting.length === 0) this.#socket.ref();
    return new Promise((resolve, reject) => {
      const timer =
        timeout === undefined
          ? undefined
          : setTimeout(() => this.#end(this.#late(timeout)), Math.min(timeout, LONGEST_TIMER));
      this.#waiting.push({ replies: [], wanted, resolve, reject, timer });
    });
  }

  #take(reply: RawReply): void {
    const [waiter] = this.#waiting;
    if (!waiter) {
      if (!this.#told) throw new StoreError("protocol", `Redis at ${this.#place} answered what was not asked`);
      this.#told(reply);
      return;
    }
    if (reply instanceof StoreError && isDenial(reply) && !this.#left && this.#denied?.(reply)) {
      this.#left = leftError(this.#place);
    }
    if (waiter.replies.push(reply) < waiter.wanted) return;
    this.#waiting.shift();
    clearTimeout(waiter.timer);
    if (this.#waiting.length === 0 && !this.#told) {
      if (this.#left) this.#end(this.#left);
      else this.#socket.unref();
    }
    waiter.resolve(waiter.replies);
  }

  #late(patience: number): StoreError {
    const timeout = Math.round(patience);
    return new StoreError("timeout", `Redis at ${this.#place} gave no answer within ${timeout} ms`, {
      repeat: "idempotent",
      cause: new Error(`no answer within ${timeout} ms`),
    });
  }

  #end(error: StoreError): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#socket.destroy();
    for (const { reject, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer);
      reject(error);
    }
    this.#stopped?.(error);
    this.#gone(this);
  }
}

/** The error of whoever sends on a connection that has ended: all of it may be sent on another one. */
function unsent({ kind, message, cause }: StoreError): StoreError {
  return new StoreError(kind, message, { repeat: kind === "closed" ? "none" : "all", cause });
}

/** The error of whoever waited on a connection that was lost. */
export function lostError(place: string, error: unknown): StoreError {
  return new StoreError("connection", `The connection to Redis at ${place} was lost: ${reason(error)}`, {
    repeat: "idempotent",
    cause: error,
  });
}

/** The error of whoever still used a connection to a server that is not the one to ask. */
export function leftError(place: string): StoreError {
  return new StoreError("connection", `Redis at ${place} is not the primary any more: its connection is replaced`, {
    repeat: "idempotent",
  });
}

/** The message of an error; several addresses of one name make an `AggregateError`, whose own is empty. */
export function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const errors = (error as { errors?: unknown }).errors;
  return error.message || (Array.isArray(errors) ? errors.map(reason).join(", ") : error.name);
}
