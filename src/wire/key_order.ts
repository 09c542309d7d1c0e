/**
 * The order of commands for one key, where the wire does not keep it: a command waits while an earlier one for its key
 * is in flight, if one of the two is a write.
 *
 * @module
 */
import type { StoreError } from "../../drivers/driver.ts";
import { type Deadlines, timeoutError } from "./deadlines.ts";
import type { Slot } from "./slot.ts";

/** The weight of a write in flight. A read weighs 1, and the reads in flight never weigh as much as one write. */
const WRITE = 1e6;

/** A call that waits for earlier ones for its keys. */
interface HeldCall {
  readonly keys: readonly string[];
  readonly write: boolean;
  start(): void;
}

/** Holds calls back while earlier ones for their keys are in flight. */
export class KeyOrder {
  readonly #deadlines: Deadlines;
  /** The weight of the commands in flight for each key. */
  readonly #busy = new Map<string, number>();
  #held: HeldCall[] = [];
  readonly #heldKeys = new Set<string>();

  /** @param deadlines The deadlines of calls that are held. */
  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
  }

  /** Returns true if the order of some keys matters now. */
  get busy(): boolean {
    return this.#busy.size > 0;
  }

  /** Returns true if a call for the keys must wait. */
  conflicts(keys: readonly string[], write: boolean): boolean {
    if (this.#busy.size === 0) return false;
    return keys.some((key) => this.#heldKeys.has(key) || (this.#busy.get(key) ?? 0) >= (write ? 1 : WRITE));
  }

  /** Starts a call with the rest of its timeout when its keys are free, or rejects it at its deadline. */
  hold(
    keys: readonly string[],
    write: boolean,
    timeout: number,
    start: (left: number) => void,
    reject: (error: StoreError) => void,
  ): void {
    const until = this.#deadlines.now() + timeout;
    let over = false;
    const fail = (): void => {
      over = true;
      reject(timeoutError(timeout));
    };
    const cancel = this.#deadlines.after(timeout, fail);
    this.#park({
      keys,
      write,
      start: () => {
        // A timer may fire a little early. The caller has its answer then, so nothing may be sent.
        if (over) return;
        cancel();
        const left = until - this.#deadlines.now();
        if (left > 0) start(left);
        else fail();
      },
    });
  }

  /** Claims the keys of the slots. Returns a function that frees them. */
  claim(slots: readonly Slot[]): () => void {
    this.#count(slots, 1);
    return () => {
      this.#count(slots, -1);
      const held = this.#held;
      if (held.length === 0) return;
      this.#held = [];
      this.#heldKeys.clear();
      for (const call of held) {
        if (this.conflicts(call.keys, call.write)) this.#park(call);
        else call.start();
      }
    };
  }

  #count(slots: readonly Slot[], sign: number): void {
    for (const { keys, writes } of slots) {
      for (const key of keys) {
        const busy = (this.#busy.get(key) ?? 0) + sign * (writes ? WRITE : 1);
        if (busy === 0) this.#busy.delete(key);
        else this.#busy.set(key, busy);
      }
    }
  }

  #park(call: HeldCall): void {
    this.#held.push(call);
    for (const key of call.keys) this.#heldKeys.add(key);
  }
}
