import { unref } from "./timers.ts";

/**
 * Waits for a promise until a deadline.
 *
 * @param promise The promise. What becomes of it after the deadline is ignored.
 * @param timeout The milliseconds to wait.
 * @param late Makes the error of the deadline.
 * @param background True if the process may end in between.
 * @returns What the promise resolves to.
 */
export function inTime<T>(
  promise: Promise<T>,
  timeout: number,
  late: () => Error,
  background: boolean = false,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), timeout);
    if (background) unref(timer);
  });
  return Promise.race([promise, over]).finally(() => clearTimeout(timer));
}
