/**
 * The repetition of commands that failed. A command is not repeated if a later one for its key was executed, or is
 * about to be: it would undo that one.
 *
 * @module
 */
import type { StoreError } from "../../drivers/driver.ts";
import { isForbidden } from "../base/store_error.ts";
import type { BatchOptions } from "./batch_options.ts";
import type { Deadlines } from "./deadlines.ts";
import type { Slot } from "./slot.ts";

/** The slots of a batch that will be repeated. */
export class Repeats extends Set<Slot> {
  readonly #options: BatchOptions;
  readonly #deadlines: Deadlines;
  readonly #flushed: readonly (readonly Slot[])[];
  /** Spreads the repetitions of several processes. One for all of this batch, so that they keep their order. */
  readonly #jitter = 0.5 + Math.random();

  /**
   * @param options The options of the batch.
   * @param deadlines The deadlines of the slots.
   * @param flushed The slots of each flush in which some have no answer yet.
   */
  constructor(options: BatchOptions, deadlines: Deadlines, flushed: readonly (readonly Slot[])[]) {
    super();
    this.#options = options;
    this.#deadlines = deadlines;
    this.#flushed = flushed;
  }

  /** Notes that a command was executed. */
  executed(done: Slot): void {
    if (this.size === 0) return;
    for (const slot of this) if (slot.precedes(done)) slot.overtaken = true;
  }

  /** Waits before slots are sent again. Rejects the callers of those that may not be, and returns the others. */
  async wait(again: readonly Slot[], attempt: number, cause: StoreError, until: number): Promise<readonly Slot[]> {
    const { wire, onRetry, declared } = this.#options;
    const forgotten = cause.code === "NOSCRIPT" || isForbidden(cause);
    // The driver has already left a server that ceased to be the primary.
    const atOnce = forgotten || (attempt === 1 && (cause.kind === "connection" || cause.code === "READONLY"));
    const pause = atOnce ? 0 : 15 * 2 ** attempt * this.#jitter;
    const inTime = this.#deadlines.now() + pause < until;
    // Even without a pause, whatever else was lost with the connection must be known first.
    if (inTime && !forgotten) await new Promise((resolve) => setTimeout(resolve, pause));
    const slots: Slot[] = [];
    for (const slot of again) {
      if (inTime && !this.#isOvertaken(slot)) slots.push(slot);
      else {
        slot.progress = "over";
        this.delete(slot);
        slot.fail(cause);
      }
    }
    if (slots.length > 0) {
      wire.retries += slots.length;
      onRetry(attempt, slots.length, cause);
    }
    await declared?.declare(slots);
    return slots;
  }

  /** Returns true if a later command for a key of the slot was executed, or will be before the slot could be. */
  #isOvertaken(slot: Slot): boolean {
    if (slot.overtaken || !this.has(slot)) return slot.overtaken;
    return this.#flushed.some((slots) => slots.some((other) => other.progress === "sent" && slot.precedes(other)));
  }
}
