import { type Command, type Driver, type Reply, StoreError } from "../../drivers/driver.ts";
import { invalid } from "../base/check.ts";
import { toStoreError } from "../base/foreign_error.ts";
import { inTime } from "../base/in_time.ts";
import { remember } from "../base/remember.ts";
import { unref } from "../base/timers.ts";
import type { Invalidations } from "../cache/invalidations.ts";
import type { Runner, Shard } from "../entry/keyspace.ts";
import { EVERYTHING, invalidate } from "../lua/entries.ts";
import type { Events } from "../telemetry/events.ts";
import { timeoutError } from "../wire/deadlines.ts";
import { CommandSlot } from "../wire/slot.ts";
import type { StoreConnection } from "./store_connection.ts";

/** The most tags that are kept for a shard that did not answer. Beyond that, everything of it is invalidated. */
const MAX_TAGS = 10_000;
/** The pause before an invalidation is tried again, and the longest one, in milliseconds. */
const PAUSE = 50;
const LONGEST_PAUSE = 1000;

/** The milliseconds by which the answer to a WAIT in vain may be late: a server looks ten times a second. */
const LATE_WAIT = 150;

/** An invalidation that a shard has not confirmed. */
interface Debt {
  readonly shard: Shard;
  /** The encoded tags; `undefined` for everything. */
  names: Set<string> | undefined;
  /** The number of invalidations that were kept in it. */
  kept: number;
  /** Takes the invalidation out of the front of what is sent to the shard. */
  readonly cancel: () => void;
}

/**
 * Invalidates shards of a store that has several parts, and confirms invalidations by replicas.
 *
 * An invalidation needs all shards, so one master that is away fails it. Therefore it is tried until the deadline of
 * the call. What is left then is kept, and goes in front of everything that this client sends to the shard, until the
 * shard has confirmed it; a timer tries it too. So this process sees no value from before, even if its callers
 * ignore that the invalidation failed.
 */
export class Invalidator implements Invalidations {
  readonly #store: StoreConnection;
  readonly #database: number;
  readonly #events: Events;
  readonly #debts = new Map<string, Debt>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param store The connection to the store.
   * @param database The database that commands are sent to.
   * @param events Takes what was kept, and what was sent later.
   */
  constructor(store: StoreConnection, database: number, events: Events) {
    this.#store = store;
    this.#database = database;
    this.#events = events;
  }

  async run(runner: Runner, shard: Shard, names: readonly string[] | undefined, timeout: number): Promise<Reply> {
    const until = performance.now() + timeout;
    const left = (): number => Math.max(1, until - performance.now());
    let pause = PAUSE;
    const move = (): Promise<Reply> => shard.invalidate(runner, names, left());
    let send = move;
    for (;;) {
      try {
        return await send();
      } catch (thrown) {
        const error = toStoreError(thrown);
        const driver = await this.#driver();
        if (!driver?.partOf || !passes(error)) throw error;
        const rest = until - performance.now();
        if (rest <= PAUSE) {
          this.#keep(shard, names, error);
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, Math.min(pause, rest / 2)));
        pause = Math.min(pause * 2, LONGEST_PAUSE);
        // Neither the breaker nor the number of repetitions ends the attempts.
        send = error.code === "TRYAGAIN" ? move : () => this.#direct(driver, shard, names, left());
      }
    }
  }

  async admit(confirm: unknown): Promise<void> {
    const driver = confirm === "replicas" ? await this.#driver() : undefined;
    if (driver?.connect || (confirm === "replicas" && !driver)) return;
    const expected = driver ? "a driver with TCP connections" : '"replicas"';
    throw invalid(`confirm an invalidation over ${this.#store.name}`, confirm, expected);
  }

  async confirm<T>(
    moved: Promise<T>,
    shards: readonly Shard[],
    names: readonly string[] | undefined,
    timeout: number,
  ): Promise<T> {
    const until = performance.now() + timeout;
    const result = await moved;
    const driver = await this.#store.driver();
    const byPart = new Map<string | undefined, Shard[]>();
    for (const shard of shards) {
      const part = driver.partOf?.(shard.epochKey);
      remember(byPart, part, (): Shard[] => []).push(shard);
    }
    await Promise.all(
      [...byPart].map(async ([part, own]) => {
        const left = (): number => Math.max(1, until - performance.now());
        const options = { timeout: left(), ...(part !== undefined && { part }) };
        const connection = await driver.connect?.(this.#database, options);
        try {
          // On one connection, so that it is the same server that takes the invalidation and asks its replicas.
          const commands = own.map((shard) => commandOf(shard, names)[0]);
          const wait = Math.max(1, Math.floor(left() - LATE_WAIT));
          const replies = await connection?.send([...commands, ["WAIT", 1, wait]], { timeout: left() });
          const failure = replies?.find((reply) => reply instanceof Error);
          if (failure) throw failure;
          if (!(Number(replies?.at(-1)) > 0)) throw unconfirmed(timeout);
        } finally {
          connection?.close();
        }
      }),
    );
    return result;
  }

  async #direct(driver: Driver, shard: Shard, names: readonly string[] | undefined, timeout: number): Promise<Reply> {
    const sent = driver.send(this.#database, [commandOf(shard, names)[0]], { timeout });
    const [reply = null] = await inTime(sent, timeout, () => timeoutError(timeout));
    if (reply instanceof Error) throw reply;
    return reply;
  }

  async #driver(): Promise<Driver | undefined> {
    try {
      return await this.#store.driver();
    } catch {
      return undefined;
    }
  }

  /** Keeps an invalidation until the shard answers. */
  #keep(shard: Shard, names: readonly string[] | undefined, error: StoreError): void {
    const { parts } = this.#store;
    if (!parts) return;
    const debt = remember(this.#debts, shard.epochKey, (): Debt => {
      const make = (timeout: number): CommandSlot => {
        const { kept } = debt;
        const [, keys, args] = commandOf(shard, namesOf(debt));
        const slot = new CommandSlot([shard.epochKey], timeout, true, args, invalidate, keys);
        const resolve = (epoch: Reply): void => this.#settle(debt, kept, epoch);
        slot.callers.push({ resolve, reject: () => {} });
        return slot;
      };
      return { shard, names: new Set(), kept: 0, cancel: parts.putFirst(shard.epochKey, this.#database, make) };
    });
    debt.kept++;
    if (!names || (debt.names && debt.names.size + names.length > MAX_TAGS)) debt.names = undefined;
    else for (const name of names) debt.names?.add(name);
    this.#events.emit({
      type: "invalidate-kept",
      driver: this.#store.name,
      part: this.#part(shard),
      ...(debt.names && { tags: debt.names.size }),
      error,
    });
    this.#wake(PAUSE);
  }

  /** Forgets a debt that the shard has confirmed. `kept` is its number when it was sent. */
  #settle(debt: Debt, kept: number, epoch: Reply): void {
    const { shard, names, cancel } = debt;
    shard.noteEpoch(epoch);
    // What was kept since, the same tags too, may have come after what the shard has confirmed.
    if (debt.kept !== kept || this.#debts.get(shard.epochKey) !== debt) return;
    this.#debts.delete(shard.epochKey);
    cancel();
    const about = { driver: this.#store.name, part: this.#part(shard) };
    this.#events.emit({ type: "invalidate-sent", ...about, ...(names && { tags: names.size }) });
  }

  /** Tries what is kept while nothing else is sent to the shards. */
  #wake(pause: number): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(async () => {
      const driver = await this.#driver();
      if (!driver) this.#debts.clear();
      await Promise.all(
        [...this.#debts.values()].map(async (debt) => {
          const { kept } = debt;
          await this.#direct(driver as Driver, debt.shard, namesOf(debt), LONGEST_PAUSE).then(
            (epoch) => this.#settle(debt, kept, epoch),
            () => {},
          );
        }),
      );
      this.#timer = undefined;
      if (this.#debts.size > 0) this.#wake(Math.min(pause * 2, LONGEST_PAUSE));
    }, pause);
    unref(this.#timer);
  }

  #part(shard: Shard): string {
    return this.#store.parts?.partOf(shard.epochKey) ?? "";
  }
}

/** Returns the encoded tags of a debt; `undefined` for everything. */
function namesOf({ names }: Debt): readonly string[] | undefined {
  return names && [...names];
}

function unconfirmed(timeout: number): StoreError {
  return new StoreError("timeout", `No replica confirmed the invalidation within ${Math.round(timeout)} ms`);
}

/** Returns whether what failed may succeed later. */
function passes({ kind, repeat }: StoreError): boolean {
  return kind === "connection" || kind === "timeout" || repeat !== "none";
}

/** Returns the command that invalidates tags of a shard, or everything, the keys of its marks, and its arguments. */
function commandOf(
  shard: Shard,
  names: readonly string[] | undefined,
): [command: Command, marks: string[], args: string[]] {
  const marks = shard.marksOf(names);
  const args = names ? [] : [EVERYTHING];
  return [["EVAL", invalidate.lua, 1 + marks.length, shard.epochKey, ...marks, ...args], marks, args];
}
