/** The listening of a near cache to the store, which reports each change of its keys. */
import type { Driver, StoreError, Tracker, Tracking } from "../../drivers/driver.ts";
import { MARKS } from "../base/own_keys.ts";
import { EVERYTHING } from "../lua/entries.ts";
import { AT_EDGE } from "../runtime/edge.ts";
import { NearCache, type NearListener, type NearSetup } from "./near_cache.ts";
import type { NearStore } from "./near_store.ts";

/** Makes a near cache that listens to the store. At the edge it does not, because nothing may outlive a request. */
export function trackedNearCache(setup: NearSetup): NearCache {
  return new NearCache(setup, AT_EDGE ? undefined : (...args) => new NearTracking(...args));
}

/** Drops from a near cache what the store reports as changed. */
class NearTracking implements NearListener {
  tracked = false;
  readonly #setup: NearSetup;
  readonly #near: NearStore;
  #trackings: Tracking[] = [];
  #state: "new" | "opening" | "open" | "closed" = "new";
  /** The part of a key, and the parts that report changes, if the store has several. */
  #parts: { of(key: string): string; readonly up: Set<string> } | undefined;

  /**
   * @param setup The setup of the near cache.
   * @param near Its entries.
   */
  constructor(setup: NearSetup, near: NearStore) {
    this.#setup = setup;
    this.#near = near;
  }

  begin(): void {
    if (this.#state === "new") this.#open();
  }

  partOf(physical: string): string | undefined | false {
    const parts = this.#parts;
    if (!parts) return undefined;
    const part = parts.of(physical);
    return parts.up.has(part) && part;
  }

  close(): Promise<unknown> {
    this.#state = "closed";
    return Promise.all(this.#trackings.map((tracking) => tracking.close()));
  }

  async #open(): Promise<void> {
    this.#state = "opening";
    try {
      const driver = await this.#setup.store.driver();
      if (this.#state !== "opening") return;
      this.#state = "open";
      if (driver.track) this.#track(driver);
      else this.#near.live = true;
    } catch {
      // The next read opens it again.
      if (this.#state === "opening") this.#state = "new";
    }
  }

  #track(driver: Driver): void {
    const { space, database, prefix } = this.#setup;
    const near = this.#near;
    const changed = (keys: readonly string[] | null): number => {
      if (!keys) return near.clear();
      const own = keys.map((key) => space.strip(key)).filter((key) => key.startsWith(MARKS));
      const tags = own.map((key) => key.slice(MARKS.length));
      if (tags.includes(EVERYTHING)) return near.clear();
      const dropped = tags.length > 0 ? near.dropTags(tags) : 0;
      return dropped + (tags.length < keys.length ? near.drop(keys) : 0);
    };
    const [{ marksPrefix = "" } = {}] = space.shards;
    const prefixes = marksPrefix.startsWith(prefix) ? [prefix] : [prefix, marksPrefix];
    this.tracked = true;
    const up = new Set<string | undefined>();
    const { partOf, capabilities } = driver;
    if (partOf && capabilities.parts) this.#parts = { of: (key) => partOf.call(driver, key), up: up as Set<string> };
    /** The parts that report keys with each of the prefixes. */
    const alive = prefixes.map(() => new Set<string | undefined>());
    this.#trackings = prefixes.map((start, i) => {
      const mine = alive[i] as Set<string | undefined>;
      const tracker: Tracker = {
        invalidate: (keys) => this.#emit(changed(keys), "change"),
        up: (part) => {
          mine.add(part);
          if (alive.every((parts) => parts.has(part))) {
            const others = part !== undefined && up.size > 0;
            up.add(part);
            if (others) near.dropIf((entry) => entry.part === part);
            else near.live = true;
          }
          this.#told();
        },
        refused: (error) => this.#told(error),
        down: (part) => {
          if (part === undefined) mine.clear();
          else mine.delete(part);
          if (part === undefined) up.clear();
          else up.delete(part);
          let { size } = near;
          if (up.size > 0) size = near.dropIf((entry) => entry.part === part);
          else near.live = false;
          this.#emit(size, "lost");
        },
        moved: () =>
          this.#emit(
            near.dropIf(({ key, part }) => this.#parts?.of(key) !== part),
            "lost",
          ),
      };
      return (driver.track as NonNullable<Driver["track"]>)(database, start, tracker);
    });
  }

  /** Reports once that the store refuses to send messages, and that it no longer does. */
  #told(error?: StoreError): void {
    const { store, events } = this.#setup;
    if (store.untold?.message === error?.message) return;
    store.untold = error;
    const about = { driver: store.name };
    events.emit(error ? { type: "near-unavailable", ...about, error } : { type: "near-available", ...about });
  }

  #emit(entries: number, reason: "change" | "lost"): void {
    const { events, target } = this.#setup;
    if (entries > 0) events.emit({ type: "near-invalidate", entries, reason, ...target });
  }
}
