/** The shared parts of the locks of `getOrSet` and `withLock`: renewal, and pauses between attempts to take a lock. */
import { LONGEST_TIMER } from "../base/ttl.ts";
import { hold } from "../lua/locks.ts";
import { emit } from "./call.ts";
import type { CacheContext, CallDefaults, Host, Lane } from "./context.ts";

/** The first and the longest pause between two attempts to take a lock that another process holds, in milliseconds. */
const FIRST_PAUSE = 20;
const LONGEST_PAUSE = 250;

/** Returns the pause that follows a pause, in milliseconds. */
export function nextPause(pause: number): number {
  return Math.min(pause ? pause * 1.5 : FIRST_PAUSE, LONGEST_PAUSE);
}

/**
 * Measures the milliseconds since it was made. While a machine sleeps, the monotonic clock may stand still, so the wall
 * clock counts too.
 */
export function stopwatch({ now }: Host): () => number {
  const [monotonic, wall] = [performance.now(), now()];
  return () => Math.max(performance.now() - monotonic, now() - wall);
}

/**
 * Holds a lock until `stop` is called. The lock is lost if the store says so, or if its TTL has passed since the last
 * renewal that the store confirmed. After a pause of the process this is known at once, without a store that may be
 * away.
 *
 * @param context The parts of the cache.
 * @param key The logical key, for the event.
 * @param lock The lock's key.
 * @param token The holder's token.
 * @param ms The lock's TTL.
 * @param passed Measures the time since the lock was asked for.
 * @param lost Called when it is lost.
 * @returns `stop`, which ends the renewal, and `check`, which reports the lock as lost if its time is over.
 */
export function renewLock(
  context: CacheContext,
  key: string,
  lock: string,
  token: string,
  ms: number,
  passed: () => number,
  lost?: () => void,
): { stop(): void; check(): void } {
  const { batch, timeout } = context;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let state: "held" | "lost" | "given up" = "held";
  const end = (how: "lost" | "given up"): void => {
    if (state !== "held") return;
    state = how;
    clearTimeout(timer);
    if (how === "given up") return;
    emit(context, { type: "lock-lost", key });
    lost?.();
  };
  const check = (): void => {
    if (passed() >= ms) end("lost");
  };
  const arm = (): void => {
    timer = setTimeout(beat, Math.max(0, Math.min(ms / 3, ms - passed())));
  };
  const beat = (): void => {
    check();
    if (state !== "held") return;
    arm();
    const since = stopwatch(context);
    batch.run(hold, [lock], [token, ms], timeout, true).then(
      (held) => {
        if (held === 1) passed = since;
        else end("lost");
      },
      () => {},
    );
  };
  arm();
  return { stop: () => end("given up"), check };
}

/** Gives a lock up, if the token still holds it. Never rejects. */
export function giveUpLock({ batch, timeout }: Lane & CallDefaults, lock: string, token: string): Promise<unknown> {
  return batch.run(hold, [lock], [token, 0], timeout, true).catch(() => {});
}

/** Limits the TTL of a lock to what a timer can wait. */
export function lockTtl(ttl: number): number {
  return Math.min(ttl, LONGEST_TIMER);
}

/** Waits for the pause that follows a pause, varied at random, but not beyond the moment `until`. */
export function waitAfter(pause: number, until: number): Promise<void> {
  const ms = Math.min(nextPause(pause) * (0.75 + Math.random() / 2), until - performance.now());
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
