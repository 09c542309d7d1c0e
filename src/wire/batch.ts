/**
 * Commands issued in one tick leave in one `send`.
 *
 * - A tick ends when a whole turn of the microtask queue brings no further command; no timer is involved, so a
 *   caller is never held past its own tick.
 * - Reads join one MGET, or one script where the store must look at their tags, unless their key was written in between;
 *   the same key is asked once. With them comes the clock of their keyspace. Deletions in a row join one UNLINK; those of several callers one script, because each is told how many of its own keys were there.
 * - Commands for one key take effect in the order of the calls. A wire that keeps the order of overlapping sends needs no
 *   help; on others a command waits while an earlier one for its key, of which one is a write, is under way. So it does
 *   on every wire while an earlier one is being repeated, and what a later one has overtaken is not repeated any more.
 * - Where this user may not run the script that reads, EVAL_RO runs it (Redis 7), and where that is refused too,
 *   commands do its work. What worked is remembered.
 * - Deadlines cover connecting, queueing, sending and the reply. At a cold start they stand still while the runtime
 *   loads the driver's code, and, until the store has answered for the first time, while the process is kept from
 *   running: with several that start at once, what was lost would else be lost to their fight for the processor. A
 *   store that is away does not lengthen them, and the connection goes on opening within its own time when nobody waits
 *   any more.
 * - What may be repeated is repeated, within the deadline. After a server forgot its scripts, a script is repeated as EVAL
 *   behind the rest of its batch.
 */
import {
  type Command,
  type Driver,
  isDenial,
  type Reply,
  type Script,
  type SendOptions,
  StoreError,
} from "../../drivers/driver.ts";
import { toStoreError } from "../base/foreign_error.ts";
import { isForbidden } from "../base/store_error.ts";
import { unref } from "../base/timers.ts";
import { LONGEST_TIMER } from "../base/ttl.ts";
import { unlinkEach } from "../lua/entries.ts";
import { AT_EDGE } from "../runtime/edge.ts";
import type { Events, Sending } from "../telemetry/events.ts";
import type { Breaker } from "./breaker.ts";

/** The most keys of one MGET or UNLINK: longer ones hold up a server's other clients. */
const MAX_KEYS = 1000;
/** Ends a tick that never falls silent. */
const MAX_TURNS = 100;
/** Its reactions are turns of the microtask queue: cheaper ones than `queueMicrotask` makes in Node. */
const TICK = Promise.resolve();
/** The longest that the code of a driver may take to load before deadlines count on, in milliseconds. */
const LONGEST_LOAD = 30_000;
/**
 * Of a cold start: how often it is looked whether the process runs, and the most time that deadlines stand still for
 * it.
 */
const STEP = 20;
const LONGEST_STALL = 5000;
/** More than the reads that can be under way. */
const WRITE = 1e6;

/** What a batch needs to know. */
export interface BatchOptions {
  /** The database that commands are sent to. */
  readonly database: number;
  /** The driver, opened on the first call. Throws once the client is closed. */
  readonly driver: () => Driver | Promise<Driver>;
  /** Whether to open it is to load its code: that counts against no deadline. @default false */
  readonly loads?: boolean;
  /** How often a command may be repeated. */
  readonly retries: number;
  /** Counters to add to. */
  readonly wire: BatchStats;
  /** Keeps commands from a store that fails again and again. */
  readonly breaker?: Breaker | undefined;
  /** How the store lets this user read; shared by all who ask it. */
  readonly rights?: ReadRights | undefined;
  /** Called before what was gathered leaves; what it adds leaves with it. */
  readonly onLeave?: (() => void) | undefined;
  /** Told of each send. */
  readonly sends?: Events<Sending> | undefined;
  /** Told before commands are repeated. */
  readonly onRetry: (attempt: number, commands: number, error: StoreError) => void;
}

/** What a store lets a user run. */
export interface ReadRights {
  /** How reads run that need a script: as one that may write, as one that only reads, or by commands in its place. */
  readBy: "EVAL" | "EVAL_RO" | "MGET";
}

/** What went over the wire. */
export interface BatchStats {
  /** Commands sent, repeated ones included. */
  commands: number;
  /** Sends: pipelines over TCP, requests over REST. */
  roundTrips: number;
  /** Commands that were sent again. */
  retries: number;
}

/** Who waits for a reply: one of the two is called, once. Neither may throw. */
export interface Caller {
  /** `clock` comes with every read, `left` (PTTL's answer) with those by a {@linkcode ReadScript}. */
  resolve(reply: Reply, clock?: Reply, left?: Reply): void;
  reject(error: StoreError): void;
}

/** Who waits for a key's text. */
export interface Reader extends Caller {
  /** The physical key. */
  readonly physical: string;
  /** Its keyspace: the key of the clock is what is needed of it. */
  readonly space: { readonly epochKey: string };
  /** Milliseconds until it is rejected. */
  readonly timeout: number;
}

/** A way to read that needs a script: reads that share it, and follow each other in one tick, are one command. */
export interface ReadScript {
  /** Answers the clock, then for each key its text and its PTTL. */
  readonly script: Script;
  /** The key of the clock, the script's first. */
  readonly epochKey: string;
  /**
   * The script's arguments: the start of marks' keys; the milliseconds that a read slides to, or 0; 1 where heads are
   * enough.
   */
  readonly args: readonly (string | number)[];
}

/** Commands of one kind that leave as one. */
class Slot {
  readonly keys: string[] = [];
  readonly callers: Caller[] = [];
  readonly kind: "read" | "delete" | "other";
  readonly timeout: number;
  readonly idempotent: boolean;
  /** For "read" by a script: how. */
  readonly readScript: ReadScript | undefined;
  /** For "read" by a script: whether it is run as one that only reads. */
  readOnly = false;
  /** For "read" of several keys: where each stands in `keys`. */
  asked: Map<string, number> | undefined;
  /** For "read" with more callers than keys: where each one's key stands. */
  at: number[] | undefined;
  /** For "read" by MGET: the keys of the clocks, and where each caller's stands, if there are several. */
  epochKeys: string[] | undefined;
  epochAt: number[] | undefined;
  /** Keys of a script beside those whose order matters. */
  also: readonly string[] | undefined;
  /** For "delete": where each caller's keys end. */
  readonly ends: number[] = [];
  command: Command | undefined;
  script: Script | undefined;
  /** Whether the store was found to have forgotten the script. */
  reloaded = false;
  /** Its place in the order of the calls. */
  order = 0;
  /** Whether a later command for one of its keys was executed while it was to be repeated. */
  overtaken = false;
  /** Whether the store has answered and it is not to be repeated. */
  over = false;
  /** Whether it is on its way to the store, or was executed. */
  sent = false;
  /** When its callers stop waiting. */
  until = 0;
  /** Whether its callers were answered. */
  settled = false;

  constructor(kind: Slot["kind"], timeout: number, idempotent = true, look?: ReadScript) {
    this.kind = kind;
    this.timeout = timeout;
    this.idempotent = idempotent;
    this.readScript = look;
  }

  fail(error: StoreError): void {
    if (this.settled) return;
    this.settled = true;
    for (const caller of this.callers) caller.reject(error);
  }

  /** Whether this one came first, and their order matters. */
  precedes(other: Slot): boolean {
    if (this.order >= other.order || (this.kind === "read" && other.kind === "read")) return false;
    return this.keys.some((key) => other.keys.includes(key));
  }

  settle(reply: Reply): void {
    const several = this.kind === "read" || this.ends.length > 1;
    if (reply instanceof Error || (several && !Array.isArray(reply))) {
      this.fail(reply instanceof Error ? reply : new StoreError("protocol", "the store gave a reply of another form"));
      return;
    }
    if (this.settled) return;
    this.settled = true;
    if (this.kind === "read") {
      const values = reply as readonly Reply[];
      const { callers, at, epochAt, readScript } = this;
      const clocks = this.keys.length;
      for (let i = 0; i < callers.length; i++) {
        const place = at ? (at[i] as number) : i;
        if (readScript) callers[i]?.resolve(values[2 * place + 1] ?? null, values[0], values[2 * place + 2]);
        else
          callers[i]?.resolve(values[place] ?? null, values[clocks + (epochAt ? (epochAt[i] as number) : 0)] ?? null);
      }
    } else if (this.kind === "delete" && this.ends.length > 1) {
      const gone = reply as readonly number[];
      let from = 0;
      this.ends.forEach((end, i) => {
        let count = 0;
        while (from < end) count += gone[from++] ?? 0;
        this.callers[i]?.resolve(count);
      });
    } else {
      for (const caller of this.callers) caller.resolve(reply);
    }
  }

  /** Adds a caller who reads a key, and its keyspace's clock. */
  ask(key: string, caller: Caller, clock: string): void {
    const { keys, epochKeys } = this;
    if (!epochKeys) this.epochKeys = [clock];
    else if (epochKeys[0] !== clock || this.epochAt) {
      this.epochAt ??= this.callers.map(() => 0);
      const known = epochKeys.indexOf(clock);
      this.epochAt.push(known < 0 ? epochKeys.push(clock) - 1 : known);
    }
    let index = keys.length;
    if (index === 1) this.asked ??= new Map([[keys[0] as string, 0]]);
    const known = this.asked?.get(key);
    if (known === undefined) {
      this.asked?.set(key, index);
      keys.push(key);
    } else {
      this.at ??= keys.map((_, i) => i);
      index = known;
    }
    this.at?.push(index);
    this.callers.push(caller);
  }
}

/** What one send holds, until each of its slots has its answer. */
interface Flight {
  readonly slots: readonly Slot[];
  readonly driver: Driver;
  readonly until: number;
  attempt: number;
  /** Ends the claim on the slots' keys, where there is one. */
  free: (() => void) | undefined;
  /** Called at the end; absent where the flight is all that was flushed. */
  done: (() => void) | undefined;
}

/** A call that waits for earlier ones for its keys. */
interface Held {
  readonly keys: readonly string[];
  readonly write: boolean;
  start(): void;
}

/** Gathers the commands of one database. */
export class Batch {
  readonly #options: BatchOptions;
  readonly #rights: ReadRights;
  #driver: Driver | undefined;
  #queue: Slot[] = [];
  #reads: Slot | undefined;
  /** The reads by script that others may still join. */
  readonly #looks = new Map<ReadScript, Slot>();
  /** Keys written since the first of the reads that others may join. */
  #written = new Set<string>();
  #scheduled = false;
  #quiet = 0;
  #turns = 0;
  #added = 0;
  #seen = 0;
  /** How many commands for a key are under way, where that matters: a write counts a million. */
  readonly #busy = new Map<string, number>();
  #held: Held[] = [];
  /** What is to be repeated. */
  readonly #again = new Set<Slot>();
  #pushed = 0;
  /** Spreads the repetitions of several processes; one for all of this batch's, so that they keep their order. */
  readonly #jitter = 0.5 + Math.random();
  readonly #heldKeys = new Set<string>();
  readonly #loaded = new Set<string>();
  /** What was flushed and still has slots without an answer. */
  readonly #flushed: (readonly Slot[])[] = [];
  /** Told when nothing is under way. */
  #waiting: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer fires, by the clock of deadlines. */
  #alarm = 0;
  /** When it should, by the real one. */
  #due = 0;
  /** Since when the driver's code is loaded. */
  #loading: number | undefined;
  /** Milliseconds that count against no deadline. */
  #excused = 0;
  /** The stalls among them. */
  #stalled = 0;
  /** Whether the store has answered. */
  #warm = false;
  /** Ends the tick when a turn brought nothing new. A property, for it is called as a reaction. */
  readonly #turn = (): void => {
    if (this.#added !== this.#seen) this.#quiet = 0;
    this.#seen = this.#added;
    if (this.#quiet++ < 1 && this.#turns++ < MAX_TURNS) TICK.then(this.#turn);
    else this.#flush();
  };

  /** @param options What the batch needs to know. */
  constructor(options: BatchOptions) {
    this.#options = options;
    this.#rights = options.rights ?? { readBy: "EVAL" };
  }

  /**
   * Reads one key, and its keyspace's clock.
   *
   * @param reader What to read, and who takes the text or `null`.
   * @param look How, where MGET does not do; the key's PTTL comes with it. Reads of one tick that share the object are one command.
   */
  read(reader: Reader, look?: ReadScript): void {
    const { physical: key, space, timeout } = reader;
    const { epochKey } = space;
    if (this.#busy.size > 0 && this.#conflicts([key, epochKey], false)) {
      this.#holdRead(reader, look);
      return;
    }
    if (look && this.#rights.readBy === "MGET") {
      this.#readPlainly(reader, look, timeout);
      return;
    }
    if (this.#written.size > 0 && (this.#written.has(key) || this.#written.has(epochKey))) {
      // What was written in this tick is not read by a command from before.
      this.#reads = undefined;
      this.#looks.clear();
      this.#written.clear();
    }
    let slot = look ? this.#looks.get(look) : this.#reads;
    if (!slot || slot.timeout !== timeout || slot.keys.length >= MAX_KEYS) {
      slot = this.#push(new Slot("read", timeout, true, look));
      if (look) {
        this.#looks.set(look, slot);
        slot.readOnly = this.#rights.readBy === "EVAL_RO";
      } else this.#reads = slot;
    }
    slot.ask(key, reader, epochKey);
    this.#added++;
  }

  #holdRead(reader: Reader, look: ReadScript | undefined): void {
    const { physical, space, timeout } = reader;
    const held = this.#hold([physical, space.epochKey], false, timeout, (left) => {
      return new Promise<Parameters<Caller["resolve"]>>((resolve, reject) => {
        this.read({ physical, space, timeout: left, resolve: (...reply) => resolve(reply), reject }, look);
      });
    });
    held.then(
      (reply) => reader.resolve(...reply),
      (error) => reader.reject(error),
    );
  }

  /**
   * Deletes keys.
   *
   * @param keys The physical keys, at least one.
   * @param timeout Milliseconds until the promise rejects.
   * @returns How many were there.
   */
  async unlink(keys: readonly string[], timeout: number): Promise<number> {
    if (keys.length > MAX_KEYS) {
      const [first, rest] = [keys.slice(0, MAX_KEYS), keys.slice(MAX_KEYS)];
      const counts = await Promise.all([this.unlink(first, timeout), this.unlink(rest, timeout)]);
      return counts[0] + counts[1];
    }
    if (this.#conflicts(keys, true)) return this.#hold(keys, true, timeout, (left) => this.unlink(keys, left));
    const last = this.#queue.at(-1);
    const joins =
      last?.kind === "delete" &&
      last.timeout === timeout &&
      last.keys.length + keys.length <= MAX_KEYS &&
      this.#driver?.capabilities.scripts === true;
    const slot = joins ? last : this.#push(new Slot("delete", timeout));
    return (await this.#add(slot, keys)) as number;
  }

  /**
   * Sends one command.
   *
   * @param command The command.
   * @param keys The physical keys that it touches.
   * @param timeout Milliseconds until the promise rejects.
   * @param idempotent Whether it may be sent again when nobody knows whether it was executed.
   * @returns Its reply. Rejects with the store's error.
   */
  send(command: Command, keys: readonly string[], timeout: number, idempotent: boolean): Promise<Reply> {
    if (this.#conflicts(keys, true)) {
      return this.#hold(keys, true, timeout, (left) => this.send(command, keys, left, idempotent));
    }
    const slot = this.#push(new Slot("other", timeout, idempotent));
    slot.command = command;
    return this.#add(slot, keys);
  }

  /**
   * Runs a script: EVALSHA once the store knows it, EVAL before.
   *
   * @param script The script.
   * @param keys The physical keys.
   * @param args The arguments.
   * @param timeout Milliseconds until the promise rejects.
   * @param idempotent As for {@linkcode Batch.send}.
   * @param also Further keys of the script, whose order does not matter.
   * @returns Its reply. Rejects with the store's error.
   */
  run(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
    timeout: number,
    idempotent: boolean,
    also?: readonly string[],
  ): Promise<Reply> {
    if (this.#conflicts(keys, true)) {
      return this.#hold(keys, true, timeout, (left) => this.run(script, keys, args, left, idempotent, also));
    }
    const slot = this.#push(new Slot("other", timeout, idempotent));
    slot.script = script;
    slot.also = also;
    slot.command = [script.name, ...args];
    return this.#add(slot, keys);
  }

  #push(slot: Slot): Slot {
    slot.order = this.#pushed++;
    this.#queue.push(slot);
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.#quiet = this.#turns = 0;
      TICK.then(this.#turn);
    }
    return slot;
  }

  #add(slot: Slot, keys: readonly string[]): Promise<Reply> {
    for (const key of keys) {
      slot.keys.push(key);
      if (this.#reads || this.#looks.size > 0) this.#written.add(key);
    }
    slot.ends.push(slot.keys.length);
    this.#added++;
    return new Promise((resolve, reject) => {
      slot.callers.push({ resolve, reject });
    });
  }

  #conflicts(keys: readonly string[], write: boolean): boolean {
    if (this.#busy.size === 0) return false;
    return keys.some((key) => this.#heldKeys.has(key) || (this.#busy.get(key) ?? 0) >= (write ? 1 : WRITE));
  }

  /** The clock of deadlines: milliseconds, but for those that count against none. */
  #clock(): number {
    const now = performance.now();
    if (this.#loading === undefined) return now - this.#excused;
    return Math.max(this.#loading, now - LONGEST_LOAD) - this.#excused;
  }

  /** The driver is open, or cannot be opened: the clock goes on from where it stood. */
  #opened(): void {
    if (this.#loading === undefined) return;
    const now = performance.now();
    this.#excused += Math.min(now - this.#loading, LONGEST_LOAD);
    this.#loading = undefined;
    // No part of that is a stall as well.
    this.#due = now;
  }

  /** Calls back when a deadline is over. Answers what cancels that. */
  #after(timeout: number, over: () => void): () => void {
    const until = this.#clock() + timeout;
    const look = (): void => {
      const left = until - this.#clock();
      if (left > STEP) timer = setTimeout(look, left);
      else over();
    };
    let timer = setTimeout(look, timeout);
    return () => clearTimeout(timer);
  }

  /** Starts the call when its keys are free, or rejects at its deadline. */
  #hold<T>(keys: readonly string[], write: boolean, timeout: number, call: (left: number) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let until = this.#clock() + timeout;
      const cancel = this.#after(timeout, () => {
        // Timers may fire a little early; its caller was told, so it must not be sent any more.
        until = 0;
        reject(late(timeout));
      });
      const start = (): void => {
        cancel();
        const left = until - this.#clock();
        if (left > 0) call(left).then(resolve, reject);
        else reject(late(timeout));
      };
      this.#park({ keys, write, start });
    });
  }

  #park(held: Held): void {
    this.#held.push(held);
    for (const key of held.keys) this.#heldKeys.add(key);
  }

  #flush(): void {
    const { breaker, onLeave } = this.#options;
    onLeave?.();
    const slots = this.#queue;
    this.#queue = [];
    this.#reads = undefined;
    if (this.#looks.size > 0) this.#looks.clear();
    if (this.#written.size > 0) this.#written.clear();
    this.#scheduled = false;
    this.#flushed.push(slots);
    if (breaker && !breaker.allows()) {
      this.#land(slots, breaker.error());
      return;
    }
    const until = this.#watch(slots);
    try {
      const opened = this.#options.driver();
      if (!(opened instanceof Promise)) {
        this.#dispatch(slots, opened, until);
        return;
      }
      if (this.#options.loads) this.#loading ??= performance.now();
      // Whether the wire keeps the order is known when it is open.
      const release = this.#occupy(slots);
      opened.then(
        (driver) => {
          this.#opened();
          this.#dispatch(slots, driver, until, release);
        },
        (error) => {
          this.#opened();
          breaker?.fail(toStoreError(error));
          this.#land(slots, error);
          release();
        },
      );
    } catch (error) {
      this.#land(slots, error);
    }
  }

  /** All slots of a flush have their answer, or get the error. */
  #land(slots: readonly Slot[], error?: unknown): void {
    if (error) failAll(slots, error);
    const last = this.#flushed.pop() as readonly Slot[];
    if (last !== slots) this.#flushed[this.#flushed.indexOf(slots)] = last;
    if (this.#flushed.length > 0) return;
    // No caller waits, so the timer must not keep the process alive. The next call finds it set.
    if (AT_EDGE || !unref(this.#timer)) this.#disarm();
    if (this.#scheduled || this.#waiting.length === 0) return;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Sees to it that no caller waits longer than it wants to; answers when the last one stops waiting. */
  #watch(slots: readonly Slot[]): number {
    const now = this.#clock();
    let first = Number.POSITIVE_INFINITY;
    let last = 0;
    for (const slot of slots) {
      slot.until = now + slot.timeout;
      if (slot.until < first) first = slot.until;
      if (slot.until > last) last = slot.until;
    }
    if (this.#timer === undefined || this.#alarm > first) this.#arm(first, now);
    else if (this.#flushed.length === 1) (this.#timer as { ref?(): void }).ref?.();
    return last;
  }

  #arm(alarm: number, now: number): void {
    this.#disarm();
    this.#alarm = alarm;
    // The sum of now and the longest time is rounded, perhaps up.
    const delay = Math.min(alarm - now, this.#warm ? LONGEST_TIMER : STEP);
    this.#due = performance.now() + delay;
    this.#timer = setTimeout(this.#ring, delay);
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #ring = (): void => {
    this.#timer = undefined;
    if (!this.#warm && this.#loading === undefined) this.#excuse(performance.now() - this.#due);
    const now = this.#clock();
    let next = Number.POSITIVE_INFINITY;
    for (const slots of this.#flushed) {
      let last: Slot | undefined;
      let waits = false;
      for (const slot of slots) {
        if (slot.settled) continue;
        if (slot.until > now) {
          waits = true;
          next = Math.min(next, slot.until);
        } else {
          last = slot;
          slot.fail(late(slot.timeout));
        }
      }
      // A wire may give up much later, as one does that is being opened. Of a short deadline nothing follows.
      if (last && !waits && last.timeout >= 100)
        this.#options.breaker?.fail(late(last.timeout), last.until - last.timeout + this.#excused);
    }
    if (next < Number.POSITIVE_INFINITY) this.#arm(next, now);
  };

  /** The process did not run for so long: what came meanwhile is looked at before anything is given up. */
  #excuse(stall: number): void {
    if (stall < STEP || this.#stalled >= LONGEST_STALL) return;
    this.#stalled += stall;
    this.#excused += stall;
  }

  /** Resolves when nothing is under way, at the latest after `timeout` ms. */
  async idle(timeout: number): Promise<void> {
    if (!this.#scheduled && this.#flushed.length === 0) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push(this.#after(timeout, resolve), resolve);
    });
  }

  #dispatch(slots: readonly Slot[], driver: Driver, until: number, release?: () => void): void {
    this.#driver = driver;
    const { ordered } = driver.capabilities;
    const parts = this.#split(slots, driver);
    const flight = (part: readonly Slot[]): Flight => ({
      slots: part,
      driver,
      until,
      attempt: 1,
      free: ordered ? undefined : this.#occupy(part),
      done: undefined,
    });
    if (parts[0] === slots) {
      const only = flight(slots);
      release?.();
      this.#fly(only, slots);
    } else {
      const flights = parts.map(flight);
      release?.();
      this.#flyAll(flights, ordered).then(() => this.#land(slots));
    }
  }

  /** Parts leave together; on a wire that keeps no order, not before earlier ones for their keys are back. */
  async #flyAll(flights: readonly Flight[], ordered: boolean): Promise<void> {
    let flying: Promise<void>[] = [];
    const taken = new Set<string>();
    for (const flight of flights) {
      const { slots } = flight;
      if (!ordered) {
        if (slots.some((slot) => slot.keys.some((key) => taken.has(key)))) {
          await Promise.all(flying);
          flying = [];
          taken.clear();
        }
        for (const slot of slots) for (const key of slot.keys) taken.add(key);
      }
      flying.push(
        new Promise((done) => {
          flight.done = done;
          this.#fly(flight, slots);
        }),
      );
    }
    await Promise.all(flying);
  }

  /** Sends a flight's slots, or those that are left of them. Never throws. */
  #fly(flight: Flight, slots: readonly Slot[]): void {
    const { database, wire, breaker, sends } = this.#options;
    const sent = performance.now();
    const fail = (error: unknown): void => {
      const failure = toStoreError(error);
      // When nobody waits any more, that was counted.
      if (slots.some((slot) => !slot.settled || slot.timeout < 100)) breaker?.fail(failure, sent);
      this.#settle(
        flight,
        slots,
        slots.map(() => failure),
      );
    };
    try {
      const timeout = flight.until - this.#clock();
      // Nobody waits any more, and all were told that it failed.
      if (timeout <= 0) throw new StoreError("timeout", "the deadline passed before the driver was open");
      const commands = this.#render(slots);
      wire.commands += commands.length;
      wire.roundTrips++;
      const { driver } = flight;
      const options: SendOptions = this.#warm
        ? { timeout: Math.max(1, timeout) }
        : { timeout: Math.max(1, timeout), waiting: () => slots.some((slot) => !slot.settled) };
      const replies = driver.send(database, commands, options);
      replies.then((answered) => {
        this.#warm = true;
        breaker?.succeed();
        this.#settle(flight, slots, answered);
      }, fail);
      if (sends?.active) sends.emit({ driver: driver.name, database, commands, replies });
    } catch (error) {
      fail(error);
    }
  }

  /** Hands out the replies, and sends again what may be repeated. Never throws. */
  #settle(flight: Flight, slots: readonly Slot[], replies: readonly Reply[]): void {
    try {
      let again: Slot[] | undefined;
      let cause: StoreError | undefined;
      for (let i = 0; i < slots.length; i++) {
        const slot = slots[i] as Slot;
        const reply = replies[i] ?? null;
        if (reply instanceof Error && this.#mayRepeat(slot, reply, flight.attempt <= this.#options.retries)) {
          again ??= [];
          again.push(slot);
          cause = reply;
          if (reply.code !== "NOSCRIPT") this.#again.add(slot);
        } else if (slot.idempotent && again?.some((other) => other.reloaded && other.precedes(slot))) {
          // What follows a script that the store had forgotten is repeated behind it.
          again.push(slot);
        } else if (slot.kind === "read" && cause && isDenial(cause) && again?.some((other) => other.precedes(slot))) {
          // A replica answers reads, but not with what it refused to write before.
          again.push(slot);
        } else {
          slot.over = true;
          if (this.#again.size > 0) this.#again.delete(slot);
          if (!(reply instanceof Error)) this.#executed(slot);
          else if (slot.readScript && !slot.settled && isForbidden(reply)) this.#askForLess(slot, slot.readScript);
          slot.settle(reply);
        }
      }
      if (!again || !cause) {
        this.#end(flight);
        return;
      }
      for (const slot of again) slot.sent = false;
      flight.free ??= this.#occupy(again);
      this.#pause(again, flight.attempt++, cause, flight.until).then(
        (left) => (left.length > 0 ? this.#fly(flight, left) : this.#end(flight)),
        (error) => this.#end(flight, error),
      );
    } catch (error) {
      this.#end(flight, error);
    }
  }

  #end(flight: Flight, error?: unknown): void {
    if (error) failAll(flight.slots, error);
    if (this.#again.size > 0) for (const slot of flight.slots) this.#again.delete(slot);
    flight.free?.();
    if (flight.done) flight.done();
    else this.#land(flight.slots);
  }

  /** Reads again by what a user with fewer rights may run. */
  #askForLess(slot: Slot, look: ReadScript): void {
    slot.settled = true;
    const readers = slot.callers as Reader[];
    const left = Math.max(1, slot.until - this.#clock());
    if (slot.readOnly) {
      for (const reader of readers) this.#readPlainly(reader, look, left);
      return;
    }
    const again = this.#push(new Slot("read", left, true, look));
    again.readOnly = true;
    for (const reader of readers) again.ask(reader.physical, reader, look.epochKey);
    this.#added++;
  }

  /**
   * Does by commands what the script does that reads. Marks are asked for in a second round trip, for what is older
   * than the last invalidation: what is invalidated in between is a miss.
   */
  #readPlainly(reader: Reader, { args: [marks, , headsOnly] }: ReadScript, timeout: number): void {
    const { physical, space } = reader;
    const until = this.#clock() + timeout;
    const send = (...command: Command): Promise<Reply> =>
      this.send(command, [physical], Math.max(1, until - this.#clock()), true);
    Promise.all([send("MGET", physical, space.epochKey), send("PTTL", physical)])
      .then(async ([found, left]) => {
        const [there = null, clock = null] = found as Reply[];
        // What is there and no text has a TTL, or none.
        let text = there ?? (headsOnly && left !== -2 ? "0" : null);
        const [, born, tags] = /^{"born":(\d+),"tags":\[([^\]]+)/.exec(`${text}`) ?? [];
        const [seq, , first] = `${clock}`.split(" ");
        if (tags && !first && Number(born) < Number(seq)) {
          const keys = tags.split(",").map((tag) => marks + tag.slice(1, -1));
          // A tag without a mark invalidates.
          if (((await send("MGET", ...keys)) as Reply[]).some((mark) => !mark || Number(mark) > Number(born)))
            text = null;
        }
        this.#rights.readBy = "MGET";
        reader.resolve(text, clock, left);
      })
      .catch((error) => reader.reject(error));
  }

  #executed(done: Slot): void {
    if (done.script) this.#loaded.add(done.script.sha1);
    if (done.readOnly) this.#rights.readBy = "EVAL_RO";
    if (this.#again.size === 0) return;
    for (const slot of this.#again) if (slot.precedes(done)) slot.overtaken = true;
  }

  /** Waits before the slots are sent again, and answers those that may still be. */
  async #pause(again: readonly Slot[], attempt: number, cause: StoreError, until: number): Promise<readonly Slot[]> {
    const { wire, onRetry } = this.#options;
    const forgotten = cause.code === "NOSCRIPT";
    // The driver has left a server that is not the primary any more.
    const atOnce = forgotten || (attempt === 1 && (cause.kind === "connection" || cause.code === "READONLY"));
    const pause = atOnce ? 0 : 15 * 2 ** attempt * this.#jitter;
    const inTime = this.#clock() + pause < until;
    // Even without a pause, what else was lost with the connection gets to know it first.
    if (inTime && !forgotten) await new Promise((resolve) => setTimeout(resolve, pause));
    const slots: Slot[] = [];
    for (const slot of again) {
      if (inTime && !this.#overtaken(slot)) {
        slots.push(slot);
      } else {
        slot.over = true;
        this.#again.delete(slot);
        slot.fail(cause);
      }
    }
    if (slots.length > 0) {
      wire.retries += slots.length;
      onRetry(attempt, slots.length, cause);
    }
    return slots;
  }

  /** Whether a later command for one of the slot's keys was executed, or will be before the slot could be. */
  #overtaken(slot: Slot): boolean {
    if (slot.overtaken || !this.#again.has(slot)) return slot.overtaken;
    for (const slots of this.#flushed) {
      if (slots.some((other) => other.sent && !other.over && slot.precedes(other))) return true;
    }
    return false;
  }

  #mayRepeat(slot: Slot, error: StoreError, more: boolean): boolean {
    if (error.code === "NOSCRIPT" && slot.script && !slot.reloaded) {
      slot.reloaded = true;
      this.#loaded.delete(slot.script.sha1);
      return true;
    }
    if (!more || this.#options.breaker?.state === "open") return false;
    return error.repeat === "all" || (error.repeat === "idempotent" && slot.idempotent);
  }

  #render(slots: readonly Slot[]): Command[] {
    let fresh: Set<string> | undefined;
    return slots.map((slot) => {
      slot.sent = true;
      const { keys } = slot;
      const { readScript } = slot;
      if (slot.kind === "read" && !readScript) return ["MGET", ...keys, ...(slot.epochKeys as string[])];
      if (readScript) slot.script = readScript.script;
      if (slot.kind === "delete") {
        if (slot.ends.length === 1) return ["UNLINK", ...keys];
        slot.script = unlinkEach;
      }
      if (!slot.script) return slot.command as Command;
      const { sha1, lua } = slot.script;
      fresh ??= new Set();
      const known = this.#loaded.has(sha1) || fresh.has(sha1);
      fresh.add(sha1);
      const args = readScript?.args ?? slot.command?.slice(1) ?? [];
      const all = readScript ? [readScript.epochKey, ...keys] : slot.also ? [...keys, ...slot.also] : keys;
      const name = known ? "EVALSHA" : "EVAL";
      const command: Command = [name, known ? sha1 : lua, all.length, ...all, ...args];
      // What only reads begins no TTL anew: its second argument is 0.
      return slot.readOnly ? [`${name}_RO`, ...command.slice(1, -2), 0, ...command.slice(-1)] : command;
    });
  }

  /** Cuts the slots to what one send may hold. */
  #split(slots: readonly Slot[], driver: Driver): (readonly Slot[])[] {
    const { maxCommands = Number.POSITIVE_INFINITY, maxBytes = Number.POSITIVE_INFINITY } = driver.capabilities;
    if (slots.length <= maxCommands && maxBytes === Number.POSITIVE_INFINITY) return [slots];
    const parts: Slot[][] = [];
    let size = 0;
    for (const slot of slots) {
      const bytes = jsonBytes(slot) + 2;
      if (bytes > maxBytes) {
        slot.fail(new StoreError("limit", `a command of ${bytes} bytes is too large: the store takes ${maxBytes}`));
        continue;
      }
      const part = parts.at(-1);
      if (part && part.length < maxCommands && size + bytes <= maxBytes) {
        part.push(slot);
        size += bytes;
      } else {
        parts.push([slot]);
        size = bytes + 2;
      }
    }
    return parts;
  }

  /** Marks the slots' keys as busy, until the function that it answers is called. */
  #occupy(slots: readonly Slot[]): () => void {
    const count = (sign: number): void => {
      for (const { keys, kind } of slots) {
        for (const key of keys) {
          const busy = (this.#busy.get(key) ?? 0) + sign * (kind === "read" ? 1 : WRITE);
          if (busy === 0) this.#busy.delete(key);
          else this.#busy.set(key, busy);
        }
      }
    };
    count(1);
    return () => {
      count(-1);
      const held = this.#held;
      if (held.length === 0) return;
      this.#held = [];
      this.#heldKeys.clear();
      for (const call of held) {
        if (this.#conflicts(call.keys, call.write)) this.#park(call);
        else call.start();
      }
    };
  }
}

function late(timeout: number): StoreError {
  return new StoreError("timeout", `no answer within ${Math.round(timeout)} ms`);
}

function failAll(slots: readonly Slot[], error: unknown): void {
  const failure = toStoreError(error);
  for (const slot of slots) slot.fail(failure);
}

/** The bytes of a slot's command as JSON, at the least exact and at the most a little over. */
function jsonBytes(slot: Slot): number {
  const { script = slot.readScript?.script, also, epochKeys, readScript } = slot;
  let bytes = 2 + (script ? script.lua.length * 2 : 20);
  for (const text of [...slot.keys, ...(also ?? epochKeys ?? [])]) bytes += textBytes(text);
  if (readScript) for (const arg of readScript.args) bytes += textBytes(String(arg));
  if (slot.command) for (const arg of slot.command) bytes += typeof arg === "string" ? textBytes(arg) : 26;
  return bytes;
}

function textBytes(text: string): number {
  // Short texts are counted at their worst, six bytes a character, rather than read.
  return text.length < 100 ? text.length * 6 + 3 : new TextEncoder().encode(JSON.stringify(text)).length + 1;
}
