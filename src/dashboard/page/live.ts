/// <reference lib="dom" />
/** What the server sends by itself, and whether it still does. */
import type { Alert } from "../../monitor/mod.ts";
import type { ChartPoint, Hello, SampleMessage, View } from "../messages.ts";

/** `"refused"`: the token is another server's, or none. */
export type Connection = "connecting" | "open" | "lost" | "refused";

/** How much is kept, in milliseconds. */
const KEPT = 3_600_000;
/** How many alerts are kept. */
const LOG = 50;
/** Milliseconds before a stream that ended is opened again. */
const AGAIN = 3000;

/** The news of the server. */
export class Live {
  /** Whether news come. */
  connection: Connection = "connecting";
  /** What was said first. */
  hello: Hello | undefined;
  /** The latest. */
  view: View | undefined;
  /** What was sampled in the last hour, the oldest first. */
  points: readonly ChartPoint[] = [];
  /** The alerts that fired or were resolved, the latest first. */
  log: readonly Alert[] = [];
  /** When news came last, by this computer's clock. */
  heard = 0;
  readonly #listeners = new Set<() => void>();
  #source: EventSource | undefined;

  /** Calls a function at every change, and when it is subscribed. */
  subscribe(listener: () => void): void {
    this.#listeners.add(listener);
    listener();
  }

  /**
   * Begins, or begins anew where the server had refused. A browser has few connections for all pages of one server, so a page that nobody sees keeps
   * none.
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

  /** The browser tries again by itself where the server was away, but not where it refused: then it is asked why. */
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
