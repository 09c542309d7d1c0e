/** Connections that callers share: those of a pool, and the one of a ready client. */

import { unref } from "../../src/base/timers.ts";
import { LONGEST_TIMER } from "../../src/base/ttl.ts";
import { type Command, errorReply, isDenial, type Reply, type SendOptions, StoreError } from "../driver.ts";
import { closedError, explained, ignore, isErrorReply } from "./errors.ts";
import type { NodeRedisClient } from "./options.ts";
import { withoutArguments } from "./resp.ts";
import { lostError } from "./resp_connection.ts";

/** The most milliseconds for which closing waits for pending replies. */
const CLOSING = 1000;

/** Types for node-redis 5 and 6: doubles and big numbers of RESP3 as strings, maps and sets as flat lists. */
const RESP2_TYPES = { typeMapping: { 44: String, 40: String, 37: Array, 126: Array } };
/** Commands whose replies are pairs in RESP3, and flat lists in RESP2. */
const PAIRS = /^(Z(?!SCAN|MPOP)|HRANDFIELD)/i;

/** The ready clients that have our error listener. Without any listener, an error would end the process. */
const heard = new WeakSet<object>();

/** The connection of a ready client, which belongs to the caller: used while it is ready, never closed. */
export class LentConnection {
  readonly #client: NodeRedisClient;
  readonly #endpoint: string;
  readonly #connection: PooledConnection;

  constructor(client: NodeRedisClient, endpoint: string, denied: (error: StoreError) => void) {
    this.#client = client;
    this.#endpoint = endpoint;
    this.#connection = new PooledConnection(client, endpoint, denied);
    if (!heard.has(client)) client.on("error", ignore);
    heard.add(client);
  }

  send(commands: readonly Command[], options: SendOptions | undefined): Promise<Reply[]> {
    const now = performance.now();
    if (!this.#client.isReady) {
      return Promise.reject(new StoreError("connection", `The client of Redis at ${this.#endpoint} is not connected`));
    }
    // The connection belongs to the caller, so it is not dropped. But it takes no sends while its replies are overdue.
    if (this.#connection.overdue(now)) return Promise.reject(this.#connection.overdueError());
    return this.#connection.send(commands, options?.timeout, now);
  }

  async close(): Promise<void> {}

  leave(): void {}
}

/** One connection: sends commands, and notices missing replies. */
export class PooledConnection {
  /** The number of commands that wait for a reply. */
  pending = 0;
  /** The moment at which opening it began. */
  opened = 0;
  /** True after the server has said that it is the primary. */
  primary = false;
  readonly #client: NodeRedisClient;
  readonly #endpoint: string;
  /** Called with a reply that says that another server should be asked. */
  readonly #denied: (error: StoreError) => void;
  /** Called once, when the connection is lost. Absent for a connection that belongs to the caller. */
  readonly #onLost: (() => void) | undefined;
  #lost: StoreError | undefined;
  /** The moment of the last reply, or of the oldest pending send if that is later. */
  #since = 0;
  /** The longest timeout of the pending sends. */
  #patience = 0;
  #watch: ReturnType<typeof setTimeout> | undefined;
  #pings: ReturnType<typeof setInterval> | undefined;

  constructor(client: NodeRedisClient, endpoint: string, denied: (error: StoreError) => void, onLost?: () => void) {
    this.#client = client;
    this.#endpoint = endpoint;
    this.#denied = denied;
    this.#onLost = onLost;
  }

  send(
    commands: readonly Command[],
    timeout: number | undefined = Number.POSITIVE_INFINITY,
    now: number,
  ): Promise<Reply[]> {
    if (this.pending === 0) {
      this.#since = now;
      this.#patience = timeout;
    } else if (timeout > this.#patience) this.#patience = timeout;
    if (this.#watch === undefined) this.#arm(this.#patience);
    this.pending += commands.length;
    const only = commands.length === 1 ? commands[0] : undefined;
    if (only) return this.#dispatch(only).then(this.#onlyReply, this.#onlyError);
    return this.#sendMany(commands);
  }

  /** Returns whether the replies are later than all callers accept. */
  overdue(now: number): boolean {
    return this.pending > 0 && now - this.#since >= this.#patience;
  }

  overdueError(): StoreError {
    return new StoreError(
      "timeout",
      `Redis at ${this.#endpoint} gave no answer within ${Math.round(this.#patience)} ms`,
      {
        repeat: "idempotent",
      },
    );
  }

  giveUp(): void {
    this.lose(this.overdueError());
  }

  lose(error: StoreError): void {
    if (this.#lost || !this.#onLost) return;
    this.#lost = error;
    clearTimeout(this.#watch);
    clearInterval(this.#pings);
    this.#onLost();
  }

  keepAlive(interval: number, timeout: number): void {
    this.#pings = setInterval(() => {
      const now = performance.now();
      if (this.pending === 0 && now - this.#since >= interval) this.send([["PING"]], timeout, now).catch(ignore);
    }, interval);
    unref(this.#pings);
  }

  /** Waits for the pending replies, then ends the connection for a reason. */
  async close(why: StoreError = closedError()): Promise<void> {
    if (this.pending > 0) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      // Replies come in order, so all others have come before this one.
      await Promise.race([
        this.#client.sendCommand(["PING"]).catch(ignore),
        new Promise((done) => {
          timer = setTimeout(done, Math.min(this.#patience, CLOSING));
        }),
      ]);
      clearTimeout(timer);
    }
    this.lose(why);
  }

  #arm(delay: number): void {
    if (!this.#onLost || delay === Number.POSITIVE_INFINITY) return;
    this.#watch = setTimeout(
      () => {
        this.#watch = undefined;
        const now = performance.now();
        if (this.overdue(now)) this.giveUp();
        else if (this.pending > 0) this.#arm(this.#patience - (now - this.#since));
      },
      Math.min(delay, LONGEST_TIMER),
    );
    unref(this.#watch);
  }

  #dispatch(command: Command): Promise<unknown> {
    return this.#onLost
      ? this.#client.sendCommand(strings(command))
      : this.#client.sendCommand(strings(command), RESP2_TYPES).then((reply) => fold(command[0], reply));
  }

  async #sendMany(commands: readonly Command[]): Promise<Reply[]> {
    const replies = await Promise.all(
      commands.map((command) => this.#dispatch(command).then(this.#reply, this.#error)),
    );
    if (replies.every(isUnanswered)) throw replies[0];
    return replies;
  }

  // All sends share these functions, so that a send creates no closures.
  readonly #reply = (reply: unknown): Reply => {
    // Without pending commands, the moment is not needed.
    if (--this.pending > 0) this.#since = performance.now();
    return reply as Reply;
  };

  readonly #error = (error: unknown): StoreError => {
    this.pending--;
    if (isErrorReply(error)) {
      this.#since = performance.now();
      return this.#refused(errorReply(withoutArguments(error.message)));
    }
    const lost = this.#lost ?? lostError(this.#endpoint, error);
    this.lose(lost);
    return lost;
  };

  /** Returns the error of a command. An error about the server is also acted upon and explained. */
  #refused(error: StoreError): StoreError {
    if (!isDenial(error)) return explained(error, this.#endpoint);
    this.#denied(error);
    if (this.#onLost || error.code === "LOADING") return error;
    const { kind, code, repeat, message } = error;
    const advice = "reconnect the ready client, whose connection is its owner's, or give the server's address instead";
    return new StoreError(kind, `${message}: ${advice}`, { code, repeat });
  }

  readonly #onlyReply = (reply: unknown): Reply[] => [this.#reply(reply)];

  readonly #onlyError = (error: unknown): Reply[] => {
    const failure = this.#error(error);
    if (isUnanswered(failure)) throw failure;
    return [failure];
  };
}

function strings(command: Command): string[] {
  for (let index = 1; index < command.length; index++) {
    if (typeof command[index] !== "string") return command.map(String);
  }
  return command as unknown as string[];
}

/** Converts a reply of RESP3 to its form in RESP2. */
function fold(name: string, reply: unknown): unknown {
  if (reply === true) return 1;
  if (reply === false) return 0;
  if (!Array.isArray(reply)) return reply;
  return (PAIRS.test(name) ? reply.flat() : reply).map((item) => fold("", item));
}

function isUnanswered(reply: Reply): boolean {
  return reply instanceof StoreError && /^(connection|timeout|closed)$/.test(reply.kind);
}
