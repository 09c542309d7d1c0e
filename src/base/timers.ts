/**
 * Lets the process end while a timer is still set.
 *
 * @param timer What `setTimeout` or `setInterval` returned.
 * @returns False if the timers of this runtime cannot do that.
 */
export function unref(timer: unknown): boolean {
  const owner = timer as { unref?(): void } | undefined;
  owner?.unref?.();
  return owner?.unref !== undefined;
}
