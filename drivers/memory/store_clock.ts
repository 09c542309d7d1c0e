import { CLOCK_SKEW_MS } from "../../src/base/own_keys.ts";

/**
 * The drift between the two clocks, in milliseconds, beyond which moments follow the system clock. A clock drifts while
 * it is slowed down or hurried to agree with a time server. Up to there, moments are returned exactly as they were
 * given.
 */
const DRIFT = 50;

/**
 * The time of the embedded store, also while the system clock is set back and forward:
 *
 * - `now` never goes back. Next to `Date.now`, a monotonic clock measures elapsed time, so setting the clock back
 *   changes nothing. If the system clock is ahead of it, that time has elapsed too, because the monotonic clock may
 *   stand still while the machine sleeps.
 * - `wall` is the time of the system clock, for moments that callers give and read.
 * - An injected clock is the only clock. Each step forward is elapsed time. After a step back by more than a second the
 *   elapsed time is unknown. While the clock throws or returns anything but a number, time stands still.
 */
export class StoreClock {
  /** The store's own time in whole milliseconds. */
  now = 0;
  /** The time in whole milliseconds since 1970. */
  wall = 0;
  readonly #clock: (() => number) | undefined;
  /** The milliseconds by which the system clock was set back. */
  #back = 0;
  /** The milliseconds that the monotonic clock lacks. */
  #lacks = 0;
  /** The difference between `wall` and `now`. */
  #apart = 0;

  /** @param clock Returns milliseconds since 1970. @default Date.now with a monotonic clock */
  constructor(clock?: () => number) {
    // Date.now is looked up at each call, because tests replace it.
    this.#clock = clock === Date.now ? undefined : clock;
  }

  /** Reads the clock. Returns false if the elapsed time is unknown. */
  read(): boolean {
    const alone = this.#clock !== undefined;
    const monotonic = alone ? 0 : performance.now();
    this.wall = alone ? this.#injected() : Math.floor(Date.now());
    const ahead = this.wall + this.#back - (monotonic + this.#lacks);
    if (ahead > 0) this.#lacks += ahead;
    // With a monotonic clock, smaller steps back do no harm, and rounding makes small ones.
    else if (ahead < (alone ? 0 : -CLOCK_SKEW_MS)) this.#back -= ahead;
    this.now = Math.floor(monotonic + this.#lacks);
    const apart = this.wall - this.now;
    if (alone || Math.abs(apart - this.#apart) > DRIFT) this.#apart = apart;
    this.wall = this.now + this.#apart;
    return !alone || ahead >= -CLOCK_SKEW_MS;
  }

  #injected(): number {
    try {
      const time = Math.floor((this.#clock as () => number)());
      return Number.isFinite(time) ? time : this.wall;
    } catch {
      return this.wall;
    }
  }
}
