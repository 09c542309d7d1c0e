/**
 * Commands issued in one tick leave in one `send`.
 *
 * - A tick ends when two turns of the microtask queue in a row bring no further command; no timer is involved, so a
 *   caller is never held past its own tick.
 * - Reads join one MGET unless their key was written in between; the same key is asked once. Deletions in a row join one
 *   UNLINK; those of several callers one script, because each is told how many of its own keys were there.
 * - Commands for one key take effect in the order of the calls. A wire that keeps the order of overlapping sends needs no
 *   help; on others a command waits while an earlier one for its key, of which one is a write, is under way. So it does
 *   on every wire while an earlier one is being repeated, and what a later one has overtaken is not repeated any more.
 * - What may be repeated is repeated, within the deadline. After a server forgot its scripts, a script is repeated as EVAL
 *   behind the rest of its batch.
 */
import { type Command, type Driver, type Reply, type Script, StoreError } from "../drivers/driver.ts";
import { toStoreError } from "./errors.ts";
import { unlinkEach } from "./scripts.ts";

/** The most keys of one MGET or UNLINK: longer ones hold up a server's other clients. */
const MAX_KEYS = 1000;
/** Ends a tick that never falls silent. */
const MAX_TURNS = 100;
/** More than the reads that can be under way. */
const WRITE = 1e6;

/** What a batch needs to know. */
export interface BatchOptions {
  /** The database that commands are sent to. */
  readonly database: number;
  /** The driver, opened on the first call. Throws once the client is closed. */
  readonly driver: () => Driver | Promise<Driver>;
  /** How often a command may be repeated. */
  readonly retries: number;
  /** Counters to add to. */
  readonly wire: WireStats;
  /** Told before commands are repeated. */
  readonly onRetry: (attempt: number, commands: number, error: StoreError) => void;
}

/** What went over the wire. */
export interface WireStats {
  /** Commands sent, repeated ones included. */
  commands: number;
  /** Sends: pipelines over TCP, requests over REST. */
  roundTrips: number;
  /** Commands that were sent again. */
  retries: number;
}

type Settle = (reply: Reply) => void;

/** Commands of one kind that leave as one. */
class Slot {
  readonly keys: string[] = [];
  readonly resolve: Settle[] = [];
  readonly reject: ((error: unknown) => void)[] = [];
  readonly kind: "read" | "delete" | "other";
  readonly timeout: number;
  readonly idempotent: boolean;
  /** For "read": the promise for each key. */
  asked: Map<string, Promise<Reply>> | undefined;
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

  constructor(kind: Slot["kind"], timeout: number, idempotent = true) {
    this.kind = kind;
    this.timeout = timeout;
    this.idempotent = idempotent;
  }

  fail(error: StoreError): void {
    for (const reject of this.reject) reject(error);
  }

  /** Whether this one came first, and their order matters. */
  precedes(other: Slot): boolean {
    if (this.order >= other.order || (this.kind === "read" && other.kind === "read")) return false;
    return this.keys.some((key) => other.keys.includes(key));
  }

  settle(reply: Reply): void {
    if (reply instanceof Error) {
      this.fail(reply);
    } else if (this.kind === "read" && this.keys.length > 1) {
      const values = reply as readonly Reply[];
      for (let i = 0; i < this.resolve.length; i++) (this.resolve[i] as Settle)(values[i] ?? null);
    } else if (this.kind === "delete" && this.ends.length > 1) {
      const gone = reply as readonly number[];
      let from = 0;
      this.ends.forEach((end, i) => {
        let count = 0;
        while (from < end) count += gone[from++] ?? 0;
        (this.resolve[i] as Settle)(count);
      });
    } else {
      (this.resolve[0] as Settle)(reply);
    }
  }
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
  #driver: Driver | undefined;
  #queue: Slot[] = [];
  #reads: Slot | undefined;
  /** Keys written since `#reads` began. */
  #written = new Set<string>();
  #scheduled = false;
  #quiet = 0;
  #turns = 0;
  #added = 0;
  #seen = 0;
  /** How many commands for a key are under way, where that matters: a write counts a million. */
  readonly #busy = new Map<string, number>();
  #held: Held[] = [];
  /** What is under way. */
  readonly #flights = new Set<readonly Slot[]>();
  /** What of it is to be repeated. */
  readonly #again = new Set<Slot>();
  #pushed = 0;
  /** Spreads the repetitions of several processes; one for all of this batch's, so that they keep their order. */
  readonly #jitter = 0.5 + Math.random();
  readonly #heldKeys = new Set<string>();
  readonly #loaded = new Set<string>();
  readonly #deliveries = new Set<Promise<void>>();
  readonly #turn = (): void => this.#endTurn();

  /** @param options What the batch needs to know. */
  constructor(options: BatchOptions) {
    this.#options = options;
  }

  /**
   * Reads one key.
   *
   * @param key The physical key.
   * @param timeout Milliseconds until the promise rejects.
   * @returns The text, or `null`.
   */
  get(key: string, timeout: number): Promise<Reply> {
    if (this.#busy.size > 0 && this.#conflicts([key], false)) {
      return this.#hold([key], false, timeout, (left) => this.get(key, left));
    }
    let slot = this.#reads;
    if (!slot || slot.timeout !== timeout || slot.keys.length >= MAX_KEYS || this.#written.has(key)) {
      slot = this.#reads = this.#push(new Slot("read", timeout));
      slot.asked = new Map();
      this.#written.clear();
    }
    const reads = slot;
    const asked = reads.asked as Map<string, Promise<Reply>>;
    const known = asked.get(key);
    if (known) return known;
    const promise = new Promise<Reply>((resolve, reject) => {
      reads.keys.push(key);
      reads.resolve.push(resolve);
      reads.reject.push(reject);
    });
    asked.set(key, promise);
    this.#added++;
    return promise;
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
      this.#driver?.capabilities.scripts !== false;
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
   * @returns Its reply. Rejects with the store's error.
   */
  run(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
    timeout: number,
    idempotent: boolean,
  ): Promise<Reply> {
    if (this.#conflicts(keys, true)) {
      return this.#hold(keys, true, timeout, (left) => this.run(script, keys, args, left, idempotent));
    }
    const slot = this.#push(new Slot("other", timeout, idempotent));
    slot.script = script;
    slot.command = [script.name, ...args];
    return this.#add(slot, keys);
  }

  #push(slot: Slot): Slot {
    slot.order = this.#pushed++;
    this.#queue.push(slot);
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.#quiet = this.#turns = 0;
      queueMicrotask(this.#turn);
    }
    return slot;
  }

  #add(slot: Slot, keys: readonly string[]): Promise<Reply> {
    for (const key of keys) {
      slot.keys.push(key);
      if (this.#reads) this.#written.add(key);
    }
    slot.ends.push(slot.keys.length);
    this.#added++;
    return new Promise((resolve, reject) => {
      slot.resolve.push(resolve);
      slot.reject.push(reject);
    });
  }

  #conflicts(keys: readonly string[], write: boolean): boolean {
    if (this.#busy.size === 0) return false;
    return keys.some((key) => this.#heldKeys.has(key) || (this.#busy.get(key) ?? 0) >= (write ? 1 : WRITE));
  }

  /** Starts the call when its keys are free, or rejects at its deadline. */
  #hold<T>(keys: readonly string[], write: boolean, timeout: number, call: (left: number) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const until = performance.now() + timeout;
      const timer = setTimeout(() => reject(late(timeout)), timeout);
      const start = (): void => {
        clearTimeout(timer);
        const left = until - performance.now();
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

  #endTurn(): void {
    if (this.#added !== this.#seen) this.#quiet = 0;
    this.#seen = this.#added;
    if (this.#quiet++ < 2 && this.#turns++ < MAX_TURNS) queueMicrotask(this.#turn);
    else this.#flush();
  }

  #flush(): void {
    const slots = this.#queue;
    this.#queue = [];
    this.#reads = undefined;
    this.#written.clear();
    this.#scheduled = false;
    const timers: ReturnType<typeof setTimeout>[] = [];
    let longest = 0;
    let armed = -1;
    for (const { timeout } of slots) {
      if (timeout === armed) continue;
      armed = timeout;
      longest = Math.max(longest, timeout);
      timers.push(setTimeout(expire, timeout, slots, timeout));
    }
    const delivery = this.#deliver(slots, performance.now() + longest).then(() => {
      for (const timer of timers) clearTimeout(timer);
      this.#deliveries.delete(delivery);
    });
    this.#deliveries.add(delivery);
  }

  /** Resolves when nothing is under way, at the latest after `timeout` ms. */
  async idle(timeout: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeout);
    });
    let over = false;
    late.then(() => {
      over = true;
    });
    while (!over && (this.#scheduled || this.#deliveries.size > 0)) {
      await (this.#scheduled ? undefined : Promise.race([late, ...this.#deliveries]));
    }
    clearTimeout(timer);
  }

  /** Never rejects. */
  async #deliver(slots: readonly Slot[], until: number): Promise<void> {
    let release: (() => void) | undefined;
    try {
      const opened = this.#options.driver();
      // Whether the wire keeps the order is known when it is open.
      if (opened instanceof Promise) release = this.#occupy(slots);
      const driver = opened instanceof Promise ? await opened : opened;
      this.#driver = driver;
      const { ordered } = driver.capabilities;
      const parts = this.#split(slots, driver).map((part) => ({
        part,
        free: ordered ? undefined : this.#occupy(part),
      }));
      release?.();
      release = undefined;
      let flying: Promise<void>[] = [];
      const taken = new Set<string>();
      for (const { part, free } of parts) {
        if (!ordered && flying.length > 0 && part.some((slot) => slot.keys.some((key) => taken.has(key)))) {
          await Promise.all(flying);
          flying = [];
          taken.clear();
        }
        flying.push(this.#fly(part, driver, until, free));
        if (!ordered) for (const slot of part) for (const key of slot.keys) taken.add(key);
      }
      await Promise.all(flying);
    } catch (error) {
      const failure = toStoreError(error);
      for (const slot of slots) slot.fail(failure);
    } finally {
      release?.();
    }
  }

  /** Sends the slots until each has its answer; `free` ends the claim on their keys, where there is one. Never rejects. */
  async #fly(first: readonly Slot[], driver: Driver, until: number, free: (() => void) | undefined): Promise<void> {
    let slots = first;
    let release = free;
    this.#flights.add(first);
    try {
      for (let attempt = 1; slots.length > 0; attempt++) {
        const replies = await this.#attempt(slots, driver, until);
        const again: Slot[] = [];
        let cause: StoreError | undefined;
        for (let i = 0; i < slots.length; i++) {
          const slot = slots[i] as Slot;
          const reply = replies[i] ?? null;
          if (reply instanceof Error && this.#mayRepeat(slot, reply, attempt <= this.#options.retries)) {
            again.push(slot);
            cause = reply;
            if (reply.code !== "NOSCRIPT") this.#again.add(slot);
          } else {
            slot.over = true;
            this.#again.delete(slot);
            if (!(reply instanceof Error)) this.#executed(slot);
            slot.settle(reply);
          }
        }
        if (!cause) break;
        release ??= this.#occupy(again);
        slots = await this.#pause(again, attempt, cause, until);
      }
    } catch (error) {
      const failure = toStoreError(error);
      for (const slot of slots) slot.fail(failure);
    } finally {
      this.#flights.delete(first);
      for (const slot of slots) this.#again.delete(slot);
      release?.();
    }
  }

  /** One send: a reply for each slot, its error where there is none. */
  async #attempt(slots: readonly Slot[], driver: Driver, until: number): Promise<readonly Reply[]> {
    const { database, wire } = this.#options;
    const timeout = until - performance.now();
    // Nobody waits any more, and all were told that it failed.
    if (timeout <= 0) return slots.map(() => late(0));
    const fresh = new Set<string>();
    const commands = slots.map((slot) => this.#render(slot, fresh));
    wire.commands += commands.length;
    wire.roundTrips++;
    try {
      return await driver.send(database, commands, { timeout: Math.max(1, timeout) });
    } catch (error) {
      const failure = toStoreError(error);
      return slots.map(() => failure);
    }
  }

  #executed(done: Slot): void {
    if (done.script) this.#loaded.add(done.script.sha1);
    for (const slot of this.#again) if (slot.precedes(done)) slot.overtaken = true;
  }

  /** Waits before the slots are sent again, and answers those that may still be. */
  async #pause(again: readonly Slot[], attempt: number, cause: StoreError, until: number): Promise<readonly Slot[]> {
    const { wire, onRetry } = this.#options;
    const forgotten = cause.code === "NOSCRIPT";
    const atOnce = forgotten || (attempt === 1 && cause.kind === "connection");
    const pause = atOnce ? 0 : 15 * 2 ** attempt * this.#jitter;
    const inTime = performance.now() + pause < until;
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
    for (const flight of this.#flights) {
      if (flight.some((other) => !this.#again.has(other) && !other.over && slot.precedes(other))) return true;
    }
    return false;
  }

  #mayRepeat(slot: Slot, error: StoreError, more: boolean): boolean {
    if (error.code === "NOSCRIPT" && slot.script && !slot.reloaded) {
      slot.reloaded = true;
      this.#loaded.delete(slot.script.sha1);
      return true;
    }
    if (!more) return false;
    return error.repeat === "all" || (error.repeat === "idempotent" && slot.idempotent);
  }

  #render(slot: Slot, fresh: Set<string>): Command {
    const { keys } = slot;
    if (slot.kind === "read") return keys.length === 1 ? ["GET", keys[0] as string] : ["MGET", ...keys];
    if (slot.kind === "delete") {
      if (slot.ends.length === 1) return ["UNLINK", ...keys];
      slot.script = unlinkEach;
    }
    if (!slot.script) return slot.command as Command;
    const { sha1, lua } = slot.script;
    const known = this.#loaded.has(sha1) || fresh.has(sha1);
    fresh.add(sha1);
    const args = slot.command?.slice(1) ?? [];
    return [known ? "EVALSHA" : "EVAL", known ? sha1 : lua, keys.length, ...keys, ...args];
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

function expire(slots: readonly Slot[], timeout: number): void {
  const error = late(timeout);
  for (const slot of slots) if (slot.timeout === timeout) slot.fail(error);
}

/** The bytes of a slot's command as JSON, at the least exact and at the most a little over. */
function jsonBytes(slot: Slot): number {
  let bytes = 2 + (slot.script ? slot.script.lua.length + 80 : 20);
  for (const text of slot.keys) bytes += textBytes(text);
  if (slot.command) for (const arg of slot.command) bytes += typeof arg === "string" ? textBytes(arg) : 26;
  return bytes;
}

function textBytes(text: string): number {
  // Short texts are counted at their worst, six bytes a character, rather than read.
  return text.length < 100 ? text.length * 6 + 3 : new TextEncoder().encode(JSON.stringify(text)).length + 1;
}
