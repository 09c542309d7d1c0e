import { LONGEST_TIMER } from "../../src/base/ttl.ts";

/** Waits for a promise that does not reject, but not longer than some milliseconds. It keeps the process alive. */
export async function within(promise: Promise<void> | undefined, patience: number = LONGEST_TIMER): Promise<void> {
  if (!promise) return;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((done) => {
    timer = setTimeout(done, Math.min(Math.max(patience, 0), LONGEST_TIMER));
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
