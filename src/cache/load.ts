/**
 * The read-through engine: what `getOrSet` does after its read.
 *
 * - A process runs one load a key at a time. Its value and its error go to all callers that wait for it.
 * - A load carries the epoch that was read before it started. Callers that have seen a later invalidation do not join
 *   it, and the value that it stores counts as invalidated.
 * - Callers get what a hit would return: the schema's output.
 * - A write, deletion or clearing in this process takes away the load's right to store its value. With a lock, those of
 *   other processes do too.
 * - A stale entry is returned at once, while a load in the background renews it. A fail-safe entry is returned instead
 *   of the loader's error.
 * - A loader that takes longer than its hard timeout is aborted and forgotten. It blocks no caller and stores nothing.
 */

import { checkFunction } from "../base/check.ts";
import { CacheTimeoutError } from "../base/errors.ts";
import type { Ttl } from "../base/ttl.ts";
import type { Signal } from "../base/web_types.ts";
import { type LoadOptions, type Policy, policyOf } from "../config/policy.ts";
import { LONG_LOAD_MS } from "../lua/entries.ts";
import { type LoadReason, targetName } from "../telemetry/events.ts";
import { type CallOptions, emit, handOver, type ReadOptions, timeoutOf } from "./call.ts";
import type { CacheContext, Lane } from "./context.ts";
import type { LockTurn } from "./load_lock.ts";
import type { Load } from "./loads.ts";
import { locksOf } from "./locks_of.ts";
import { type Entry, entryOf, type Origin, outputOf } from "./make_entry.ts";
import { countRead, type Found, type Purpose } from "./read.ts";
import { write } from "./write.ts";

/** The argument of a loader: it has the old value and a signal, and takes the TTL and tags of the new value. */
export interface LoadContext<Out = unknown> {
  /** Aborted at the hard timeout, when no caller waits for the value any more. */
  readonly signal: Signal;
  /** The old value, if one is kept. */
  readonly old: Out | undefined;
  /** Set it to give this value its own TTL. */
  ttl: Ttl | undefined;
  /** Add to it to tag the value. */
  readonly tags: string[];
  /** Set it to `false` to return the value without storing it. */
  store: boolean;
}

/** Options of {@linkcode Cache.getOrSet}. */
export interface GetOrSetOptions extends ReadOptions, LoadOptions {}

/**
 * The result of a load: what a read returns, if that is declared; otherwise what the loader returns. It includes
 * `undefined` if the loader may return that.
 */
export type Loaded<Out, V> = unknown extends Out ? V : undefined extends V ? Out | undefined : Out;

/** A loader of any type. */
export type AnyLoader = (context: LoadContext<never>) => unknown;

/** One `getOrSet`: the purpose of its read, and what follows the read. */
export class GetOrSet implements Purpose {
  // With `declare`, fields are set only once, by the constructor. A hit would pay for setting them twice.
  declare readonly context: CacheContext;
  declare readonly options: CallOptions | undefined;
  declare readonly policy: Policy;
  declare readonly loader: AnyLoader;
  #found: Found | undefined;
  #loadDecided: (() => void) | undefined;

  /**
   * @param context The parts of the cache.
   * @param options How the value is kept fresh and loaded, deadline and error handling.
   * @param loader The loader.
   * @param loadDecided Called once, when it is known whether the loader runs for this key.
   * @throws {TypeError | RangeError} For a bad option or loader.
   */
  constructor(
    context: CacheContext,
    options: GetOrSetOptions | undefined,
    loader: AnyLoader,
    loadDecided?: () => void,
  ) {
    this.context = context;
    this.options = options;
    // Options of another type are refused before their names are checked.
    timeoutOf(context, options);
    this.policy = policyOf(context.policy, options, true);
    checkFunction(loader, "a loader");
    this.loader = loader;
    this.#loadDecided = loadDecided;
  }

  get operation(): string {
    return "get";
  }

  get wanted(): "old" {
    return "old";
  }

  get keeps(): boolean {
    return true;
  }

  /** The outcome of the read. */
  get found(): Found {
    return this.#found as Found;
  }

  /** `true` if an old value may be returned when the loader fails. */
  get kept(): boolean {
    const { state, value } = this.found;
    return state === "old" && value !== undefined && this.age < this.policy.failSafeFor;
  }

  /** The milliseconds since the end of its TTL; below 0 while it is fresh. */
  get age(): number {
    const { document, state } = this.found;
    const { at = 0, ttl = 0 } = document ?? {};
    const age = this.context.now() - at - ttl;
    // After a clock was set back, an entry may carry a future timestamp: treat it as just expired.
    return state === "old" ? Math.max(0, age) : age;
  }

  /** Reports that the loader runs for this key, that it need not run, or that it waits for a lock. */
  loadDecided(): void {
    this.#loadDecided?.();
    this.#loadDecided = undefined;
  }

  end(context: CacheContext, found: Found, resolve: (value: unknown) => void, reject: (error: unknown) => void): void {
    this.#found = found;
    const { policy } = this;
    const { state, value } = found;
    if (state === "fresh") {
      countRead(context, found, true);
      const { load } = found.document ?? {};
      // XFetch: the entry counts as older by a random multiple of the duration of its load.
      if (load && policy.earlyRefresh > 0 && this.age - load * policy.earlyRefresh * Math.log(Math.random()) >= 0) {
        this.#refresh("early");
      }
      this.loadDecided();
      resolve(value);
    } else if (state === "old" && value !== undefined && this.age < policy.staleFor) {
      countRead(context, found, true, true);
      this.#refresh("stale");
      this.loadDecided();
      resolve(value);
    } else {
      countRead(context, found, false);
      const load = begin(this, "miss");
      (this.kept ? orKept(this, load) : load.promise).then(resolve, reject);
    }
  }

  #refresh(reason: LoadReason): void {
    const running = this.context.loads.get(this.found.physical);
    const load = begin(this, reason);
    if (load !== running) handOver(this.context, silent(load.promise));
  }
}

/** Waits for a promise and ignores its error. */
function silent(promise: Promise<unknown>): Promise<unknown> {
  return promise.catch(() => {});
}

/** Returns the load in flight for a key, or starts one. */
function begin(call: GetOrSet, reason: LoadReason): Load {
  const { loads, now } = call.context;
  const { epoch, physical } = call.found;
  const running = loads.get(physical);
  if (running) {
    // A load from before an invalidation is not joined: its loader may still add a tag that was invalidated.
    if (running.epoch.seq >= epoch.seq) {
      call.loadDecided();
      return running;
    }
    running.superseded = true;
  }
  const load: { -readonly [N in keyof Load]: Load[N] } = { promise: NEVER, epoch, began: now(), superseded: false };
  loads.set(physical, load);
  load.promise = run(call, load, reason);
  load.promise.catch(() => {});
  return load;
}

const NEVER: Promise<unknown> = new Promise(() => {});

/** Waits for a load until the soft timeout. After that, and if the load fails, returns the old value. */
async function orKept({ context, policy, found }: GetOrSet, { promise }: Load): Promise<unknown> {
  try {
    const first = await within(promise, policy.softTimeout, (resolve) => resolve(LATE));
    if (first !== LATE) return first;
    handOver(context, silent(promise));
  } catch {
    // The load has reported its error.
  }
  context.counters.staleHits++;
  if (context.events.active) emit(context, { type: "hit", key: found.key, stale: true });
  return found.value;
}

const LATE = Symbol();

/** Waits for a promise. If it takes longer than `ms`, `late` settles the result. */
async function within(
  promise: unknown,
  ms: number,
  late: (resolve: (value: unknown) => void, reject: (error: unknown) => void) => void,
): Promise<unknown> {
  if (ms === Number.POSITIVE_INFINITY) return promise;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise((resolve, reject) => {
    timer = setTimeout(late, ms, resolve, reject);
  });
  try {
    return await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Runs a load: waits for its turn, calls the loader, writes the value. The load is in flight until its value is
 * written, though its callers may get it before.
 */
async function run(call: GetOrSet, load: Load, reason: LoadReason): Promise<unknown> {
  const { context, found, policy, options } = call;
  const { key } = found;
  let start = performance.now();
  // If the store is away, the write has the rest of the read's deadline.
  const timeout = timeoutOf(context, options);
  const left = found.failed ? timeout - (start - found.start) : timeout;
  let turn: LockTurn | undefined;
  let writing: Promise<boolean | undefined> | undefined;
  try {
    if (policy.lock && left >= 1) {
      const request = { ...policy.lock, atOnce: reason === "early", timeout, waiting: () => call.loadDecided() };
      const waited = await locksOf(context).awaitTurn(context, found, request);
      if (waited.found) return waited.found.value;
      turn = waited.turn;
    }
    start = performance.now();
    context.counters.loads++;
    emit(context, { type: "load-start", key, reason });
    const fail = (error: unknown): never => {
      const duration = performance.now() - start;
      emit(context, { type: "load-error", key, duration, error, kept: call.kept || reason !== "miss" });
      throw error;
    };
    const loaded = await callLoader(call, load).catch(fail);
    const duration = performance.now() - start;
    const { output, entry, policy: own, origin } = await prepare(call, load, turn, loaded, duration, left).catch(fail);
    emit(context, { type: "load-end", key, duration, stored: entry !== undefined });
    if (entry === undefined) return output;
    writing = write(context, {
      key,
      entry: entry instanceof Promise ? entry.catch(fail) : entry,
      policy: own,
      origin,
      operation: "set",
      timeout: left,
      options,
      begin() {
        // The write gives up the lock, and a renewal after that would report it as lost.
        if (!load.superseded) turn?.stop?.();
        return !load.superseded;
      },
    });
    if (!context.waitUntil) await writing;
    return output;
  } finally {
    call.loadDecided();
    handOver(context, finish(context, found.physical, load, turn, writing));
  }
}

/** A loader's value, and its argument with what the loader set. */
interface LoaderResult {
  readonly value: unknown;
  readonly argument: LoadContext<never>;
}

/** Calls the loader, and waits for it until the hard timeout. */
async function callLoader(call: GetOrSet, load: Load): Promise<LoaderResult> {
  const { hardTimeout } = call.policy;
  const { state, value } = call.found;
  const control = new AbortController();
  const argument: LoadContext<never> = {
    signal: control.signal,
    old: (state === "old" ? value : undefined) as undefined,
    ttl: undefined,
    tags: [],
    store: true,
  };
  try {
    const loading = call.loader(argument);
    call.loadDecided();
    const value = await within(loading, hardTimeout, (_, reject) => {
      const name = targetName(call.context.target);
      const error = new CacheTimeoutError(`The loader of ${name} took longer than ${hardTimeout} ms`);
      load.superseded = true;
      reject(error);
      control.abort(error);
    });
    return { value, argument };
  } finally {
    call.loadDecided();
  }
}

/** The value that callers get and, if it may be stored, its entry. */
interface Prepared {
  readonly output: unknown;
  /** The policy of the value, with the TTL that the loader set. */
  readonly policy: Policy;
  readonly origin: Origin;
  readonly entry: Entry | Promise<Entry> | undefined;
}

/** Checks a loaded value, and makes its entry if it will be stored. */
async function prepare(
  { context, found, policy }: GetOrSet,
  load: Load,
  turn: LockTurn | undefined,
  { value, argument }: LoaderResult,
  duration: number,
  left: number,
): Promise<Prepared> {
  const { epoch } = turn ?? found;
  const { lastEpoch } = context.space.of(found.key);
  // An epoch was made since and is gone again: what was invalidated in between is not known.
  const lost = epoch !== lastEpoch && epoch.text === null && lastEpoch.text === null;
  const stored =
    argument.store && (value !== undefined || policy.negativeTtl > 0) && !load.superseded && !lost && left >= 1;
  const origin: Origin = {
    load: duration,
    tags: argument.tags,
    // The digits that all epochs of a store have in common, as a number from before them, tell that it lost them.
    born: epoch.seq || (lastEpoch.seq && 1000 + (lastEpoch.seq % 1000)),
    // While a machine sleeps, the monotonic clock may stand still.
    long: Math.max(performance.now() - found.start, context.now() - load.began) >= LONG_LOAD_MS,
    token: turn?.token,
  };
  const own = argument.ttl === undefined ? policy : policyOf(policy, { ttl: argument.ttl });
  const output = value === undefined ? value : await outputOf(context, value, stored);
  const entry = stored ? entryOf(context, found.id, found.key, value, own, origin, true) : undefined;
  return { output, entry, policy: own, origin };
}

/** Ends a load once its value is written, and gives up its lock if the write did not. */
async function finish(
  { loads }: Lane,
  key: string,
  load: Load,
  turn: LockTurn | undefined,
  writing: Promise<boolean | undefined> | undefined,
): Promise<void> {
  const written = await writing?.catch(() => undefined);
  if (loads.get(key) === load) loads.delete(key);
  turn?.stop?.();
  if (written === undefined) await turn?.release?.();
}
