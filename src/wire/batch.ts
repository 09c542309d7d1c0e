/**
 * Commands that are issued in one tick leave in one `send`.
 *
 * **How a tick ends.** The first command puts a check behind everything that waits in the microtask queue: behind the
 * continuations of promises that have settled, each of which may issue more commands. If more commands came, the check
 * puts itself behind the queue again. If none came, all that could be issued without waiting for I/O has been issued,
 * and the batch leaves, without a delay by a timer. A chain that never ends is cut off after a hundred checks.
 *
 * - **Joining.** Reads join one MGET, or one script if the store must look at their tags, unless their key was written
 *   in between. Each key is read once, and the epoch of its keyspace with it. Deletions in a row join one UNLINK; those
 *   of several callers one script, because each caller learns how many of its own keys existed.
 * - **Order.** Commands for one key take effect in the order of the calls. A wire that keeps the order of overlapping
 *   sends needs no help. On others a command waits while an earlier one for its key is in flight, if one of them is a
 *   write. On every wire it waits while an earlier one is repeated. One that a later one has overtaken is not repeated.
 * - **Rights.** If the script that reads is refused, EVAL_RO runs it (Redis 7), else plain commands do its work. If
 *   EVALSHA is refused, EVAL runs all scripts. What worked is remembered.
 * - **Deadlines** cover connecting, queueing, sending and the reply. `deadlines.ts` says when they stand still. After
 *   the last caller has given up, the connection goes on opening within its own time.
 * - **Repetition.** Commands that may be repeated are repeated within the deadline. If the server has forgotten a
 *   script, the script is sent again as EVAL, after the rest of its batch.
 */
import {
  type Capabilities,
  type Command,
  type Driver,
  isDenial,
  type Reply,
  type Script,
  type StoreError,
} from "../../drivers/driver.ts";
import { toStoreError } from "../base/foreign_error.ts";
import { isForbidden } from "../base/store_error.ts";
import type { BatchOptions, Flight, Part, ReadRights } from "./batch_options.ts";
import { Deadlines, timeoutError } from "./deadlines.ts";
import { KeyOrder } from "./key_order.ts";
import { sendPortions, split } from "./portions.ts";
import { readByCommands } from "./read_by_commands.ts";
import { render } from "./render.ts";
import { Repeats } from "./repeats.ts";
import {
  CommandSlot,
  DeleteSlot,
  MAX_KEYS,
  type ReadBy,
  type Reader,
  type ReadScript,
  ReadSlot,
  type Slot,
} from "./slot.ts";

export type { BatchOptions, BatchStats, ReadRights } from "./batch_options.ts";
export { type Caller, evaluate, type Reader, type ReadScript, Slot } from "./slot.ts";

/** The number of checks after which a tick ends, even if commands keep coming. */
const MAX_CHECKS = 100;
/** Its reactions run in the microtask queue. In Node they cost less than those of `queueMicrotask`. */
const RESOLVED = Promise.resolve();

/** Gathers the commands of one database. */
export class Batch {
  readonly #options: BatchOptions;
  /** The rights of this user at the store. */
  readonly rights: ReadRights;
  #driver: Driver | undefined;
  /** The slots of this tick. */
  #queue: Slot[] = [];
  /** The newest slot that further reads may join. It leads to the older ones. */
  #reads: ReadSlot | undefined;
  /** The keys written since the oldest of those. */
  readonly #written = new Set<string>();
  /** True while a check waits in the microtask queue. */
  #scheduled = false;
  /** True if no command came since the last check. */
  #quiet = false;
  #checks = 0;
  #pushed = 0;
  /** The slots of each flush in which some have no answer yet. */
  readonly #flushed: (readonly Slot[])[] = [];
  readonly #deadlines: Deadlines;
  readonly #order: KeyOrder;
  readonly #repeats: Repeats;
  /** All of the store, if it has one part. */
  readonly #whole: Part;
  /** Called when nothing is in flight. */
  #waiting: (() => void)[] = [];
  /** Ends the tick if no command came since the last check. A property, because it is called as a reaction. */
  readonly #check = (): void => {
    if (this.#quiet || this.#checks++ >= MAX_CHECKS) {
      this.#flush();
      return;
    }
    this.#quiet = true;
    RESOLVED.then(this.#check);
  };

  /** @param options The driver, and the counters and listeners of the batch. */
  constructor(options: BatchOptions) {
    this.#options = options;
    this.rights = options.rights ?? { readBy: "EVAL" };
    this.#whole = { breaker: options.breaker, known: new Set() };
    const breakerOf = (slots: readonly Slot[]) => this.#partOf(slots).breaker;
    this.#deadlines = new Deadlines(this.#flushed, breakerOf, options.clock ?? performance);
    this.#order = new KeyOrder(this.#deadlines);
    this.#repeats = new Repeats(options, this.#deadlines, this.#flushed);
  }

  /** The abilities of the driver, once it is open. */
  get capabilities(): Partial<Capabilities> {
    return this.#driver?.capabilities ?? {};
  }

  /** Reads one key and the epoch of its keyspace, by the script or else by MGET. */
  read(reader: Reader, readScript?: ReadScript, timeout: number = reader.timeout): void {
    const { physical, space } = reader;
    if (this.#order.busy && this.#order.conflicts([physical, space.epochKey], false)) {
      const start = (left: number): void => this.read(reader, readScript, left);
      this.#order.hold([physical, space.epochKey], false, timeout, start, (error) => reader.reject(error));
      return;
    }
    const { readBy } = this.rights;
    const byScript = (left: number): void => this.#ask(reader, readScript, left, readBy);
    if (readScript && this.#options.readHeads?.(this, reader, readScript, timeout, byScript)) return;
    this.#ask(reader, readScript, timeout, readBy);
  }

  /** Deletes physical keys, at least one. Resolves to the number of them that existed. */
  async unlink(keys: readonly string[], timeout: number): Promise<number> {
    if (keys.length <= MAX_KEYS) return (await this.add(new DeleteSlot([...keys], timeout))) as number;
    const parts = [keys.slice(0, MAX_KEYS), keys.slice(MAX_KEYS)];
    const [first = 0, rest = 0] = await Promise.all(parts.map((part) => this.unlink(part, timeout)));
    return first + rest;
  }

  /**
   * Sends one command.
   *
   * @param keys The physical keys that it touches.
   * @param timeout Milliseconds until the promise rejects.
   * @param idempotent True if it may be sent again when nothing shows whether it was executed.
   * @returns Its reply. Rejects with the store's error.
   */
  send(command: Command, keys: readonly string[], timeout: number, idempotent: boolean): Promise<Reply> {
    return this.add(new CommandSlot(keys, timeout, idempotent, command));
  }

  /** Sends a command that answers to its own callers, when earlier ones for its keys allow that. */
  write(slot: Slot): void {
    if (this.#order.conflicts(slot.keys, true)) this.#hold(slot);
    else this.#enqueue(slot);
  }

  /** Runs a script as {@linkcode Batch.send} does. Its further keys are `also`, whose order does not matter. */
  run(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
    timeout: number,
    idempotent: boolean,
    also?: readonly string[],
  ): Promise<Reply> {
    return this.add(new CommandSlot(keys, timeout, idempotent, args, script, also));
  }

  /** Resolves when nothing is in flight that a caller waits for, at the latest after `timeout` ms. */
  async idle(timeout: number): Promise<void> {
    if (!this.#scheduled && !this.#deadlines.awaited) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push(this.#deadlines.after(timeout, resolve), resolve);
    });
  }

  /** Puts a read into a slot of this tick. */
  #ask(reader: Reader, readScript: ReadScript | undefined, timeout: number, readBy: ReadBy): void {
    const { physical, space } = reader;
    if (readScript && readBy === "MGET") {
      this.#readByCommands(reader, readScript, timeout);
      return;
    }
    if (this.#written.size > 0 && (this.#written.has(physical) || this.#written.has(space.epochKey))) {
      // A read that joined a command from before the write would miss the new value.
      this.#reads = undefined;
      this.#written.clear();
    }
    let slot = this.#reads;
    while (slot && !slot.takes(timeout, space, readScript, readBy)) slot = slot.older;
    if (!slot) {
      slot = new ReadSlot(timeout, space, readScript, readBy, this.#reads);
      this.#reads = slot;
      this.#push(slot);
    }
    slot.add(reader);
    this.#quiet = false;
  }

  /** Sends a command as {@linkcode Batch.write} does. Resolves to its reply. */
  add(slot: Slot): Promise<Reply> {
    const reply = new Promise<Reply>((resolve, reject) => {
      slot.callers.push({ resolve, reject });
    });
    this.write(slot);
    return reply;
  }

  #hold(slot: Slot): void {
    const start = (left: number): void => {
      slot.timeout = left;
      this.#enqueue(slot);
    };
    this.#order.hold(slot.keys, true, slot.timeout, start, (error) => slot.fail(error));
  }

  #enqueue(slot: Slot): void {
    if (this.#reads) for (const key of slot.keys) this.#written.add(key);
    const last = this.#queue.at(-1);
    const { scripts, parts } = this.capabilities;
    if (!last || !scripts || parts || !slot.join(last)) this.#push(slot);
    this.#quiet = false;
  }

  #push(slot: Slot): void {
    slot.order = this.#pushed++;
    this.#queue.push(slot);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#checks = 0;
    RESOLVED.then(this.#check);
  }

  #flush(): void {
    const { breaker, clock, driver, onLeave } = this.#options;
    onLeave?.();
    const slots = this.#queue;
    this.#queue = [];
    this.#reads = undefined;
    if (this.#written.size > 0) this.#written.clear();
    this.#scheduled = false;
    this.#flushed.push(slots);
    if (breaker && !breaker.allows()) {
      this.#land(slots, breaker.error());
      return;
    }
    this.#deadlines.watch(slots);
    try {
      const opened = driver();
      if (!(opened instanceof Promise)) {
        this.#dispatch(slots, opened);
        return;
      }
      clock?.pauseFor(opened);
      // Only an open driver knows whether its wire keeps the order.
      const free = this.#order.claim(slots);
      opened.then(
        (driver) => this.#dispatch(slots, driver, free),
        (error) => {
          breaker?.fail(toStoreError(error));
          this.#land(slots, error);
          free();
        },
      );
    } catch (error) {
      this.#land(slots, error);
    }
  }

  /** Ends a flush, of which all slots have their answer or now get the error. */
  #land(slots: readonly Slot[], error?: unknown): void {
    if (error) this.#failAll(slots, error);
    const last = this.#flushed.pop() as readonly Slot[];
    if (last !== slots) this.#flushed[this.#flushed.indexOf(slots)] = last;
    if (this.#deadlines.awaited) return;
    this.#deadlines.rest();
    if (this.#scheduled || this.#waiting.length === 0) return;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /**
   * Sends the slots of a flush, in portions if the driver limits the size of a send. What goes to each part of a store
   * of several is a flush of its own from here on.
   */
  #dispatch(slots: readonly Slot[], driver: Driver, free?: () => void): void {
    this.#driver = driver;
    const { ordered, billed = false } = driver.capabilities;
    for (const slot of slots) slot.prepare?.(billed);
    const apart = this.#options.parts?.cut(slots, driver, this.#options.database);
    const flights = (apart ?? split(slots, driver.capabilities)).map(
      (portion): Flight => ({
        slots: portion,
        until: portion.reduce((last, slot) => Math.max(last, slot.until), 0),
        part: this.#whole,
        attempt: 1,
        free: ordered ? undefined : this.#order.claim(portion),
        done: undefined,
      }),
    );
    free?.();
    const fly = (flight: Flight): void => this.#fly(flight, flight.slots);
    const first = flights[0];
    if (first?.slots === slots) fly(first);
    else if (apart) {
      this.#flushed.push(...apart);
      flights.forEach(fly);
      this.#land(slots);
    } else sendPortions(flights, ordered, fly).then(() => this.#land(slots));
  }

  #partOf(slots: readonly Slot[]): Part {
    return this.#options.parts?.of(slots, this.#driver) ?? this.#whole;
  }

  /** Sends the slots of a flight, or those that are left of them. Never throws. */
  #fly(flight: Flight, slots: readonly Slot[]): void {
    const { database, wire, sends } = this.#options;
    const sent = performance.now();
    const part = this.#partOf(slots);
    const { breaker } = part;
    flight.part = part;
    const fail = (error: unknown): void => {
      const failure = toStoreError(error);
      // If all deadlines have passed, the breaker knows of the failure already.
      if (slots.some((slot) => !slot.settled || slot.timeout < 100)) breaker?.fail(failure, sent);
      this.#settle(flight, slots, failure);
    };
    try {
      const timeout = flight.until - this.#deadlines.now();
      // All callers have their answer, so nothing may be sent.
      if (timeout <= 0) throw timeoutError((slots[0] as Slot).timeout);
      const commands = render(slots, part, this.rights.whole, this.#options.ask);
      wire.commands += commands.length;
      wire.roundTrips++;
      const driver = this.#driver as Driver;
      const options = this.#deadlines.warm
        ? { timeout: Math.max(1, timeout) }
        : { timeout: Math.max(1, timeout), waiting: () => slots.some((slot) => !slot.settled) };
      const replies = driver.send(database, commands, options);
      replies.then((answered) => {
        this.#deadlines.warm = true;
        breaker?.succeed(answered, sent);
        this.#settle(flight, slots, answered);
      }, fail);
      if (sends?.active) sends.emit({ driver: driver.name, database, commands, replies });
    } catch (error) {
      fail(error);
    }
  }

  /** Hands out the replies, and sends again what may be repeated. Never throws. */
  #settle(flight: Flight, slots: readonly Slot[], replies: readonly Reply[] | StoreError): void {
    try {
      let again: Slot[] | undefined;
      let cause: StoreError | undefined;
      const failed = replies instanceof Error;
      let at = 0;
      for (const slot of slots) {
        if (slot.epochAt === at) at++;
        const reply = failed ? replies : (replies[at++] ?? null);
        const epoch = failed ? replies : replies[slot.epochAt];
        const why = slot.epochKey === undefined ? undefined : slot.revise?.(reply, epoch);
        if (why || (reply instanceof Error && this.#mayRepeat(slot, reply, flight))) {
          again ??= [];
          again.push(slot);
          cause = why ?? (reply as StoreError);
          if (why) this.#repeats.delete(slot);
          else if (cause.code !== "NOSCRIPT") this.#repeats.add(slot);
        } else if (slot.idempotent && again?.some((other) => other.leads(slot))) {
          again.push(slot);
        } else if (!slot.writes && cause && isDenial(cause) && again?.some((other) => other.precedes(slot))) {
          // A replica answers reads, but without the writes that it refused before.
          again.push(slot);
        } else {
          slot.progress = "over";
          this.#repeats.delete(slot);
          if (!(reply instanceof Error)) this.#executed(slot, flight);
          else if (slot instanceof ReadSlot && isForbidden(reply)) this.#askForLess(slot);
          slot.settle(reply, epoch);
        }
      }
      if (!again || !cause) {
        this.#end(flight);
        return;
      }
      for (const slot of again) slot.progress = "waiting";
      flight.free ??= this.#order.claim(again);
      this.#repeats.wait(again, flight.attempt++, cause, flight.until).then(
        (left) => (left.length > 0 ? this.#fly(flight, left) : this.#end(flight)),
        (error) => this.#end(flight, error),
      );
    } catch (error) {
      this.#end(flight, error);
    }
  }

  #end(flight: Flight, error?: unknown): void {
    if (error) this.#failAll(flight.slots, error);
    flight.free?.();
    if (flight.done) flight.done();
    else this.#land(flight.slots);
  }

  /** Reads again by a command that needs fewer rights, after a script was refused. */
  #askForLess(slot: ReadSlot): void {
    const { callers, readScript, readBy, until, settled } = slot;
    if (!readScript || settled) return;
    slot.settled = true;
    const left = Math.max(1, until - this.#deadlines.now());
    for (const reader of callers) this.#ask(reader, readScript, left, readBy === "EVAL" ? "EVAL_RO" : "MGET");
  }

  #readByCommands(reader: Reader, readScript: ReadScript, timeout: number): void {
    const until = this.#deadlines.now() + timeout;
    (this.#options.declared?.read ?? readByCommands)(reader, readScript, (...command) =>
      this.send(command, [reader.physical], Math.max(1, until - this.#deadlines.now()), true),
    ).then(
      (reply) => {
        this.rights.readBy = "MGET";
        reader.resolve(...reply);
      },
      (error) => reader.reject(error),
    );
  }

  #executed(done: Slot, { part }: Flight): void {
    if (done.script) {
      part.known.add(done.script.sha1);
      if (done instanceof ReadSlot && done.readBy === "EVAL_RO") this.rights.readBy = "EVAL_RO";
    }
    this.#repeats.executed(done);
  }

  #failAll(slots: readonly Slot[], error: unknown): void {
    const failure = toStoreError(error);
    for (const slot of slots) {
      this.#repeats.delete(slot);
      slot.fail(failure);
    }
  }

  #mayRepeat(slot: Slot, error: StoreError, { part, attempt }: Flight): boolean {
    if (this.#options.declared?.wants(slot, error)) return true;
    if (slot.script && !slot.reloaded && /^NOSCRIPT|evalsha/i.test(error.message)) {
      slot.reloaded = true;
      part.known.delete(slot.script.sha1);
      if (error.code !== "NOSCRIPT") this.rights.whole = true;
      return true;
    }
    if (attempt > this.#options.retries || part.breaker?.state === "open") return false;
    return error.repeat === "all" || (error.repeat === "idempotent" && slot.idempotent);
  }
}
