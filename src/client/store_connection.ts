import { type Driver, StoreError } from "../../drivers/driver.ts";
import { invalid } from "../base/check.ts";
import { remember } from "../base/remember.ts";
import type { Lane } from "../cache/context.ts";
import type { Fleet } from "../cache/fleet.ts";
import type { DatabasesMode } from "../config/options.ts";
import type { Breaker } from "../wire/breaker.ts";

/** How to open a store. */
export interface Opening {
  /** What tells the store from others of the client. */
  readonly key: string;
  /** The name of the driver. */
  readonly name: string;
  /** Whether the store has numbered databases. */
  readonly numbered: boolean;
  /** Whether the driver was handed in: then it is not the client's to close. */
  readonly ready: boolean;
  /** Opens the driver; loads its code where that is loaded lazily. */
  open(): Driver | Promise<Driver>;
}

/** What is gathered for one database. */
export interface StoreLane extends Lane {
  /** Where the instance's counts go, if they are shared. */
  readonly fleet: Fleet | undefined;
}

/** One store, and what is gathered for it. */
export class StoreConnection {
  /** The name of the driver. */
  readonly name: string;
  /** Whether databases are numbered; otherwise they are key prefixes. */
  readonly numbered: boolean;
  /** Keeps commands from it while it fails. */
  readonly breaker: Breaker | undefined;
  /** Why it does not tell of changes, where it refuses to. */
  untold: StoreError | undefined;
  readonly #open: () => Driver | Promise<Driver>;
  readonly #ready: boolean;
  readonly #lanes = new Map<number, StoreLane>();
  #driver: Driver | Promise<Driver> | undefined;
  #closed = false;

  /**
   * @param opening How to open it.
   * @param databases How databases are to be kept apart.
   * @param breaker Its circuit breaker, if it has one.
   * @throws {TypeError} For numbered databases where the store has none.
   */
  constructor({ name, numbered, ready, open }: Opening, databases: DatabasesMode, breaker: Breaker | undefined) {
    if (databases === "numbered" && !numbered) {
      throw invalid(`set databases of ${name}`, databases, "auto or prefixed");
    }
    this.name = name;
    this.breaker = breaker;
    this.numbered = numbered && databases !== "prefixed";
    this.#ready = ready;
    this.#open = open;
  }

  /** The driver, opened on the first call. @throws {StoreError} Once the store is closed. */
  driver(): Driver | Promise<Driver> {
    if (this.#closed) throw new StoreError("closed", "the cache client is closed");
    if (this.#driver) return this.#driver;
    const opening = this.#open();
    this.#driver = opening;
    if (opening instanceof Promise) {
      opening.then(
        (driver) => {
          this.#driver = driver;
        },
        () => {
          this.#driver = undefined;
        },
      );
    }
    return opening;
  }

  /** What is gathered for one database; made when it is first asked for. */
  lane(database: number, make: (database: number) => StoreLane): StoreLane {
    return remember(this.#lanes, database, () => make(database));
  }

  /** Waits for what was issued, at most `timeout` ms, then closes the driver. */
  async close(timeout: number): Promise<void> {
    if (this.#closed) return;
    const lanes = [...this.#lanes.values()];
    for (const { batch, fleet } of lanes) fleet?.ride(batch, timeout, true);
    await Promise.all(lanes.map(({ batch }) => batch.idle(timeout)));
    this.#closed = true;
    await Promise.all(lanes.flatMap(({ nears }) => [...nears].map((near) => near.close())));
    if (this.#ready) return;
    await (await Promise.resolve(this.#driver).catch(() => undefined))?.close();
  }
}

/** The opening of a driver that was handed in. */
export function readyOpening(driver: Driver): Opening {
  return { key: "", name: driver.name, numbered: driver.capabilities.numbered, ready: true, open: () => driver };
}
