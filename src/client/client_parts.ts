import type { Driver } from "../../drivers/driver.ts";
import { toStoreError } from "../base/foreign_error.ts";
import { inTime } from "../base/in_time.ts";
import { remember } from "../base/remember.ts";
import { showsLife } from "../base/store_error.ts";
import type { Keyspace, Shard } from "../entry/keyspace.ts";
import { PROBE } from "../lua/small.ts";
import type { BreakerState, Events } from "../telemetry/events.ts";
import type { Batch } from "../wire/batch.ts";
import { Breaker, type BreakerOptions } from "../wire/breaker.ts";
import { timeoutError } from "../wire/deadlines.ts";
import { StoreParts } from "../wire/store_parts.ts";
import type { Health, PartHealth } from "./health.ts";

/** The findings of a check of a store. */
type Checked = Omit<Health, "driver" | "databases" | "near">;

/** The parts of a client's store, if it has several. Only builds for servers have this. */
export class ClientParts extends StoreParts {
  /**
   * @param events Takes changes of the breakers.
   * @param driver The name of the driver, for the events.
   * @param breaker The options of the breakers; `false` for none.
   */
  constructor(events: Events, driver: string, breaker: BreakerOptions | false = {}) {
    super(
      breaker === false
        ? undefined
        : (part) =>
            new Breaker(
              breaker,
              () => performance.now(),
              (state, error) => events.emit({ type: "breaker", driver, part, state, ...(error && { error }) }),
            ),
    );
  }

  /** True if the last send to one of the parts failed. */
  get failing(): boolean {
    return this.breakers.some(([, { failing }]) => failing);
  }

  /**
   * Opens a connection to each part. Parts that do not answer in time fail nothing: their keys are misses.
   *
   * @param answered Resolves once the store has answered.
   * @param open Opens the driver.
   * @param timeout The milliseconds that it may take.
   */
  async connect(answered: Promise<unknown>, open: () => Driver | Promise<Driver>, timeout: number): Promise<void> {
    const start = performance.now();
    await answered;
    const driver = await open();
    const left = timeout - (performance.now() - start);
    await Promise.all((driver.parts?.() ?? []).map((part) => ping(driver, part, left)));
  }

  /**
   * Checks each part, by a read and a write of a shard that it has.
   *
   * @param whole Checks the store as a whole, in the milliseconds that are left.
   * @param open Opens the driver.
   * @param batch The batch to ask with.
   * @param space The keyspace to look for shards in.
   * @param timeout The milliseconds that it may take.
   * @returns The health of all parts; that of the whole if the store has one part, or none is known.
   */
  async health(
    whole: (left: number) => Promise<Checked>,
    open: () => Driver | Promise<Driver>,
    batch: Batch,
    space: Keyspace,
    timeout: number,
  ): Promise<Checked> {
    const begun = performance.now();
    const rest = (): number => Math.max(1, timeout - (performance.now() - begun));
    // The batch reports why a driver cannot be opened.
    const driver = await inTime(Promise.resolve().then(open), timeout, () => timeoutError(timeout)).catch(
      () => undefined,
    );
    if (!driver?.parts) return whole(rest());
    if (driver.parts().length === 0) await batch.send(["PING"], [], timeout, true).catch(() => {});
    const names = driver.parts();
    const left = rest();
    if (names.length === 0) return whole(left);
    const shards = new Map<string, Shard>();
    for (const shard of space.shards) remember(shards, driver.partOf?.(shard.epochKey) ?? "", () => shard);
    const checks = await Promise.all(
      names.map(async (address) => {
        const shard = shards.get(address);
        const start = performance.now();
        let notWritten: Promise<string | undefined> | undefined;
        let notRead: string | undefined;
        if (shard) {
          const { epochKey } = shard;
          const key = shard.own("health");
          notWritten = failure(batch.send(["EVAL", PROBE, 1, key], [key], left, true));
          notRead = await failure(batch.send(["MGET", epochKey], [epochKey], left, true));
        } else notRead = await ping(driver, address, left);
        return { address, latency: performance.now() - start, notRead, notWritten: await notWritten };
      }),
    );
    const states = new Map(this.breakers.map(([name, { state }]) => [name, state]));
    const parts = checks.map(({ address, latency, notRead, notWritten }): PartHealth => {
      const error = notRead ?? notWritten;
      return {
        address,
        ok: error === undefined,
        breaker: states.get(address) ?? "closed",
        ...(notRead === undefined && { latency }),
        ...(error !== undefined && { error }),
      };
    });
    const reads = checks.every(({ notRead }) => notRead === undefined);
    const writes = checks.every(({ notWritten }) => notWritten === undefined);
    const sick = parts.find(({ ok }) => !ok);
    return {
      ok: reads && writes,
      reads,
      writes,
      breaker: worst(parts.map(({ breaker }) => breaker)),
      ...(reads && { latency: Math.max(...checks.map(({ latency }) => latency)) }),
      ...(sick && { error: `${sick.address}: ${sick.error}` }),
      parts,
    };
  }
}

function worst(states: readonly BreakerState[]): BreakerState {
  return (["open", "half-open"] as const).find((state) => states.includes(state)) ?? "closed";
}

/** Asks a part for a sign of life. Resolves to the reason if it gives none. */
function ping(driver: Driver, part: string, timeout: number): Promise<string | undefined> {
  const sent = driver.send(0, [["PING"]], { timeout: Math.max(1, timeout), part }).then(([reply]) => {
    if (reply instanceof Error && !showsLife(reply)) throw reply;
  });
  return failure(inTime(sent, timeout, () => timeoutError(timeout)));
}

function failure(call: Promise<unknown>): Promise<string | undefined> {
  return call.then(
    () => undefined,
    (error) => toStoreError(error).message,
  );
}
