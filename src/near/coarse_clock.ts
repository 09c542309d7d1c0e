import { unref } from "../base/timers.ts";

/**
 * The number of calls that get one time. A loop over hits never yields to the event loop, so the time must advance
 * without it.
 */
const CALLS = 256;

/**
 * Makes a clock that reads another one once per event-loop turn, because reading a clock costs more than a near hit. It
 * would stand still in runtimes whose timers end with their request.
 *
 * @param now The clock, in milliseconds.
 * @returns A clock that lags by a millisecond, or by the rest of a longer turn, but never by more than 255 calls.
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
