import type { StoreError, Tracker, Tracking } from "../driver.ts";
import type { TrackingConnection } from "../node_redis/tracking.ts";

/** A subscriber to key changes, and its tracking on each master. */
interface Subscriber {
  readonly prefix: string;
  readonly tracker: Tracker;
  readonly parts: Map<string, Tracking>;
}

/** The connections for invalidation messages: one to each master. They follow the map of the cluster. */
export class Trackings {
  readonly #open: (part: string) => TrackingConnection;
  readonly #lost: (part: string) => void;
  readonly #subscribers = new Set<Subscriber>();
  readonly #connections = new Map<string, TrackingConnection>();
  #closed = false;

  /**
   * @param open Makes the connection to a master.
   * @param lost Called when the connection to a master is lost.
   */
  constructor(open: (part: string) => TrackingConnection, lost: (part: string) => void) {
    this.#open = open;
    this.#lost = lost;
  }

  /** Tracks the keys with a prefix on the masters that are there, and on those that come. */
  add(prefix: string, tracker: Tracker, masters: readonly string[]): Tracking {
    const subscriber = { prefix, tracker, parts: new Map<string, Tracking>() };
    if (!this.#closed) {
      this.#subscribers.add(subscriber);
      this.follow(masters);
    }
    return {
      close: async () => {
        if (!this.#subscribers.delete(subscriber)) return;
        for (const tracking of subscriber.parts.values()) tracking.close();
        if (this.#subscribers.size === 0) this.follow([]);
      },
    };
  }

  /** Tracks on these masters, and no others. */
  follow(masters: readonly string[]): void {
    for (const [part, connection] of this.#connections) {
      if (masters.includes(part) && this.#subscribers.size > 0) continue;
      this.#connections.delete(part);
      for (const { parts } of this.#subscribers) parts.delete(part);
      connection.close();
    }
    for (const subscriber of this.#subscribers) {
      for (const part of masters) if (!subscriber.parts.has(part)) this.#subscribe(subscriber, part);
    }
  }

  /** Announces that slots have another master. */
  moved(): void {
    for (const { tracker } of this.#subscribers) tracker.moved?.();
  }

  /** Reports keys that were asked for where they may be written untold: at the master that gets their slot. */
  report(keys: readonly string[]): void {
    for (const { prefix, tracker } of this.#subscribers) {
      const own = keys.filter((key) => key.startsWith(prefix));
      if (own.length > 0) tracker.invalidate(own);
    }
  }

  /** Ends all trackings. */
  close(): void {
    this.#closed = true;
    const open = [...this.#connections.values()];
    this.#connections.clear();
    this.#subscribers.clear();
    for (const connection of open) connection.close();
  }

  #subscribe({ prefix, tracker, parts }: Subscriber, part: string): void {
    const connection = this.#connections.get(part) ?? this.#open(part);
    this.#connections.set(part, connection);
    const own: Tracker = {
      invalidate: (keys) => tracker.invalidate(keys),
      up: () => tracker.up(part),
      down: () => {
        tracker.down(part);
        if (this.#connections.get(part) === connection) this.#lost(part);
      },
      refused: (error: StoreError) => tracker.refused?.(error),
    };
    parts.set(part, connection.add(prefix, own));
  }
}
