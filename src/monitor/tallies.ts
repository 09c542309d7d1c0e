/** Counts what the client's counters lack: kinds of failures, times of loaders, locks, invalidations, traffic. */
import type { Reply } from "../../drivers/driver.ts";
import type { BreakerState, CacheEvent, Sending } from "../telemetry/events.ts";
import { Tally } from "./series.ts";
import { seriesKey } from "./series_keys.ts";

/** The maximum number of circuit breakers that are remembered: one for each driver, or for each node of a cluster. */
const MAX_BREAKERS = 256;

/** Counts events and traffic since the monitor was made. */
export class Tallies {
  /** The counts by series. */
  readonly series: ReadonlyMap<string, Tally>;
  /** The states of the circuit breakers that changed, by driver, or by driver and node with a space in between. */
  readonly breakers: ReadonlyMap<string, BreakerState>;
  readonly #series = new Map<string, Tally>();
  readonly #breakers = new Map<string, BreakerState>();
  #sent = 0;
  #received = 0;

  constructor() {
    this.series = this.#series;
    this.breakers = this.#breakers;
  }

  /** Bytes of commands, estimated. */
  get sent(): number {
    return this.#sent;
  }

  /** Bytes of replies, estimated. */
  get received(): number {
    return this.#received;
  }

  /** Counts an event. */
  hear(event: CacheEvent): void {
    switch (event.type) {
      case "error": {
        const { kinds } = this.#of(event);
        const { kind } = event.error;
        if (Object.hasOwn(kinds, kind)) kinds[kind]++;
        break;
      }
      case "load-end":
        this.#of(event).loads.time(event.duration);
        break;
      case "load-error": {
        const { heard, loads } = this.#of(event);
        heard.loadErrors++;
        loads.time(event.duration);
        break;
      }
      case "lock-wait":
        this.#of(event).heard.lockWaits++;
        break;
      case "lock-lost":
        this.#of(event).heard.lostLocks++;
        break;
      case "near-invalidate":
        this.#of(event).heard.nearInvalidations += event.entries;
        break;
      case "invalidate":
        this.#of(event).heard.invalidations++;
        break;
      case "breaker": {
        const name = event.part === undefined ? event.driver : `${event.driver} ${event.part}`;
        if (!this.#breakers.has(name) && this.#breakers.size >= MAX_BREAKERS) {
          // Nodes that have left their cluster are closed.
          for (const [other, state] of this.#breakers) if (state === "closed") this.#breakers.delete(other);
          if (this.#breakers.size >= MAX_BREAKERS) break;
        }
        this.#breakers.set(name, event.state);
        break;
      }
    }
  }

  /** Counts the bytes of commands, and of their replies once they arrive. */
  weigh({ commands, replies }: Sending): void {
    for (const command of commands) for (const argument of command) this.#sent += sizeOf(argument);
    replies.then(
      (all) => {
        this.#received += sizeOf(all);
      },
      () => {},
    );
  }

  #of({ service, collection = "" }: { readonly service: string; readonly collection?: string }): Tally {
    const key = seriesKey(this.#series, service, collection);
    let tally = this.#series.get(key);
    if (!tally) {
      tally = new Tally();
      this.#series.set(key, tally);
    }
    return tally;
  }
}

function sizeOf(value: Reply): number {
  if (typeof value === "string") return value.length;
  if (typeof value === "number") return String(value).length;
  if (value === null) return 0;
  if (value instanceof Error) return value.message.length;
  let size = 0;
  for (const item of value) size += sizeOf(item);
  return size;
}
