/**
 * The read-through engine: what `getOrSet` does after its read.
 *
 * - One load a key is under way in a process; its value and its error go to all who wait. It is as old as the clock was
 *   before it: whoever has seen a later invalidation does not join it, and what it stores does not hold.
 * - What is handed out is what a hit would hand out: the schema's output.
 * - What is written, deleted or cleared meanwhile in this process takes the load's right to store its value; with a lock, what
 *   other processes write or delete does too.
 * - An entry that is kept beyond its TTL is served at once while it is stale, and instead of an error while it is fail-safe.
 * - A loader that takes longer than its hard timeout is aborted and forgotten: it blocks nobody, and stores nothing.
 */
import { checkFunction } from "../base/check.ts";
import { CacheTimeoutError } from "../base/errors.ts";
import type { Ttl } from "../base/ttl.ts";
import type { Signal } from "../base/web_types.ts";
import { type LoadOptions, type Policy, policyOf } from "../config/policy.ts";
import type { Id } from "../entry/keyspace.ts";
import { type LoadReason, placeOf } from "../telemetry/events.ts";
import { type CallOptions, failed, handOver, throws, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";
import { awaitTurn, type Turn } from "./load_lock.ts";
import type { Load } from "./loads.ts";
import { count, Read } from "./read.ts";
import { type Entry, entryOf, type Origin, outputOf, save, withEntry } from "./write.ts";

/** What a loader is told, and what it may say of its value. */
export interface LoadContext<Out = unknown> {
  /** Aborted when nobody waits for the value any more: at the hard timeout. */
  readonly signal: Signal;
  /** The old value, where one is kept. */
  readonly old: Out | undefined;
  /** Set it to give the value a TTL of its own. */
  ttl: Ttl | undefined;
  /** Add to it to tag the value. */
  readonly tags: string[];
  /** Set it to `false` to hand the value out without storing it. */
  store: boolean;
}

/** A loader of any type. */
export type AnyLoader = (context: LoadContext<never>) => unknown;

/** The read of a `getOrSet`. */
export class ReadThrough extends Read {
  readonly loader: AnyLoader;
  readonly policy: Policy;
  readonly #done: (value: unknown) => void;
  #decided: (() => void) | undefined;

  constructor(
    context: CacheContext,
    id: Id,
    key: string,
    options: (CallOptions & LoadOptions) | undefined,
    loader: AnyLoader,
    done: (value: unknown) => void,
    refuse: (error: unknown) => void,
    decided?: () => void,
  ) {
    super(context, id, key, options, refuse);
    this.policy = policyOf(context.policy, options, true);
    checkFunction(loader, "a loader");
    this.loader = loader;
    this.#done = done;
    this.#decided = decided;
    this.mark = context.near?.begin();
  }

  protected override get wantsOld(): boolean {
    return true;
  }

  /** Whether there is an old value for when the loader fails. */
  get kept(): boolean {
    return this.state === "old" && this.value !== undefined && this.age < this.policy.failSafeFor;
  }

  /** For how long its TTL has been over, in milliseconds; below 0 while it is fresh. */
  get age(): number {
    const { at = 0, ttl = 0 } = this.document ?? {};
    const age = this.context.now() - at - ttl;
    // An old one from the future, for a clock was set back, is over all the same.
    return this.state === "old" ? Math.max(0, age) : age;
  }

  /** Called when it is known whether its own loader runs for it: at once or, where it waits for a lock, later. */
  decided(): void {
    this.#decided?.();
    this.#decided = undefined;
  }

  override reject(error: unknown): void {
    super.reject(error);
    if (throws(this.context, this.options)) this.decided();
  }

  protected override end(): void {
    const { state, policy, value } = this;
    if (state === "fresh") {
      count(this, true);
      const { load } = this.document ?? {};
      // XFetch: an entry seems older by a random share of what its load takes.
      if (load && policy.earlyRefresh > 0 && this.age - load * policy.earlyRefresh * Math.log(Math.random()) >= 0) {
        this.#refresh("early");
      }
      this.decided();
      this.#done(value);
    } else if (state === "old" && value !== undefined && this.age < policy.staleFor) {
      count(this, true, true);
      this.#refresh("stale");
      this.decided();
      this.#done(value);
    } else {
      count(this, false);
      const load = begin(this, "miss");
      if (this.kept) orKept(this, load).then(this.#done, this.refuse);
      else load.promise.then(this.#done, this.refuse);
    }
  }

  #refresh(reason: LoadReason): void {
    const { loads, space } = this.context;
    const running = loads.get(space.key(this.key));
    const load = begin(this, reason);
    if (load !== running)
      handOver(
        this.context,
        load.promise.catch(() => {}),
      );
  }
}

/** The load that is under way for a key, or a new one. */
function begin(read: ReadThrough, reason: LoadReason): Load {
  const { context, clock } = read;
  const { loads, space } = context;
  const key = space.key(read.key);
  const running = loads.get(key);
  if (running) {
    // A later invalidation may concern it: its loader may still give it tags.
    if (running.epoch.seq >= clock.seq) {
      read.decided();
      return running;
    }
    running.superseded = true;
  }
  const load: { -readonly [N in keyof Load]: Load[N] } = { promise: NEVER, epoch: clock, superseded: false };
  loads.set(key, load);
  load.promise = run(read, key, load, reason);
  load.promise.catch(() => {});
  return load;
}

const NEVER: Promise<unknown> = new Promise(() => {});

/** Waits for a load, for no longer than the soft timeout, and not for its error: then the old value serves. */
async function orKept(read: ReadThrough, { promise }: Load): Promise<unknown> {
  const { softTimeout } = read.policy;
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    if (softTimeout === Number.POSITIVE_INFINITY) return await promise;
    const late = new Promise<typeof LATE>((resolve) => {
      timer = setTimeout(() => resolve(LATE), softTimeout);
    });
    const first = await Promise.race([promise, late]);
    if (first !== LATE) return first;
    handOver(
      read.context,
      promise.catch(() => {}),
    );
  } catch {
    // Whoever started the load has told of it.
  } finally {
    clearTimeout(timer);
  }
  const { counters, events, target } = read.context;
  counters.staleHits++;
  if (events.active) events.emit({ type: "hit", key: read.key, stale: true, ...target });
  return read.value;
}

const LATE = Symbol();

/** Runs a load: waits for its turn, loads, writes. It is under way until its value is written, though its callers may go on before. */
async function run(read: ReadThrough, key: string, load: Load, reason: LoadReason): Promise<unknown> {
  const { context, policy, options } = read;
  const { events, loads, target, waitUntil } = context;
  let start = performance.now();
  // With a store that is away, the write has what the read has left of the deadline.
  const timeout = timeoutOf(context, options);
  const left = read.failed ? timeout - (start - read.start) : timeout;
  const locks = left >= 1 ? policy.lock : undefined;
  let turn: Turn = {};
  let writing: Promise<unknown> | undefined;
  try {
    if (locks) turn = await awaitTurn(read, locks, reason === "early");
    if (turn.found) return turn.found.value;
    start = performance.now();
    context.counters.loads++;
    events.emit({ type: "load-start", key: read.key, reason, ...target });
    const tell = (error: unknown): never => {
      const duration = performance.now() - start;
      const kept = read.kept || reason !== "miss";
      events.emit({ type: "load-error", key: read.key, duration, error, kept, ...target });
      throw error;
    };
    const { value, said } = await call(read, load).catch(tell);
    const duration = performance.now() - start;
    const worth = value !== undefined || policy.negativeTtl > 0;
    const stored = said.store && worth && !load.superseded && left >= 1;
    const { token } = turn;
    const origin: Origin = {
      load: duration,
      tags: said.tags,
      born: read.clock.seq,
      ...(token !== undefined && { token }),
    };
    let lives = policy;
    let output = value;
    let entry: Entry | Promise<Entry> | undefined;
    try {
      if (said.ttl !== undefined) lives = policyOf(policy, { ttl: said.ttl });
      if (value !== undefined) output = outputOf(context, value, stored);
      if (output instanceof Promise) output = await output;
      if (stored) entry = entryOf(context, read.id, read.key, value, lives, origin, true);
      if (entry instanceof Promise) entry = entry.catch(tell);
    } catch (error) {
      tell(error);
    }
    events.emit({ type: "load-end", key: read.key, duration, stored, ...target });
    if (!entry) return output;
    writing = withEntry(context, entry, async (made) => {
      if (load.superseded) return;
      // The write gives the lock up: a renewal behind it would find it lost.
      turn.stop?.();
      try {
        if (await save(context, read.key, made, lives, origin, left)) context.counters.writes++;
        turn.release = undefined;
      } catch (error) {
        failed(context, "set", error, options);
      }
    });
    if (!waitUntil) await writing;
    return output;
  } finally {
    read.decided();
    const end = async (): Promise<void> => {
      await writing?.catch(() => {});
      if (loads.get(key) === load) loads.delete(key);
      turn.stop?.();
      await turn.release?.();
    };
    handOver(context, end());
  }
}

/** What a loader gave. */
interface Loaded {
  readonly value: unknown;
  readonly said: LoadContext<never>;
}

/** Calls the loader, and waits for it as long as the hard timeout allows. */
async function call(read: ReadThrough, load: Load): Promise<Loaded> {
  const { hardTimeout } = read.policy;
  const control = new AbortController();
  const said: LoadContext<never> = {
    signal: control.signal,
    old: (read.state === "old" ? read.value : undefined) as undefined,
    ttl: undefined,
    tags: [],
    store: true,
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const loading = read.loader(said);
    read.decided();
    if (hardTimeout === Number.POSITIVE_INFINITY) return { value: await loading, said };
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const place = placeOf(read.context.target);
        const error = new CacheTimeoutError(`the loader of ${place} took longer than ${hardTimeout} ms`);
        load.superseded = true;
        reject(error);
        control.abort(error);
      }, hardTimeout);
    });
    return { value: await Promise.race([loading, late]), said };
  } finally {
    read.decided();
    clearTimeout(timer);
  }
}
