/** The lock of `getOrSet` in the store: one process loads a key, the others wait for its value. */
import type { Reply } from "../../drivers/driver.ts";
import type { Policy } from "../config/policy.ts";
import type { Epoch } from "../entry/keyspace.ts";
import { acquire } from "../lua/locks.ts";
import { emit, report } from "./call.ts";
import type { CacheContext } from "./context.ts";
import { type Found, judge } from "./read.ts";
import { giveUpLock, lockTtl, nextPause, renewLock, stopwatch, waitAfter } from "./renew_lock.ts";

/** A turn to load. It has no token if the store is away: then the load runs without a lock. */
export interface LockTurn {
  /** The keyspace's epoch when the turn came. The loaded value carries it. */
  readonly epoch: Epoch;
  readonly token?: string;
  /** Ends the renewal. */
  stop?(): void;
  /** Gives the lock up. */
  release?(): Promise<unknown>;
}

/** The terms on which a caller waits for a turn. */
export interface TurnRequest extends NonNullable<Policy["lock"]> {
  /** Takes the lock over at once instead of waiting, for an early refresh: a fresh value exists. */
  readonly atOnce: boolean;
  readonly timeout: number;
  /** Called when it has to wait. */
  waiting(): void;
}

/**
 * Waits until another process has stored its value, or it is this caller's turn to load.
 *
 * @param context The parts of the cache.
 * @param read The read that found no fresh value, or one to refresh.
 * @param request How long the lock lasts, and how long to wait before it is taken over. Then the value of the process
 * that held it is not stored.
 * @returns The fresh value that another process stored, or else the turn.
 */
export async function awaitTurn(
  context: CacheContext,
  read: Found,
  { ttl, wait, atOnce, timeout, waiting }: TurnRequest,
): Promise<{ readonly turn: LockTurn; readonly found?: Found }> {
  const { batch, now } = context;
  const { key } = read;
  const space = context.space.of(key);
  const token = crypto.randomUUID();
  const ms = lockTtl(ttl);
  const lock = space.lock(key);
  const until = performance.now() + wait;
  let { epoch } = read;
  // An entry that this process cannot use, for example one of another schema, does not end the wait.
  let useless = read.state === "none" ? read.text : null;
  let passed = stopwatch(context);
  try {
    for (let pause = 0; !atOnce; pause = nextPause(pause)) {
      passed = stopwatch(context);
      const also = [read.physical, space.epochKey];
      const args = [token, ms, space.marksPrefix, Math.floor(now()), ...(useless === null ? [] : [useless])];
      const reply = (await batch.run(acquire, [lock], args, timeout, true, also)) as readonly Reply[];
      const [taken, seen, text = null, left = -1] = reply;
      epoch = space.noteEpoch(seen);
      if (taken === 1) break;
      if (text !== null) {
        const found = await judge(context, key, [text, seen ?? null, left]);
        if (found.state === "fresh") return { turn: { epoch }, found };
        if (found.state === "none") useless = found.text;
      }
      if (pause === 0) emit(context, { type: "lock-wait", key });
      waiting();
      atOnce = performance.now() >= until;
      if (!atOnce) await waitAfter(pause, until);
    }
    if (atOnce) {
      passed = stopwatch(context);
      await batch.send(["SET", lock, token, "PX", ms], [lock], timeout, true);
    }
  } catch (error) {
    report(context, "lock", error);
    return { turn: { epoch } };
  }
  const { stop } = renewLock(context, key, lock, token, ms, passed);
  return { turn: { epoch, token, stop, release: () => giveUpLock(context, lock, token) } };
}
