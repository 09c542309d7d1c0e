/** Promises and iterables that end at a stop. */

/**
 * Waits for a promise or for a stop.
 *
 * @param promise The promise.
 * @param signal The signal of the stop.
 * @returns The value of the promise.
 * @throws {Error} The signal's reason.
 */
export function untilStopped<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** Yields the items of an iterable until a stop, even while the next item is awaited. */
export async function* stoppable<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void, void> {
  const iterator = items[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value } = await untilStopped(iterator.next(), signal);
      if (done) return;
      yield value;
    }
  } finally {
    // Not awaited, because the iterator may be waiting for input.
    iterator.return?.()?.catch(() => {});
  }
}
