/// <reference lib="dom" />
/** The events of the server, and the state of the connection. */
import type { Alert } from "../../monitor/mod.ts";
import type { ChartPoint, Hello, SampleMessage, View } from "../messages.ts";

/** The state of the connection. `"refused"` means that the token is missing or belongs to another server. */
export type Connection = "connecting" | "open" | "lost" | "refused";

/** The time for which points are kept, in milliseconds. */
const KEPT = 3_600_000;
/** The maximum number of alerts that are kept. */
const LOG = 50;
/** The pause before a stream is opened again, in milliseconds. */
const AGAIN = 3000;

/** The data from the server. */
export class Live {
  /** The state of the connection. */
  connection: Connection = "connecting";
  /** The first event of the stream. */
  hello: Hello | undefined;
  /** The latest view. */
  view: View | undefined;
  /** The points of the last hour, the oldest first. */
  points: readonly ChartPoint[] = [];
  /** The alerts that fired or were resolved, the latest first. */
  log: readonly Alert[] = [];
  /** The time of the last event, by this computer's clock. */
  heard = 0;
  readonly #listeners = new Set<() => void>();
  #source: EventSource | undefined;

  /** Calls a function at once, and after every change. */
  subscribe(listener: () => void): void {
    this.#listeners.add(listener);
    listener();
  }

  /**
   * Opens the stream, or opens it again. Browsers allow few connections to a server, so a hidden page closes its
   * stream.
   */
  open(): void {
    this.#source?.close();
    this.#source = undefined;
    if (document.hidden) return;
    const source = new EventSource("./api/events");
    this.#source = source;
    const on = <Message>(name: string, take: (message: Message) => void) =>
      source.addEventListener(name, (event) => {
        this.heard = Date.now();
        take(JSON.parse(event.data));
        this.#tell();
      });
    on<Hello>("hello", (hello) => {
      this.connection = "open";
      this.hello = hello;
      this.points = hello.history;
      this.log = hello.log;
      this.view = hello.view ?? undefined;
    });
    on<SampleMessage>("sample", ({ view, point }) => {
      this.view = view;
      this.points = [...this.points.filter(({ at }) => at > point.at - KEPT && at < point.at), point];
    });
    on<Alert>("alert", (alert) => {
      this.log = [alert, ...this.log].slice(0, LOG);
    });
    source.onerror = () => {
      this.#become("lost");
      if (source.readyState === EventSource.CLOSED) void this.#closed(source);
    };
  }

  /** Finds out why a stream was refused: the browser reconnects automatically only if the server was away. */
  async #closed(source: EventSource): Promise<void> {
    const status = await fetch("./app.css", { method: "HEAD", cache: "no-store" }).then(
      (answer) => answer.status,
      () => 0,
    );
    if (source !== this.#source) return;
    if (status === 401) this.#become("refused");
    else setTimeout(() => source === this.#source && this.open(), AGAIN);
  }

  #become(connection: Connection): void {
    this.connection = connection;
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
