/** The longest time that loading code may take before the clock goes on, in milliseconds. */
const LONGEST_LOAD = 30_000;

/**
 * The clock of deadlines for drivers whose code is loaded when they are opened. It stands still while the code loads,
 * because that time says nothing about the store.
 */
export class LoadClock {
  /** The moment when the code began to load, while it does. */
  #since: number | undefined;
  /** The milliseconds for which the clock stood still before. */
  #excused = 0;

  /** Returns monotonic milliseconds. */
  now(): number {
    const now = performance.now();
    return Math.max(this.#since ?? now, now - LONGEST_LOAD) - this.#excused;
  }

  /** Stops the clock until the promise settles. */
  pauseFor(loading: Promise<unknown>): void {
    if (this.#since !== undefined) return;
    this.#since = performance.now();
    const goOn = (): void => {
      const stopped = this.now();
      this.#since = undefined;
      this.#excused += this.now() - stopped;
    };
    loading.then(goOn, goOn);
  }
}
