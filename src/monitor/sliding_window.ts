/** Samples of the past, as many as sliding windows need: their number does not grow with time. */

/** What was sampled at a time. */
export interface Timed {
  /** When, in milliseconds. */
  readonly at: number;
}

/** How many samples a window keeps at the most: its edge moves by steps of a thirtieth. */
const SLOTS = 30;

/** The samples that one window begins with, now and later. */
export class SlidingWindow<F extends Timed> {
  readonly #length: number;
  readonly #step: number;
  #frames: F[] = [];

  /**
   * @param length How far it reaches back, in milliseconds.
   * @param interval How often samples come, in milliseconds.
   */
  constructor(length: number, interval: number) {
    this.#length = length;
    this.#step = Math.max(interval, length / SLOTS);
  }

  /** How many samples are kept. */
  get size(): number {
    return this.#frames.length;
  }

  /** Keeps a sample, unless the last one is newer than a step. */
  push(frame: F): void {
    // A clock that was set back: what is later than now is of no use.
    this.#frames = this.#frames.filter(({ at }) => at <= frame.at);
    const last = this.#frames.at(-1);
    // Timers fire a little early or late.
    if (last && frame.at - last.at < this.#step * 0.9) return;
    this.#frames.push(frame);
    // The newest one that is older than the window is where it begins.
    while (this.#frames.length > 2 && (this.#frames[1] as F).at <= frame.at - this.#length) this.#frames.shift();
  }

  /** Where the window that ends now begins: the newest sample that old, or the oldest that there is. */
  start(now: number): F | undefined {
    const found = this.#frames.findLast(({ at }) => at <= now - this.#length);
    return found ?? this.#frames[0];
  }
}
