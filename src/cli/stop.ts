/** Waiting that a stop ends. */

/**
 * Waits for a promise, but not beyond a stop.
 *
 * @param promise What to wait for.
 * @param signal Tells of the stop.
 * @returns Its value.
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

/** What an iterable gives until a stop, also where the next item is long in coming. */
export async function* stoppable<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void, void> {
  const iterator = items[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value } = await untilStopped(iterator.next(), signal);
      if (done) return;
      yield value;
    }
  } finally {
    // Not awaited: it may be waiting for input itself.
    iterator.return?.()?.catch(() => {});
  }
}
