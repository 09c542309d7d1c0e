/** The lock of `getOrSet` in the store: one process loads a key, the others wait for its value. */
import type { Reply } from "../../drivers/driver.ts";
import { LONGEST_TIMER } from "../base/ttl.ts";
import type { Policy } from "../config/policy.ts";
import type { Epoch } from "../entry/keyspace.ts";
import { acquire, hold } from "../lua/entries.ts";
import { emit, report } from "./call.ts";
import type { CacheContext, CallDefaults, Host, Lane } from "./context.ts";
import { type Found, judge } from "./read.ts";

/** The first and the longest pause between two attempts to take a lock that another process holds, in milliseconds. */
const PAUSES = { first: 20, longest: 250 };

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
  const { batch, space, now } = context;
  const { key } = read;
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
      if (!atOnce) await sleep(Math.min(nextPause(pause) * (0.75 + Math.random() / 2), until - performance.now()));
    }
    if (atOnce) {
      passed = stopwatch(context);
      await batch.send(["SET", lock, token, "PX", ms], [lock], timeout, true);
    }
  } catch (error) {
    report(context, "lock", error);
    return { turn: { epoch } };
  }
  const { stop } = renew(context, key, lock, token, ms, passed);
  return { turn: { epoch, token, stop, release: () => giveUp(context, lock, token) } };
}

/** Returns the pause after a pause, before it is varied at random. */
export function nextPause(pause: number): number {
  return Math.min(pause ? pause * 1.5 : PAUSES.first, PAUSES.longest);
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
export function renew(
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
export function giveUp({ batch, timeout }: Lane & CallDefaults, lock: string, token: string): Promise<unknown> {
  return batch.run(hold, [lock], [token, 0], timeout, true).catch(() => {});
}

/** Limits the TTL of a lock to what a timer can wait. */
export function lockTtl(ttl: number): number {
  return Math.min(ttl, LONGEST_TIMER);
}

/** Waits for some milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
