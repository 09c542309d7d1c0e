import type { Reply, Script } from "../../drivers/driver.ts";
import { parseTtl, type Ttl } from "../base/ttl.ts";
import { foundOf, type Id, idsOf, type KeyOf, listOf } from "../entry/keyspace.ts";
import { type CacheStats, Counters } from "../telemetry/stats.ts";
import type { CallOptions, ReadOptions } from "./call.ts";
import type { CacheContext } from "./context.ts";
import type { FleetStats } from "./fleet.ts";
import { type IncrementOptions, incrementCounter } from "./increment_counter.ts";
import { type InvalidateOptions, invalidateEntries, invalidateTags } from "./invalidate.ts";
import { limitsOf } from "./limits_of.ts";
import { type AnyLoader, GetOrSet, type GetOrSetOptions, type LoadContext, type Loaded } from "./load.ts";
import { type AnyBatchLoader, getOrSetMany } from "./load_many.ts";
import { locksOf } from "./locks_of.ts";
import type {
  RateCount,
  RateCountOptions,
  RateLimit,
  RateLimitOptions,
  RateLimitResult,
  RateLimits,
  RateLimitsResult,
  RateRequestOptions,
  rateLimits,
} from "./rate_limits.ts";
import { GET, nearHit, peekHead, Read } from "./read.ts";
import { readFleet } from "./read_fleet.ts";
import { runScript } from "./run_script.ts";
import { clearAll, deletePattern, scanKeys } from "./scan.ts";
import { set, setMany, type WriteOptions } from "./set.ts";
import { setExpiry } from "./set_expiry.ts";
import { unlink } from "./unlink.ts";
import { type UpdateOptions, update } from "./update.ts";
import type { Lock, LockOptions } from "./with_lock.ts";

/**
 * The verbs, over one keyspace. A collection is a cache whose keys, schema and TTL are declared.
 *
 * Values are JSON, bytes, and what superjson knows, such as Date, Map, Set, BigInt and URL; `undefined` is a miss. A
 * write throws for a value that would not come back equal: a function, a `Response`, or an instance of a class that is
 * not among the client's `superClasses`. If the store is away, reads return a miss, and writes `false` or 0
 * (`onError: "throw"` throws instead). Bad arguments always throw.
 *
 * @typeParam K The ids.
 * @typeParam Out What reads return.
 * @typeParam In What writes take.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 *
 * await using client = createCacheClient({ driver: "memory" });
 * const cache = client.cache({ database: 9 });
 * await cache.set("greeting", { text: "hello" }, { ttl: "5m" });
 * console.log(await cache.get("greeting")); // { text: "hello" }
 * ```
 */
export class Cache<K extends Id = string, Out = unknown, In = Out> implements RateLimits<K> {
  readonly #context: CacheContext;

  /**
   * Makes a cache; a client calls this.
   *
   * @internal
   * @param context The parts of the cache.
   */
  constructor(context: CacheContext) {
    this.#context = context;
    if (context.policy.lock) locksOf(context);
  }

  /**
   * Reads a value.
   *
   * @typeParam T The value's type, if the collection declares a wider one. It is not checked.
   * @param id The key or id.
   * @param options Deadline and error handling.
   * @returns The value, or `undefined` for a miss.
   * @throws {TypeError} For an id that is empty, too long or of no accepted type.
   */
  get<T extends Out = Out>(id: K, options?: ReadOptions): Promise<NoInfer<T> | undefined> {
    // One promise and no await, because a hit must be short: 500 callers would pay for each 500 times.
    const context = this.#context;
    const near = nearHit(context, id, options);
    if (near) return near as Promise<NoInfer<T> | undefined>;
    // An error thrown in here rejects the promise. The read starts outside, which saves a frame.
    let read: Read | undefined;
    const result = new Promise<NoInfer<T> | undefined>((resolve, reject) => {
      read = new Read(context, id, context.shape.encode(id), options, GET, resolve, reject);
    });
    if (read) context.batch.read(read, context.scripts.values);
    return result;
  }

  /**
   * Reads several values in one round trip.
   *
   * @param ids The keys or ids.
   * @param options Deadline and error handling.
   * @returns The values that exist, by id, in the order of the ids.
   */
  async getMany<T extends Out = Out>(ids: Iterable<K>, options?: ReadOptions): Promise<Map<K, NoInfer<T>>> {
    const list = idsOf(ids);
    return foundOf(list, await Promise.all(list.map((id) => this.get<T>(id, options))));
  }

  /**
   * Writes a value.
   *
   * @param id The key or id.
   * @param value The value; not `undefined`.
   * @param options TTL, deadline and error handling.
   * @returns Whether it was written.
   * @throws {TypeError | RangeError} For a bad id or TTL, or a value that cannot be stored.
   * @throws {CacheSchemaError} For a value that the schema rejects.
   */
  set(id: K, value: In, options?: WriteOptions): Promise<boolean> {
    return set(this.#context, id, value, options);
  }

  /**
   * Writes several values in one round trip. If one of them is bad, nothing is written.
   *
   * @param entries Pairs of id and value: a Map, or an array of pairs.
   * @param options TTL, deadline and error handling.
   * @returns How many were written.
   * @throws {TypeError | RangeError | CacheSchemaError} As {@linkcode Cache.set} does. The message names the entry.
   */
  setMany(entries: Iterable<readonly [K, In]>, options?: WriteOptions): Promise<number> {
    return setMany(this.#context, entries, options);
  }

  /**
   * Reads a value, and on a miss loads and writes it. Callers that miss one key at the same time share one run of the
   * loader, its value and its error. With a schema all of them get its output, as a hit returns it. The late result of
   * a load does not undo a write, deletion or invalidation that came after it started. For a load in another process
   * this holds for invalidations, and for writes and deletions if the collection has `lock`.
   *
   * @param id The key or id.
   * @param loader Returns the value. What it throws is thrown, unless `failSafeFor` kept an old value. `undefined` is
   * returned to the caller, and remembered only with `negativeTtl`. Its argument says when to stop, and takes the
   * value's own TTL and tags.
   * @param options How the value is kept fresh and loaded, deadline of the store's part, and error handling.
   * @returns The value, as a hit would return it.
   * @throws {TypeError | RangeError} For a bad id or option, or a loaded value that cannot be stored.
   * @throws {CacheSchemaError} For a loaded value that the schema rejects, whether it would be stored or not.
   * @throws {CacheTimeoutError} For a loader that took longer than `hardTimeout`.
   */
  getOrSet<V extends In | undefined>(
    id: K,
    loader: (context: LoadContext<Out>) => V | Promise<V>,
    options?: GetOrSetOptions,
  ): Promise<Loaded<Out, V>> {
    const context = this.#context;
    const near = nearHit(context, id, options);
    if (near) return near as Promise<Loaded<Out, V>>;
    let read: Read | undefined;
    const result = new Promise<Loaded<Out, V>>((resolve, reject) => {
      const key = context.shape.encode(id);
      read = new Read(context, id, key, options, new GetOrSet(context, options, loader as AnyLoader), resolve, reject);
    });
    if (read) context.batch.read(read, context.scripts.values);
    return result;
  }

  /**
   * Reads several values, and loads and writes those that are missing. One run of the loader serves all of them, except
   * for keys that another call is loading already.
   *
   * @param ids The keys or ids.
   * @param loader Takes the ids to load and returns a Map of their values by id; ids that it leaves out have no value.
   * Ids of one key are the same id, such as a number and its text. If it leaves ids out while it returns values for ids
   * that were not asked for, the former are not remembered as missing, and a `load-unasked` event reports it.
   * @param options As for {@linkcode Cache.getOrSet}.
   * @returns The values by id, in the order of the ids, without those that have no value.
   * @throws {TypeError} For a loader that returns values for none of the ids; else as {@linkcode Cache.getOrSet} does.
   */
  getOrSetMany<V extends In | undefined, I extends K = K>(
    ids: Iterable<I>,
    loader: (
      ids: I[],
      context: LoadContext<Out>,
    ) => Pick<ReadonlyMap<I, V>, "get"> | Promise<Pick<ReadonlyMap<I, V>, "get">>,
    options?: GetOrSetOptions,
  ): Promise<Map<I, unknown extends Out ? V : Out>> {
    return getOrSetMany(this.#context, ids, loader as AnyBatchLoader, options) as Promise<Map<I, never>>;
  }

  /**
   * Reads, changes and writes a value atomically. If another process writes in between, the change starts again with
   * the new value.
   *
   * @param id The key or id.
   * @param change Returns the new value for the current one (`undefined` for a miss). It may run several times.
   * `undefined` changes nothing.
   * @param options How the value is kept, deadline of each step, error handling, and `attempts`.
   * @returns The value that is stored now, as a read returns it; `undefined` if the store is away.
   * @throws {CacheConflictError} If other writers were faster every time.
   */
  update(
    id: K,
    change: (current: Out | undefined) => In | undefined | Promise<In | undefined>,
    options?: UpdateOptions,
  ): Promise<Out | undefined> {
    return update(this.#context, id, change as (current: unknown) => unknown, options) as Promise<Out | undefined>;
  }

  /**
   * Runs a function while no other process runs one for the same key.
   *
   * @param id The key or id. Its value has nothing to do with the lock.
   * @param run The function. It gets the fencing token, and a signal that is aborted when the lock is lost.
   * @param options How long the lock outlives a dead holder, how long to wait for it, and the deadline of each step.
   * @returns The function's result.
   * @throws {CacheLockError} If the lock could not be taken in time.
   * @throws {StoreError} If the store is away, whatever `onError` says: the function did not run.
   */
  async withLock<T>(id: K, run: (lock: Lock) => T | Promise<T>, options?: LockOptions): Promise<T> {
    return locksOf(this.#context).withLock(this.#context, this.#context.shape.encode(id), run, options);
  }

  /**
   * Makes every entry of this database that has one of the tags a miss, in one round trip. No read that begins after it
   * resolves to `true`, in any process, returns what was loaded before; a server that dies before its replica has the
   * invalidation loses it, unless `confirm` waits for that.
   *
   * @param tags One tag, or several.
   * @param options Deadline and error handling, and whether replicas must have it.
   * @returns Whether the store confirmed it. After `false`, a part of it may have taken it.
   * @throws {TypeError} For a bad tag, for several tags that are not a list, and for `confirm` without TCP.
   */
  invalidateTags(tags: string | readonly string[], options?: InvalidateOptions): Promise<boolean> {
    return invalidateTags(this.#context, tags, options);
  }

  /**
   * Makes every entry a miss, as {@linkcode Cache.invalidateTags} does. Counters, locks and rate limits stay.
   *
   * @param options As there.
   * @returns Whether the store confirmed it.
   */
  invalidateAll(options?: InvalidateOptions): Promise<boolean> {
    return invalidateEntries(this.#context, undefined, options);
  }

  /**
   * Returns whether a key exists, without reading its value.
   *
   * @param id The key or id.
   * @param options Deadline and error handling.
   * @returns Whether it exists.
   */
  async has(id: K, options?: CallOptions): Promise<boolean> {
    const context = this.#context;
    const { state, document } = await peekHead(context, context.shape.encode(id), "has", options);
    return state === "fresh" && document?.none === undefined;
  }

  /**
   * Deletes keys.
   *
   * @param ids One id, or several.
   * @param options Deadline and error handling.
   * @returns How many existed.
   */
  async delete(ids: K | readonly K[], options?: CallOptions): Promise<number> {
    const context = this.#context;
    const keys = listOf(context.shape, ids).map((id) => context.shape.encode(id));
    return keys.length === 0 ? 0 : unlink(context, "delete", keys, options);
  }

  /**
   * Deletes the keys that match a Redis glob: `*`, `?`, `[a-c]`, `[^x]`, `\` before a literal. In a collection it is
   * matched against ids.
   *
   * @param pattern The glob; not empty.
   * @param options Deadline of each step, and error handling.
   * @returns How many were deleted; if the store goes away, until then.
   */
  deletePattern(pattern: string, options?: CallOptions): Promise<number> {
    return deletePattern(this.#context, pattern, options);
  }

  /**
   * Reads the remaining TTL of a key.
   *
   * @param id The key or id.
   * @param options Deadline and error handling.
   * @returns Seconds, with fractions; `"forever"` without expiry; `undefined` for a miss.
   */
  async ttl(id: K, options?: CallOptions): Promise<number | "forever" | undefined> {
    const context = this.#context;
    const { ttls } = context.scripts;
    const { state, document, left } = await peekHead(context, context.shape.encode(id), "ttl", options, ttls);
    if (state !== "fresh" || document?.none || typeof left !== "number") return undefined;
    if (left < 0) return "forever";
    const { at, ttl = 0 } = document ?? {};
    return (at === undefined ? left : Math.min(left, at + ttl - context.now())) / 1000;
  }

  /**
   * Gives a key a new TTL.
   *
   * @param id The key or id.
   * @param ttl The TTL from now on: seconds, a string with a unit, `"default"`, `"short"`, `"long"`, or `"forever"`.
   * @param options Deadline and error handling.
   * @returns Whether the key existed.
   */
  async expire(id: K, ttl: Ttl, options?: CallOptions): Promise<boolean> {
    const context = this.#context;
    const ms = parseTtl(ttl, "ttl", context.policy.classes) ?? 0;
    return Boolean(await setExpiry(context, "expire", id, ms, options));
  }

  /**
   * Removes a key's expiry.
   *
   * @param id The key or id.
   * @param options Deadline and error handling.
   * @returns Whether the key existed and had one.
   */
  async persist(id: K, options?: CallOptions): Promise<boolean> {
    return (await setExpiry(this.#context, "persist", id, 0, options)) === 1;
  }

  /**
   * Adds to a counter, and sets the TTL of a counter that has none, in one atomic step that is never sent twice. If
   * `set` wrote a whole number, the counter goes on from it as long as `get` would return it. Counters have no tags,
   * and no invalidation ends them.
   *
   * @param id The key or id.
   * @param options How much, TTL, deadline and error handling.
   * @returns The count; 0 if the store is away, or if the key holds something else than a whole number.
   * @throws {TypeError | RangeError} For a bad id or option, and for a count beyond 2^53 - 1 or below its negative: the
   * counter stays as it was.
   */
  increment(id: K, options?: IncrementOptions): Promise<number> {
    return incrementCounter(this.#context, id, options);
  }

  /**
   * Counts a request in a window that begins with its first request: see {@linkcode RateLimits.incrementRateLimit}.
   *
   * @param id What to count by. The count has nothing to do with the key's value.
   * @param options Window, amount, deadline, and the answer while the store is away.
   * @returns The count, and when the window ends.
   */
  async incrementRateLimit(id: K, options?: RateCountOptions): Promise<RateCount> {
    return limitsOf<K>(this.#context).incrementRateLimit(id, options);
  }

  /** Gives back what several limits counted, in all of them: see {@linkcode RateLimits.decrementRateLimit}. */
  decrementRateLimit(id: K, limits: readonly RateLimit[], options?: RateRequestOptions): Promise<RateLimitsResult>;
  /** Gives back what a limit counted. */
  decrementRateLimit(id: K, limit: RateLimitOptions): Promise<RateLimitResult>;
  /** Gives back what {@linkcode Cache.incrementRateLimit} counted, never below 0. */
  decrementRateLimit(id: K, options?: RateCountOptions): Promise<RateCount>;
  async decrementRateLimit(id: K, given?: object, options?: object): Promise<never> {
    return limitsOf<K>(this.#context).decrementRateLimit(id, given as never, options) as Promise<never>;
  }

  /**
   * Decides by several limits whether a request may pass: see {@linkcode RateLimits.checkRateLimit}.
   *
   * @param id What to limit by. The counts have nothing to do with the key's value.
   * @param limits 1 to 16 limits that differ.
   * @param options Cost, deadline, and the answer while the store is away.
   * @returns The decision, the limit that decided, and the state of each.
   */
  checkRateLimit(id: K, limits: readonly RateLimit[], options?: RateRequestOptions): Promise<RateLimitsResult>;
  /** Decides by one limit whether a request may pass, and counts it if so. */
  checkRateLimit(id: K, options: RateLimitOptions): Promise<RateLimitResult>;
  async checkRateLimit(id: K, given: object, options?: object): Promise<never> {
    return limitsOf<K>(this.#context).checkRateLimit(id, given as never, options) as Promise<never>;
  }

  /**
   * Forgets what was counted for a key: every count, by every limit, window and algorithm.
   *
   * @param id What was limited.
   * @param options Deadline and error handling.
   * @returns Whether anything was forgotten.
   */
  async resetRateLimit(id: K, options?: CallOptions): Promise<boolean> {
    return limitsOf<K>(this.#context).resetRateLimit(id, options);
  }

  /**
   * Lists the keys, or a collection's ids as text, each once. Ids of several placeholders are objects of texts.
   *
   * @param pattern A glob, as for {@linkcode Cache.deletePattern}. @default "*"
   * @param options Deadline of each step, and error handling.
   * @returns An async iterable; it ends early if the store goes away.
   */
  keys(pattern = "*", options?: CallOptions): AsyncGenerator<KeyOf<K>, void, undefined> {
    return scanKeys(this.#context, pattern, options) as AsyncGenerator<KeyOf<K>, void, undefined>;
  }

  /**
   * Deletes every key of this cache or collection, and no other. For a whole service or database it first invalidates
   * everything in one step, so that no load in flight in another process restores a value. If the store refuses
   * only that step, for example to a user that may not run scripts, the keys are deleted all the same, and an `error`
   * event of `invalidate` reports it.
   *
   * @param options Deadline of each step, and error handling. With `onError: "throw"`, a refusal is thrown once the
   * keys are deleted.
   * @returns How many were deleted.
   */
  clear(options?: CallOptions): Promise<number> {
    return clearAll(this.#context, options);
  }

  /** Returns the statistics of this cache or collection since this client was made. */
  stats(): CacheStats {
    return Counters.total([this.#context.counters]);
  }

  /**
   * Reads the counts of this cache or collection in all processes whose clients have `fleetStats` on.
   *
   * @param options Deadline and error handling.
   * @returns The counts, zeros if no client has `fleetStats` on; `undefined` if the store is away.
   */
  fleetStats(options?: CallOptions): Promise<FleetStats | undefined> {
    return readFleet([this.#context], options);
  }

  /** Makes the verbs of rate limits whose states are keys of this collection, for a service's own. @internal */
  limitsBy(make: typeof rateLimits): RateLimits<K> {
    return make<K>(this.#context, (id) => this.#context.shape.encode(id));
  }

  /**
   * Runs a script on one key, for a service's own atomic verbs.
   *
   * @param script The script; its only key is the id's.
   * @param id The key or id.
   * @param args The script's arguments.
   * @param options Deadline, and `idempotent`: whether the script may be sent again if it is not known whether it ran.
   * @returns The script's reply.
   * @throws {StoreError} Whenever it fails. The verb decides what to return then.
   */
  async run(
    script: Script,
    id: K,
    args: readonly (string | number)[],
    options?: CallOptions & { readonly idempotent?: boolean },
  ): Promise<Reply> {
    return runScript(this.#context, script, this.#context.shape.encode(id), args, options);
  }
}
