import { type Driver, StoreError } from "../../drivers/driver.ts";
import { invalid } from "../base/check.ts";
import { remember } from "../base/remember.ts";
import type { Lane } from "../cache/context.ts";
import type { Fleet } from "../cache/fleet.ts";
import type { DatabasesMode } from "../config/options.ts";
import type { Breaker } from "../wire/breaker.ts";
import type { ClientParts } from "./client_parts.ts";

/** The way to open a store. */
export interface Opening {
  /** The identity of the store: configurations with one key share its connection. */
  readonly key: string;
  /** The name of the driver. */
  readonly name: string;
  /** `true` if the store has numbered databases; `"optional"` if some of its kind have. */
  readonly numbered: boolean | "optional";
  /** `true` for a ready driver, which the client does not close. */
  readonly ready: boolean;
  /** Opens the driver, and loads its code if that is loaded lazily. */
  open(): Driver | Promise<Driver>;
}

/** The batch, loads and near caches of one database. */
export interface StoreLane extends Lane {
  /** Sends the instance's counts to the store, if all processes count together. */
  readonly fleet: Fleet | undefined;
}

/** One store, and the lanes to its databases. */
export class StoreConnection {
  /** The name of the driver. */
  readonly name: string;
  /** `true` if databases are numbered; otherwise they are key prefixes. */
  readonly numbered: boolean;
  /** The circuit breaker, which holds commands back while the store fails. */
  readonly breaker: Breaker | undefined;
  /** The parts of the store, if it may have several; each has a breaker of its own. */
  readonly parts: ClientParts | undefined;
  /** The error with which the store refused to report changed keys, if it did. */
  untold: StoreError | undefined;
  readonly #open: () => Driver | Promise<Driver>;
  readonly #ready: boolean;
  readonly #lanes = new Map<number, StoreLane>();
  #driver: Driver | Promise<Driver> | undefined;
  #closed = false;

  /**
   * @param opening The way to open it.
   * @param databases The way in which databases are to be kept apart.
   * @param breaker Its circuit breaker, if it has one.
   * @param parts Its parts, if it may have several.
   * @throws {TypeError} For numbered databases, if the store has none.
   */
  constructor(
    { name, numbered, ready, open }: Opening,
    databases: DatabasesMode,
    breaker: Breaker | undefined,
    parts: ClientParts | undefined,
  ) {
    if (databases === "numbered" && !numbered) {
      throw invalid(`set databases of ${name}`, databases, "auto or prefixed");
    }
    this.name = name;
    this.breaker = breaker;
    this.parts = parts;
    this.numbered = numbered === true ? databases !== "prefixed" : databases === "numbered";
    this.#ready = ready;
    this.#open = open;
  }

  /** The driver, opened on the first call. @throws {StoreError} Once the store is closed. */
  driver(): Driver | Promise<Driver> {
    if (this.#closed) throw new StoreError("closed", "Cannot use the cache client: it is closed");
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

  /** Returns the lane of a database; makes it when it is first asked for. */
  lane(database: number, make: (database: number) => StoreLane): StoreLane {
    return remember(this.#lanes, database, () => make(database));
  }

  /** Waits for the issued commands, at most `timeout` ms, then closes the driver. */
  async close(timeout: number): Promise<void> {
    if (this.#closed) return;
    const lanes = [...this.#lanes.values()];
    for (const { batch, fleet } of lanes) fleet?.ride(batch, timeout, true);
    await Promise.all(lanes.map(({ batch }) => batch.idle(timeout)));
    this.#closed = true;
    await Promise.all(lanes.flatMap(({ nears }) => [...nears].map((near) => near.close?.())));
    if (this.#ready) return;
    await (await Promise.resolve(this.#driver).catch(() => undefined))?.close();
  }
}

/** The opening of a driver that was handed in. */
export function readyOpening(driver: Driver): Opening {
  return { key: "", name: driver.name, numbered: driver.capabilities.numbered, ready: true, open: () => driver };
}
