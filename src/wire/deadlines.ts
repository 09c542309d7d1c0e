/**
 * The deadlines of a batch: one timer for all slots in flight, set to the first deadline among them.
 *
 * At a cold start, deadlines stand still twice: while the driver's code loads (see `load_clock.ts`), and, until
 * the store has answered for the first time, while the process does not get to run. Several processes that start at
 * once compete for the processor, and they would lose calls to that. A timer that fires late shows such a stall. A
 * store that is away does not lengthen deadlines.
 *
 * @module
 */
import { StoreError } from "../../drivers/driver.ts";
import { unref } from "../base/timers.ts";
import { LONGEST_TIMER } from "../base/ttl.ts";
import { AT_EDGE } from "../runtime/edge.ts";
import type { PartBreaker } from "./batch_options.ts";
import type { Slot } from "./slot.ts";

/** The interval at which a stall is looked for, in milliseconds, and the shortest one that counts. */
const STEP = 20;
/** The sum of stalls for which deadlines stand still, in milliseconds. */
const LONGEST_STALL = 5000;

/** The deadlines of the slots in flight. */
export class Deadlines {
  /** True once the store has answered. From then on no stall is excused. */
  warm = false;
  readonly #flushed: readonly (readonly Slot[])[];
  readonly #breakerOf: (slots: readonly Slot[]) => PartBreaker | undefined;
  readonly #clock: { now(): number };
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The moment that the timer is set to. */
  #alarm = 0;
  /** The moment when it should fire, without excused stalls. */
  #due = 0;
  /** The sum of the excused stalls, in milliseconds. */
  #stalled = 0;

  /**
   * @param flushed The slots of each flush in which some have no answer yet.
   * @param breakerOf Returns the breaker that learns of a flush of which all deadlines have passed.
   * @param clock Monotonic milliseconds.
   */
  constructor(
    flushed: readonly (readonly Slot[])[],
    breakerOf: (slots: readonly Slot[]) => PartBreaker | undefined,
    clock: { now(): number },
  ) {
    this.#flushed = flushed;
    this.#breakerOf = breakerOf;
    this.#clock = clock;
  }

  /** True if a caller waits for what is in flight. A server that froze may owe replies long after. */
  get awaited(): boolean {
    return this.#flushed.some((slots) => slots.some(({ settled }) => !settled));
  }

  /** Returns the time in milliseconds, without the excused stalls. */
  now(): number {
    return this.#clock.now() - this.#stalled;
  }

  /** Calls back at a deadline. Returns a function that cancels that. */
  after(timeout: number, over: () => void): () => void {
    const until = this.now() + timeout;
    const check = (): void => {
      const left = until - this.now();
      if (left > STEP) timer = setTimeout(check, left);
      else over();
    };
    let timer = setTimeout(check, timeout);
    return () => clearTimeout(timer);
  }

  /** Rejects the callers of the slots at their deadlines. */
  watch(slots: readonly Slot[]): void {
    const now = this.now();
    let first = Number.POSITIVE_INFINITY;
    for (const slot of slots) {
      const until = now + slot.timeout;
      slot.until = until;
      if (until < first) first = until;
    }
    if (this.#timer === undefined || this.#alarm > first) this.#arm(first, now);
    else (this.#timer as { ref?(): void }).ref?.();
  }

  /** Lets the process end, because no caller waits. */
  rest(): void {
    // The timer stays set where that is possible, because the next call would have to set it again.
    if (AT_EDGE || !unref(this.#timer)) this.#disarm();
  }

  #arm(alarm: number, now: number): void {
    this.#disarm();
    this.#alarm = alarm;
    // A deadline may lie a little more than the longest time of a timer ahead, because its sum was rounded.
    const delay = Math.min(alarm - now, this.warm ? LONGEST_TIMER : STEP);
    this.#due = this.#clock.now() + delay;
    this.#timer = setTimeout(this.#ring, delay);
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  readonly #ring = (): void => {
    this.#timer = undefined;
    const stall = this.#clock.now() - this.#due;
    // Replies that arrived during the stall must be handled before a deadline passes.
    if (!this.warm && stall >= STEP && this.#stalled < LONGEST_STALL) this.#stalled += stall;
    const now = this.now();
    let next = Number.POSITIVE_INFINITY;
    for (const slots of this.#flushed) {
      let late: Slot | undefined;
      let waits = false;
      for (const slot of slots) {
        if (slot.settled) continue;
        if (slot.until > now) {
          waits = true;
          next = Math.min(next, slot.until);
        } else {
          late = slot;
          slot.fail(timeoutError(slot.timeout));
        }
      }
      // The wire may give up much later, for example while it opens. A short deadline says nothing about the store.
      if (late && !waits && late.timeout >= 100)
        this.#breakerOf(slots)?.fail(timeoutError(late.timeout), late.until - late.timeout + performance.now() - now);
    }
    if (next < Number.POSITIVE_INFINITY) this.#arm(next, now);
  };
}

/** Returns the error of a deadline that has passed. */
export function timeoutError(timeout: number): StoreError {
  return new StoreError("timeout", `No answer within ${Math.round(timeout)} ms`);
}
