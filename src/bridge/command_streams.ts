/**
 * Subscriptions and MONITOR as server-sent events, each over a connection of its own.
 *
 * @module
 */

import { type Connection, type RawCommand, type RawReply, StoreError } from "../../drivers/driver.ts";

/** The maximum number of bytes that are buffered for a slow client. */
const MOST_WAITING = 8_000_000;

/** Options of {@linkcode CommandStreams}. */
export interface CommandStreamsOptions {
  /** The maximum number of concurrent streams. */
  readonly most: number;
  /** The milliseconds after which a comment keeps a silent stream alive. */
  readonly heartbeat: number;
  /** The milliseconds that the store may take for its first reply. */
  readonly timeout: number;
}

/** The streams of a bridge. */
export class CommandStreams {
  readonly #options: CommandStreamsOptions;
  /** The streams, those that are being opened included. */
  readonly #streams = new Set<CommandStream>();
  #closed = false;

  /** Makes the streams of a bridge. */
  constructor(options: CommandStreamsOptions) {
    this.#options = options;
  }

  /**
   * Opens the stream of a command's replies, from the first one on.
   *
   * @param connect Opens a connection for it.
   * @param command SUBSCRIBE, PSUBSCRIBE or MONITOR with its argument.
   * @returns The events. Cancelling them ends the stream.
   * @throws {StoreError} If there are too many streams, or if the store refuses the command or does not answer.
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

  /** Ends all streams, and opens no more. */
  close(): void {
    this.#closed = true;
    for (const stream of this.#streams) stream.end();
  }
}

class CommandStream {
  readonly body: ReadableStream<Uint8Array>;
  readonly #gone: () => void;
  /** `undefined` after the client has left. */
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

  /** Starts the stream. Resolves with the first reply. */
  async open(connect: () => Promise<Connection>, command: RawCommand, options: CommandStreamsOptions): Promise<void> {
    const connection = await connect();
    this.#connection = connection;
    if (this.#ended) connection.close();
    const { timeout, heartbeat } = options;
    let late: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve, reject) => {
      late = setTimeout(() => reject(new StoreError("timeout", `The store did not answer in ${timeout} ms`)), timeout);
      const answered = (reply: RawReply): void => {
        // An error of any kind is the request's error, because the store answers.
        if (reply instanceof Error) reject(new StoreError("command", reply.message));
        else this.#send(toEvent(reply));
        resolve();
      };
      connection.listen(command, answered).then(
        () => reject(new StoreError("closed", "The stream was ended")),
        (error) => {
          reject(error);
          this.end("the connection to the store was lost");
        },
      );
    }).finally(() => clearTimeout(late));
    if (!this.#ended) this.#beats = setInterval(() => this.#send(": alive\n\n"), heartbeat);
  }

  /** Ends the stream, with a comment if there is a reason that the client cannot know. */
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
    // The buffer is dropped.
    this.#controller.error(new Error("The client reads too slowly"));
    this.#controller = undefined;
    this.end();
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Returns an event: the parts of a message joined by commas, or a line of MONITOR. Each line is a line of data. */
function toEvent(reply: RawReply): string {
  const text = Array.isArray(reply) ? reply.map(toText).join(",") : reply === "OK" ? '"OK"' : toText(reply);
  const lines = text.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`);
  return `${lines.join("")}\n`;
}

function toText(value: RawReply): string {
  return value instanceof Uint8Array ? decoder.decode(value) : `${value}`;
}
