/** Connections of node-redis's own clients: a ready client, and its duplicates for other databases. */

import { type Command, errorReply, isDenial, type Reply, type SendOptions, StoreError } from "../driver.ts";
import { type ConnectionHooks, SharedConnection } from "./connection.ts";
import { ignore, isErrorReply } from "./errors.ts";
import type { NodeRedisClient } from "./options.ts";
import { disconnect, type OwnClient } from "./own_client.ts";
import { withoutArguments } from "./resp.ts";
import { lostError } from "./resp_connection.ts";

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
  readonly #connection: ClientConnection;

  constructor(client: NodeRedisClient, endpoint: string, denied: (error: StoreError) => void) {
    this.#client = client;
    this.#endpoint = endpoint;
    this.#connection = new ClientConnection(client, endpoint, { denied });
    if (!heard.has(client)) client.on("error", ignore);
    heard.add(client);
  }

  send(database: number, commands: readonly Command[], options: SendOptions | undefined): Promise<Reply[]> {
    const now = performance.now();
    if (!this.#client.isReady) {
      return Promise.reject(new StoreError("connection", `The client of Redis at ${this.#endpoint} is not connected`));
    }
    // The connection belongs to the caller, so it is not dropped. But it takes no sends while its replies are overdue.
    if (this.#connection.overdue(now)) return Promise.reject(this.#connection.overdueError());
    return this.#connection.send(database, commands, options?.timeout, now);
  }

  async close(): Promise<void> {}

  drop(): void {}

  leave(): void {}
}

/** One connection to one database, by one call of the client for each command. */
export class ClientConnection extends SharedConnection {
  readonly #client: Pick<NodeRedisClient, "sendCommand">;

  constructor(client: Pick<NodeRedisClient, "sendCommand">, endpoint: string, hooks: ConnectionHooks) {
    super(endpoint, hooks);
    this.#client = client;
  }

  override async send(
    _database: number | undefined,
    commands: readonly Command[],
    timeout: number | undefined,
    now: number,
  ): Promise<Reply[]> {
    this.begin(commands.length, timeout, now);
    const replies = await Promise.all(
      commands.map((command) => this.#dispatch(command).then(this.#reply, this.#error)),
    );
    if (replies.length > 0 && replies.every(isUnanswered)) throw replies[0];
    return replies;
  }

  protected override end(): void {
    disconnect(this.#client as OwnClient);
  }

  #dispatch(command: Command): Promise<unknown> {
    return this.hooks.lost
      ? this.#client.sendCommand(command.map(String))
      : this.#client.sendCommand(command.map(String), RESP2_TYPES).then((reply) => fold(command[0], reply));
  }

  readonly #reply = (reply: unknown): Reply => {
    this.answered(1);
    this.heard();
    return reply as Reply;
  };

  readonly #error = (error: unknown): StoreError => {
    this.answered(1);
    if (isErrorReply(error)) {
      this.heard();
      return this.refused(errorReply(withoutArguments(error.message)));
    }
    const lost = this.gone ?? lostError(this.endpoint, error);
    this.lose(lost);
    return lost;
  };

  protected override refused(error: StoreError): StoreError {
    const known = super.refused(error);
    if (!isDenial(error) || this.hooks.lost || error.code === "LOADING") return known;
    const { kind, code, repeat, message } = error;
    const advice = "reconnect the ready client, whose connection is its owner's, or give the server's address instead";
    return new StoreError(kind, `${message}: ${advice}`, { code, repeat });
  }
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
