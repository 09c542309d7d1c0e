/**
 * Subscriptions and MONITOR as server-sent events, each over a connection of its own.
 *
 * @module
 */

import { type Connection, type RawCommand, type RawReply, StoreError } from "../../drivers/driver.ts";

/** The most bytes that wait for a client that reads too slowly. */
const MOST_WAITING = 8_000_000;

/** Options of {@linkcode CommandStreams}. */
export interface CommandStreamsOptions {
  /** The most streams at a time. */
  readonly most: number;
  /** Milliseconds after which a comment shows that the stream is alive. */
  readonly heartbeat: number;
  /** Milliseconds that the store may take for its first word. */
  readonly timeout: number;
}

/** The streams of a bridge. */
export class CommandStreams {
  readonly #options: CommandStreamsOptions;
  /** Those that are still opened too. */
  readonly #streams = new Set<CommandStream>();
  #closed = false;

  /** Makes the streams of a bridge. */
  constructor(options: CommandStreamsOptions) {
    this.#options = options;
  }

  /**
   * Opens a stream: what follows a command, from the command's own reply on.
   *
   * @param connect Opens its connection.
   * @param command SUBSCRIBE, PSUBSCRIBE or MONITOR with its argument.
   * @returns The events; cancelling them ends the stream.
   * @throws {StoreError} When there are too many streams, or the store refuses the command or does not answer.
   */
  async open(connect: () => Promise<Connection>, command: RawCommand): Promise<ReadableStream<Uint8Array>> {
    if (this.#closed) throw new StoreError("closed", "The bridge is closed");
    if (this.#streams.size >= this.#options.most) throw new StoreError("limit", "ERR max number of streams reached");
    const stream = new CommandStream(() => this.#streams.delete(stream));
    this.#streams.add(stream);
    try {
      await stream.open(connect, command, this.#options);
      return stream.body;
    } catch (error) {
      stream.end();
      throw error;
    }
  }

  /** Ends all of them, and opens no more. */
  close(): void {
    this.#closed = true;
    for (const stream of this.#streams) stream.end();
  }
}

class CommandStream {
  readonly body: ReadableStream<Uint8Array>;
  readonly #gone: () => void;
  /** None when the client has left. */
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #connection: Connection | undefined;
  #beats: ReturnType<typeof setInterval> | undefined;
  #ended = false;

  constructor(gone: () => void) {
    this.#gone = gone;
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        cancel: () => {
          this.#controller = undefined;
          this.end();
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: 0 }),
    );
  }

  /** Resolves when the first reply is there. */
  async open(connect: () => Promise<Connection>, command: RawCommand, options: CommandStreamsOptions): Promise<void> {
    const connection = await connect();
    this.#connection = connection;
    if (this.#ended) connection.close();
    const { timeout, heartbeat } = options;
    let late: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve, reject) => {
      late = setTimeout(() => reject(new StoreError("timeout", `The store did not answer in ${timeout} ms`)), timeout);
      const told = (reply: RawReply): void => {
        // The request's error, whatever kind it is: the store answers.
        if (reply instanceof StoreError) reject(new StoreError("command", reply.message));
        else this.#send(toEvent(reply));
        resolve();
      };
      connection.listen(command, told).then(
        () => reject(new StoreError("closed", "The stream was ended")),
        (error) => {
          reject(error);
          this.end("the connection to the store was lost");
        },
      );
    }).finally(() => clearTimeout(late));
    if (!this.#ended) this.#beats = setInterval(() => this.#send(": alive\n\n"), heartbeat);
  }

  /** Ends it; a comment says why where the client cannot know. */
  end(why?: string): void {
    if (this.#ended) return;
    if (why !== undefined) this.#send(`: ${why}\n\n`);
    this.#ended = true;
    clearInterval(this.#beats);
    this.#connection?.close();
    this.#controller?.close();
    this.#gone();
  }

  #send(text: string): void {
    if (this.#ended || !this.#controller) return;
    this.#controller.enqueue(encoder.encode(text));
    if ((this.#controller.desiredSize ?? 0) >= -MOST_WAITING) return;
    // What waits is dropped.
    this.#controller.error(new Error("the client reads too slowly"));
    this.#controller = undefined;
    this.end();
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** An event: the parts of a message joined by commas, or a line of MONITOR; each line of it is a line of data. */
function toEvent(reply: RawReply): string {
  const text = Array.isArray(reply) ? reply.map(toText).join(",") : reply === "OK" ? '"OK"' : toText(reply);
  const lines = text.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`);
  return `${lines.join("")}\n`;
}

function toText(value: RawReply): string {
  return value instanceof Uint8Array ? decoder.decode(value) : `${value}`;
}
