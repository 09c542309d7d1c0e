/** A step back that is larger is no jitter, in milliseconds. Processes of one store agree as far. */
const JITTER = 1000;
/**
 * By how much the two clocks may drift apart, in milliseconds, until moments follow the system clock: one of them is
 * slowed down or hurried to agree with a time server. Up to there a moment is told exactly as it was given.
 */
const DRIFT = 50;

/**
 * The embedded store's time. A system clock is set back and forward while the store lives by it:
 *
 * - `now` is never set back. Beside `Date.now` a monotonic clock tells how much time went by, so that a clock that was
 *   set back changes nothing. What the system clock is ahead of it has gone by as well: while a machine sleeps, the
 *   monotonic clock may stand still.
 * - `wall` is what the system clock says: for moments that callers give and are told.
 * - An injected clock is alone: each step forward is time that went by. After a step back by more than a second nobody
 *   knows how much did. While it throws or answers no number, time stands still.
 */
export class StoreClock {
  /** The store's own time in whole milliseconds. */
  now = 0;
  /** The time in whole milliseconds since 1970. */
  wall = 0;
  readonly #clock: (() => number) | undefined;
  /** What the system clock was set back by. */
  #back = 0;
  /** What the monotonic clock lacks. */
  #lacks = 0;
  /** The wall's time less the store's own. */
  #apart = 0;

  /** @param clock Milliseconds since 1970. @default Date.now, with a monotonic clock beside it */
  constructor(clock?: () => number) {
    // Asked for by its name each time, for tests put another in its place.
    this.#clock = clock === Date.now ? undefined : clock;
  }

  /** Looks at the clock. Answers `false` where it does not tell how much time went by. */
  look(): boolean {
    const alone = this.#clock !== undefined;
    const monotonic = alone ? 0 : performance.now();
    this.wall = alone ? this.#injected() : Math.floor(Date.now());
    const ahead = this.wall + this.#back - (monotonic + this.#lacks);
    if (ahead > 0) this.#lacks += ahead;
    // Beside a monotonic clock what is set back by less does no harm, and rounding is no step.
    else if (ahead < (alone ? 0 : -JITTER)) this.#back -= ahead;
    this.now = Math.floor(monotonic + this.#lacks);
    const apart = this.wall - this.now;
    if (alone || Math.abs(apart - this.#apart) > DRIFT) this.#apart = apart;
    this.wall = this.now + this.#apart;
    return !alone || ahead >= -JITTER;
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
