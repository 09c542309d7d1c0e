/** A sliding window keeps enough frames of the past to know its own beginning; their number does not grow with time. */

/** A frame: anything with a time. */
export interface Timed {
  /** The time in milliseconds. */
  readonly at: number;
}

/** The number of steps in which the beginning of a window moves. */
const STEPS = 30;

/** The frames that one window begins with, now and later. */
export class SlidingWindow<F extends Timed> {
  readonly #length: number;
  readonly #step: number;
  #frames: F[] = [];

  /**
   * Creates a window.
   *
   * @param length The length, in milliseconds.
   * @param interval The time between frames, in milliseconds.
   */
  constructor(length: number, interval: number) {
    this.#length = length;
    this.#step = Math.max(interval, length / STEPS);
  }

  /** The number of frames that are kept. */
  get size(): number {
    return this.#frames.length;
  }

  /** Keeps a frame, unless the last one is newer than a step. */
  push(frame: F): void {
    // After a clock was set back, frames of the future are useless.
    this.#frames = this.#frames.filter(({ at }) => at <= frame.at);
    const last = this.#frames.at(-1);
    // Timers fire a little early or late.
    if (last && frame.at - last.at < this.#step * 0.9) return;
    this.#frames.push(frame);
    // The window begins with the newest frame that is older than the window.
    while (this.#frames.length > 2 && (this.#frames[1] as F).at <= frame.at - this.#length) this.#frames.shift();
  }

  /** Returns the frame that the window begins with: the newest that is old enough, otherwise the oldest. */
  start(now: number): F | undefined {
    const found = this.#frames.findLast(({ at }) => at <= now - this.#length);
    return found ?? this.#frames[0];
  }
}
