import { type Reply, StoreError } from "../driver.ts";
import type { OwnClient, RawAddress, ReplyText } from "./own_client.ts";
import { SocketConnection } from "./socket_connection.ts";

/** A connection to an address, with the members of a client of node-redis that tracking uses. */
export class SocketClient implements OwnClient {
  isReady = false;
  readonly #connection: SocketConnection;
  readonly #credentials: RawAddress["credentials"];
  #onError: ((error: Error) => void) | undefined;
  #onMessage: ((keys: readonly ReplyText[] | null) => void) | undefined;

  constructor(endpoint: string, { socket, credentials }: RawAddress, signal: AbortSignal) {
    this.#credentials = credentials;
    this.#connection = new SocketConnection(
      endpoint,
      { ...socket, signal },
      {
        denied() {},
        lost: (error) => {
          this.isReady = false;
          this.#onError?.(error);
        },
        message: ([, , keys]) => this.#onMessage?.(keys as readonly string[] | null),
      },
    );
  }

  async connect(): Promise<void> {
    await this.#connection.open(await this.#credentials(), 0);
    this.isReady = true;
  }

  async disconnect(): Promise<void> {
    this.#connection.lose(new StoreError("closed", "The connection to Redis is closed"));
  }

  async sendCommand(args: string[]): Promise<Reply> {
    const [name = "", ...rest] = args;
    const [reply = null] = await this.#connection.send(undefined, [[name, ...rest]], undefined, performance.now());
    // As node-redis throws it.
    if (reply instanceof StoreError) throw new Error(reply.message);
    return reply;
  }

  async subscribe(
    channels: string | readonly string[],
    listener: (keys: readonly ReplyText[] | null) => void,
  ): Promise<void> {
    this.#onMessage = listener;
    await Promise.all([channels].flat().map((channel) => this.sendCommand(["SUBSCRIBE", channel])));
  }

  unref(): void {}

  on(_event: "error", listener: (error: Error) => void): void {
    this.#onError = listener;
  }
}
