/**
 * One connection to Redis over `node:net` or `node:tls`, with unchanged bytes.
 *
 * It keeps the process alive while a caller waits for it, not while it is idle.
 *
 * @module
 */

import { connect as connectTcp, type Socket } from "node:net";
import { setImmediate } from "node:timers";
import { connect as connectTls } from "node:tls";
import { LONGEST_TIMER } from "../../src/base/ttl.ts";
import { type Connection, isDenial, type RawCommand, type RawReply, type SendOptions, StoreError } from "../driver.ts";
import { encodeCommands, ReplyReader } from "./resp.ts";

/** A connection that belongs to a caller, as its driver has it. */
export interface OwnedConnection extends Connection {
  /** Closes the connection, for a reason other than its owner's wish if one is given. */
  close(why?: StoreError): Promise<void>;
}

/** The options of {@linkcode openConnection}. */
export interface Dial {
  /** The name of the server for messages. */
  readonly endpoint: string;
  /** The options of `net.connect`, or with `tls: true` those of `tls.connect`. */
  readonly socket: { readonly tls?: boolean };
  /** The first commands. All of them must succeed, except the last one, a PING. */
  readonly login: readonly RawCommand[];
  /** The most milliseconds to open the connection. */
  readonly timeout: number;
  /** Called with the connection before it is open, so that it can be closed at any time. */
  readonly begun: (connection: OwnedConnection) => void;
  /** Called once, when the connection has ended. */
  readonly gone: (connection: OwnedConnection) => void;
  /** Called if another server should be asked. Returns whether to end the connection after its pending sends. */
  readonly denied?: (error: StoreError) => boolean;
}

/** The error replies to PING by which a server refuses a connection. Any other reply shows that it works. */
export const REFUSED: RegExp = /^(NOAUTH|DENIED|ERR max)/;

/** A pending send. */
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
 * @param dial The server and the login.
 * @returns The connection, logged in.
 * @throws {Error} With the words of the socket or of the server; a {@linkcode StoreError} if the connection was closed
 *   before it was open.
 */
export async function openConnection(dial: Dial): Promise<Connection> {
  const connection = new RespConnection(dial);
  dial.begun(connection);
  try {
    const replies = await connection.login(dial);
    for (const [index, reply] of replies.entries()) {
      const harmless = index === replies.length - 1 && !REFUSED.test((reply as Error)?.message);
      if (reply instanceof StoreError && !harmless) throw new Error(reply.message);
    }
    return connection;
  } catch (error) {
    connection.close();
    throw error instanceof StoreError && error.cause !== undefined ? error.cause : error;
  }
}

/** The length of text that is written before the turn ends. */
const LONGEST_TEXT = 65_536;

class RespConnection implements OwnedConnection {
  readonly #socket: Socket;
  readonly #endpoint: string;
  readonly #gone: Dial["gone"];
  readonly #denied: Dial["denied"];
  readonly #waiting: Waiter[] = [];
  /** The listener. While there is one, all replies are its own. */
  #onReply: ((reply: RawReply) => void) | undefined;
  /** The text that is not written yet. */
  #text = "";
  /** Ends the listening. */
  #stopped: ((error: StoreError) => void) | undefined;
  /** The reason why the connection has ended. */
  #ended: StoreError | undefined;
  /** The reason why it takes no more sends, and ends after its pending ones. */
  #left: StoreError | undefined;

  constructor({ socket: options, endpoint, gone, denied }: Dial) {
    this.#endpoint = endpoint;
    this.#gone = gone;
    this.#denied = denied;
    this.#socket = options.tls ? connectTls(options as object) : connectTcp(options as { port: number });
    const reader = new ReplyReader((reply) => this.#take(reply));
    this.#socket
      .setNoDelay(true)
      .setKeepAlive(true, 5000)
      .on("error", (error) => this.#end(lostError(endpoint, error)))
      .on("end", () => this.#end(lostError(endpoint, new Error("the server closed it"))))
      .on("close", () => this.#end(lostError(endpoint, new Error("the socket was closed"))))
      .on("data", (chunk) => {
        if (this.#ended) return;
        try {
          reader.read(chunk as unknown as Uint8Array);
        } catch (error) {
          this.#end(error instanceof StoreError ? error : lostError(endpoint, error));
        }
      });
  }

  /** Waits for the socket, then logs in. */
  login({ socket, login, timeout }: Dial): Promise<RawReply[]> {
    // Over TLS, nothing is sent before the certificate was verified.
    this.#socket.once(socket.tls ? "secureConnect" : "connect", () => this.#socket.write(encodeCommands(login)));
    return this.#wait(login.length, timeout);
  }

  send(commands: readonly RawCommand[], options?: SendOptions): Promise<RawReply[]> {
    const over = this.#ended ?? this.#left;
    if (over) return Promise.reject(unsent(over));
    if (this.#onReply) return Promise.reject(new TypeError("Cannot send on a connection that listens"));
    if (commands.length === 0) return Promise.resolve([]);
    const replies = this.#wait(commands.length, options?.timeout);
    this.#write(encodeCommands(commands));
    return replies;
  }

  listen(command: RawCommand, onReply: (reply: RawReply) => void): Promise<void> {
    const over = this.#ended ?? this.#left;
    if (over) return Promise.reject(unsent(over));
    if (this.#onReply) return Promise.reject(new TypeError("Cannot listen twice on one connection"));
    this.#onReply = onReply;
    this.#socket.ref();
    this.#write(encodeCommands([command]));
    return new Promise((resolve, reject) => {
      this.#stopped = (error) => (error.kind === "closed" ? resolve() : reject(error));
    });
  }

  async close(why: StoreError = new StoreError("closed", "The connection to Redis is closed")): Promise<void> {
    this.#flush();
    this.#end(why);
  }

  /** Writes data. Text waits for the end of the turn of the event loop, so that all callers of it share a write. */
  #write(data: string | Uint8Array): void {
    if (typeof data === "string") {
      if (this.#text === "") setImmediate(() => this.#flush());
      this.#text += data;
      if (this.#text.length > LONGEST_TEXT) this.#flush();
    } else {
      this.#flush();
      this.#socket.write(data);
    }
  }

  #flush(): void {
    if (this.#text === "" || this.#ended) return;
    this.#socket.write(this.#text);
    this.#text = "";
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
      if (!this.#onReply) throw new StoreError("protocol", `Redis at ${this.#endpoint} sent a reply without a command`);
      this.#onReply(reply);
      return;
    }
    if (reply instanceof StoreError && isDenial(reply) && !this.#left && this.#denied?.(reply)) {
      this.#left = leftError(this.#endpoint);
    }
    if (waiter.replies.push(reply) < waiter.wanted) return;
    this.#waiting.shift();
    clearTimeout(waiter.timer);
    if (this.#waiting.length === 0 && !this.#onReply) {
      if (this.#left) this.#end(this.#left);
      else this.#socket.unref();
    }
    waiter.resolve(waiter.replies);
  }

  #late(patience: number): StoreError {
    const timeout = Math.round(patience);
    return new StoreError("timeout", `Redis at ${this.#endpoint} gave no answer within ${timeout} ms`, {
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

/** Makes the error of a send on a connection that has ended. All of it may be sent again on another one. */
function unsent({ kind, message, cause }: StoreError): StoreError {
  return new StoreError(kind, message, { repeat: kind === "closed" ? "none" : "all", cause });
}

/** Makes the error of the pending sends of a connection that was lost. */
export function lostError(endpoint: string, error: unknown): StoreError {
  return new StoreError("connection", `The connection to Redis at ${endpoint} was lost: ${reason(error)}`, {
    repeat: "idempotent",
    cause: error,
  });
}

/** Makes the error of the pending sends of a connection to a server that is not the primary any more. */
export function leftError(endpoint: string): StoreError {
  return new StoreError("connection", `Redis at ${endpoint} is not the primary any more: its connection is replaced`, {
    repeat: "idempotent",
  });
}

/** Returns the message of an error. Several addresses of one name cause an `AggregateError` with an empty message. */
export function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const errors = (error as { errors?: unknown }).errors;
  return error.message || (Array.isArray(errors) ? errors.map(reason).join(", ") : error.name);
}
