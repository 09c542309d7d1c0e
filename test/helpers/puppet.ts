import { memory } from "../../drivers/memory.ts";
import type { CacheEvent, CacheListener } from "../../mod.ts";
import type { MonitoredClient } from "../../src/monitor/mod.ts";
import type { Sending } from "../../src/telemetry/events.ts";
import { Counters } from "../../src/telemetry/stats.ts";

/** A client with a store that answers, whose counters and events the test sets. */
export class Puppet implements MonitoredClient {
  readonly driver: string = "memory";
  readonly products: Counters = new Counters("products");
  readonly all: [string, Counters[]][] = [["product", [new Counters(), this.products]]];
  readonly listeners: Set<CacheListener> = new Set();
  readonly #store = memory();
  counters(): [string, Counters[]][] {
    return this.all;
  }
  stats(): { wire: { commands: number; roundTrips: number; retries: number } } {
    return { wire: { commands: 0, roundTrips: 0, retries: 0 } };
  }
  subscribe(listener: CacheListener): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }
  onSend(_: (sending: Sending) => void): () => void {
    return () => {};
  }
  locate: MonitoredClient["locate"] = async ({ service }) => ({
    driver: this.#store,
    database: 1,
    prefix: "",
    tags: [""],
    service: typeof service === "string" ? service : undefined,
    number: 1,
    numbered: true,
  });
  emit(event: CacheEvent): void {
    for (const listener of this.listeners) listener(event);
  }
}
