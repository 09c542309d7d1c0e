/** Server-sent events for all open pages. */
import { StoreError } from "../../drivers/driver.ts";
import { unref } from "../base/timers.ts";
import type { Hello } from "./messages.ts";
import type { Watcher } from "./watcher.ts";

/** The beginning of a stream, without samples. */
export type About = Omit<Hello, "history" | "log" | "view">;

/** The time between comments that keep an idle stream open, in milliseconds: Bun.serve ends one after 10 s. */
const HEARTBEAT_MS = 5000;
/**
 * The maximum number of bytes that wait for a slow page. Beyond them its stream is ended, and the page opens another.
 */
const MOST_WAITING = 4_000_000;

const encoder = new TextEncoder();

/** The streams of a dashboard. */
export class EventStreams {
  readonly #watcher: Watcher;
  readonly #about: () => About;
  readonly #open = new Set<ReadableStreamDefaultController<Uint8Array>>();
  readonly #leave: () => void;
  readonly #timer: ReturnType<typeof setInterval>;
  #closed = false;

  /**
   * Creates the streams.
   *
   * @param watcher The source of samples and alerts.
   * @param about Returns the beginning of a stream.
   */
  constructor(watcher: Watcher, about: () => About) {
    this.#watcher = watcher;
    this.#about = about;
    this.#leave = watcher.subscribe((event) => this.#send("view" in event ? "sample" : "alert", event));
    this.#timer = setInterval(() => this.#write(encoder.encode(": still here\n\n")), HEARTBEAT_MS);
    unref(this.#timer);
  }

  /** Opens a stream, which begins with the past hour. @throws {StoreError} If the dashboard was closed. */
  open(): ReadableStream<Uint8Array> {
    if (this.#closed) throw new StoreError("closed", "Cannot open a stream: the dashboard was closed");
    let own: ReadableStreamDefaultController<Uint8Array> | undefined;
    return new ReadableStream(
      {
        start: (controller) => {
          own = controller;
          const { history, log, view } = this.#watcher;
          const hello: Hello = { ...this.#about(), history, log, view };
          controller.enqueue(frame("hello", hello));
          this.#open.add(controller);
        },
        cancel: () => {
          if (own) this.#open.delete(own);
        },
      },
      { highWaterMark: MOST_WAITING, size: (bytes) => bytes.length },
    );
  }

  /** Ends all streams. No more are opened afterwards. */
  close(): void {
    this.#closed = true;
    this.#leave();
    clearInterval(this.#timer);
    for (const controller of this.#open) end(controller);
    this.#open.clear();
  }

  #send(event: string, data: unknown): void {
    if (this.#open.size > 0) this.#write(frame(event, data));
  }

  #write(bytes: Uint8Array): void {
    for (const controller of this.#open) {
      if ((controller.desiredSize ?? 0) > 0) controller.enqueue(bytes);
      else {
        this.#open.delete(controller);
        end(controller);
      }
    }
  }
}

function frame(event: string, data: unknown): Uint8Array {
  return encoder.encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}

function end(controller: ReadableStreamDefaultController<Uint8Array>): void {
  try {
    controller.close();
  } catch {
    // The page has already left.
  }
}
