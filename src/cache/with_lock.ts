import { checkFunction, checkNames, describe } from "../base/check.ts";
import { CacheLockError } from "../base/errors.ts";
import { parseTtl, type Ttl } from "../base/ttl.ts";
import type { Signal } from "../base/web_types.ts";
import { take } from "../lua/locks.ts";
import { type CallOptions, emit, report, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";
import { giveUpLock, lockTtl, nextPause, renewLock, stopwatch, waitAfter } from "./renew_lock.ts";

/** Options of {@linkcode Cache.withLock}. */
export interface LockOptions extends CallOptions {
  /** After how long a holder that died is replaced. A living holder renews the lock. @default "10s" */
  readonly ttl?: Ttl;
  /** The longest wait for the lock; `false` for none. @default "10s" */
  readonly wait?: Ttl | false;
}

/** A lock that is held. */
export interface Lock {
  /**
   * The fencing token: higher than that of every earlier holder of this lock. A system that refuses lower
   * tokens than it has seen is safe from the late writes of a holder that was delayed.
   */
  readonly token: number;
  /**
   * Aborted when the lock is lost, so that another process may hold it by now: the store said so, or the TTL has passed
   * since the last renewal that the store confirmed. Each read of `aborted` checks the time.
   */
  readonly signal: Signal;
}

/**
 * Runs a function while no other caller holds the lock of a key.
 *
 * @param context The parts of the cache.
 * @param key The logical key.
 * @param run The function.
 * @param options How long the lock lasts and how long to wait.
 * @returns The function's result.
 * @throws {CacheLockError} If the lock could not be taken in time.
 * @throws {StoreError} If the store is away: the function did not run.
 */
export async function withLock<T>(
  context: CacheContext,
  key: string,
  run: (lock: Lock) => T | Promise<T>,
  options: LockOptions = {},
): Promise<T> {
  const { batch, policy } = context;
  const space = context.space.of(key);
  checkFunction(run, "the function of withLock");
  checkNames(options, ["wait", "ttl", "timeout", "onError"], "withLock");
  const span = (ttl: Ttl, what: string): number => parseTtl(ttl, what, policy.classes) ?? Number.POSITIVE_INFINITY;
  const ms = lockTtl(span(options.ttl ?? "10s", "lock ttl"));
  const wait = options.wait === false ? 0 : span(options.wait ?? "10s", "wait");
  const timeout = timeoutOf(context, options);
  const lock = space.own(`held:${key}`);
  const id = crypto.randomUUID();
  const until = performance.now() + wait;
  let fence = 0;
  let passed: () => number;
  for (let pause = 0; ; pause = nextPause(pause)) {
    passed = stopwatch(context);
    try {
      fence = Number(await batch.run(take, [lock], [id, ms], timeout, true, [space.own("fence")]));
    } catch (error) {
      throw report(context, "withLock", error);
    }
    if (fence > 0) break;
    if (pause === 0) emit(context, { type: "lock-wait", key });
    if (performance.now() >= until) {
      throw new CacheLockError(`Cannot lock ${describe(key)}: not free within ${Math.round(wait)} ms`);
    }
    await waitAfter(pause, until);
  }
  const control = new AbortController();
  const { signal } = control;
  const { stop, check } = renewLock(context, key, lock, id, ms, passed, () => {
    control.abort(new CacheLockError(`Lost the lock of ${describe(key)}: it was not renewed within ${ms} ms`));
  });
  // After a pause of the process, the function may run on before the timer that would abort the signal.
  const aborted = (): boolean => {
    check();
    return Reflect.get(AbortSignal.prototype, "aborted", signal);
  };
  const throwIfAborted = (): void => {
    if (aborted()) throw signal.reason;
  };
  Object.defineProperties(signal, { aborted: { get: aborted }, throwIfAborted: { value: throwIfAborted } });
  try {
    return await run({ token: fence, signal });
  } finally {
    stop();
    await giveUpLock(context, lock, id);
  }
}
