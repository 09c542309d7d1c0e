/** Locks in the store: for loads, and for whoever asks. */
import type { Reply } from "../../drivers/driver.ts";
import { LONGEST_TIMER } from "../base/ttl.ts";
import type { Policy } from "../config/policy.ts";
import { acquire, hold } from "../lua/entries.ts";
import { report, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";
import { Look, type Read } from "./read.ts";

/** The first and the longest pause between two looks at a lock that another holds, in milliseconds. */
const PAUSES = { first: 20, longest: 250 };

/** What waiting for a turn came to: the value of another's load, the lock, or neither. */
export interface Turn {
  readonly found?: Read;
  readonly token?: string;
  /** Ends the renewal. */
  readonly stop?: () => void;
  /** Gives the lock up. */
  release?: (() => Promise<unknown>) | undefined;
}

/**
 * Waits until another's load has stored its value, or it is this one's turn to load.
 *
 * @param read The read that found no fresh value, or one to renew.
 * @param lock How long the lock lasts, and how long to wait before it is taken from who has it, whose value is not stored then.
 * @param atOnce Whether it is taken from whoever has it without a wait: there is a fresh value, to be renewed.
 * @returns The read that found the value; or the lock; or nothing, when the store is away: then the loader runs without a lock.
 */
export async function awaitTurn(
  read: Read & { decided(): void },
  { ttl, wait }: NonNullable<Policy["lock"]>,
  atOnce: boolean,
): Promise<Turn> {
  const { context, key, options } = read;
  const { space, batch, events, target } = context;
  const token = crypto.randomUUID();
  const ms = lasting(ttl);
  const lock = space.lock(key);
  const timeout = timeoutOf(context, options);
  const until = performance.now() + wait;
  // What stands there and is no value, of another schema, version or key of encryption, is not waited for.
  let useless = read.state === "none" ? read.text : null;
  let passed = stopwatch(context);
  try {
    for (let pause = 0; !atOnce; pause = next(pause)) {
      passed = stopwatch(context);
      const also = [space.key(key), space.epochKey];
      const args = [token, ms, space.marksPrefix, Math.floor(context.now()), ...(useless === null ? [] : [useless])];
      const reply = (await batch.run(acquire, [lock], args, timeout, true, also)) as readonly Reply[];
      const [taken, clock, text = null, left = -1] = reply;
      read.clock = space.noteEpoch(clock);
      if (taken === 1) break;
      if (text !== null) {
        const found = await look(context, key, [text, clock ?? null, left]);
        if (found.state === "fresh") return { found };
        if (found.state === "none") useless = found.text;
      }
      if (pause === 0) events.emit({ type: "lock-wait", key, ...target });
      read.decided();
      atOnce = performance.now() >= until;
      if (!atOnce) await sleep(Math.min(next(pause) * (0.75 + Math.random() / 2), until - performance.now()));
    }
    if (atOnce) {
      passed = stopwatch(context);
      await batch.send(["SET", lock, token, "PX", ms], [lock], timeout, true);
    }
  } catch (error) {
    report(context, "lock", error);
    return {};
  }
  const { stop } = renew(context, key, lock, token, ms, passed);
  return { token, stop, release: () => giveUp(context, lock, token) };
}

export function next(pause: number): number {
  return Math.min(pause ? pause * 1.5 : PAUSES.first, PAUSES.longest);
}

/** What a reply is worth. */
function look(context: CacheContext, key: string, reply: readonly [Reply, Reply, Reply]): Promise<Read> {
  return new Promise((resolve, reject) => {
    new Look(context, key, { operation: "getOrSet", value: true }, resolve, reject).resolve(...reply);
  });
}

/**
 * How many milliseconds went by since it was made. While a machine sleeps the monotonic clock may stand still: then the
 * other one tells.
 */
export function stopwatch({ now }: CacheContext): () => number {
  const [monotonic, wall] = [performance.now(), now()];
  return () => Math.max(performance.now() - monotonic, now() - wall);
}

/**
 * Holds a lock until `stop` is called. It is lost when the store says so, and when its time is over since the last
 * renewal that the store confirmed was sent: after a pause of the process this is known at once, without asking a store
 * that may be away.
 *
 * @param context What the cache stands on.
 * @param key The logical key, for the event.
 * @param lock The lock's key.
 * @param token Whose it is.
 * @param ms How long it lasts.
 * @param passed The time since it was asked for.
 * @param lost Called when it is lost.
 * @returns `stop` ends the renewal; `look` looks at the time.
 */
export function renew(
  context: CacheContext,
  key: string,
  lock: string,
  token: string,
  ms: number,
  passed: () => number,
  lost?: () => void,
): { stop(): void; look(): void } {
  const { batch, events, target, timeout } = context;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let state: "held" | "lost" | "given up" = "held";
  const end = (how: "lost" | "given up"): void => {
    if (state !== "held") return;
    state = how;
    clearTimeout(timer);
    if (how === "given up") return;
    events.emit({ type: "lock-lost", key, ...target });
    lost?.();
  };
  const look = (): void => {
    if (passed() >= ms) end("lost");
  };
  const arm = (): void => {
    timer = setTimeout(beat, Math.max(0, Math.min(ms / 3, ms - passed())));
  };
  const beat = (): void => {
    look();
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
  return { stop: () => end("given up"), look };
}

export function giveUp({ batch, timeout }: CacheContext, lock: string, token: string): Promise<unknown> {
  return batch.run(hold, [lock], [token, 0], timeout, true).catch(() => {});
}

export function lasting(ttl: number): number {
  return Math.min(ttl, LONGEST_TIMER);
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
