import { unref } from "../base/timers.ts";

/** The number of calls that get one time. A loop over hits never ends its turn, so time must go on without that. */
const CALLS = 256;

/**
 * Makes a clock that is read once per event-loop turn, because reading a clock costs more than a near hit. In runtimes
 * whose timers end with a request its time would stand still.
 *
 * @param now The clock, in milliseconds.
 * @returns A clock that lags by a millisecond or by the rest of a longer turn, and by 255 calls at most.
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
    // In a runtime that cannot unref timers, it keeps the process alive for this millisecond.
    unref(timer);
    return time;
  };
}
