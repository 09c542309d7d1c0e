import { unref } from "../base/timers.ts";

/** So many calls get one time: a loop over hits never ends its turn, and without a bound the time would stand still for it. */
const CALLS = 256;

/**
 * Makes a clock that is asked once a turn of the event loop, for asking a clock costs more than a hit. Not for runtimes
 * whose timers end with a request: the time would stand still.
 *
 * @param now The clock, in milliseconds.
 * @returns A clock that is behind by a millisecond, or by the rest of a longer turn, but by no more than 255 calls.
 */
export function coarseClock(now: () => number): () => number {
  let time = 0;
  let left = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const forget = () => {
    left = 0;
  };
  return () => {
    if (left-- > 0) return time;
    left = CALLS - 1;
    time = now();
    clearTimeout(timer);
    timer = setTimeout(forget, 1);
    // Where it cannot be let go, it keeps the process for this millisecond.
    unref(timer);
    return time;
  };
}
