import type { Reply, Script } from "../../drivers/driver.ts";
import { checkNames, describe, refuse } from "../base/check.ts";
import { isCacheError } from "../base/errors.ts";
import { isOwnKey } from "../base/own_keys.ts";
import { isStoreError } from "../base/store_error.ts";
import { parseTtl, type Ttl } from "../base/ttl.ts";
import { type EntryOptions, type LoadOptions, policyOf } from "../config/policy.ts";
import { encodeTag, type Id, limitKey, rawKeys } from "../entry/keyspace.ts";
import { EVERYTHING, increment, invalidate, touch } from "../lua/entries.ts";
import { type CacheStats, Counters } from "../telemetry/stats.ts";
import { type CallOptions, failed, type ReadOptions, report, throws, timeoutOf } from "./call.ts";
import { type CacheContext, supersede } from "./context.ts";
import { type FleetStats, fleetStats } from "./fleet.ts";
import { type AnyLoader, type LoadContext, ReadThrough } from "./load.ts";
import { group } from "./load_many.ts";
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
import { Get, Look, type Read } from "./read.ts";
import { type UpdateOptions, update } from "./update.ts";
import { type Lock, type LockOptions, withLock } from "./with_lock.ts";
import { entryOf, save, withEntry } from "./write.ts";

/** Options of writes. */
export interface WriteOptions extends CallOptions, EntryOptions {}

/** Options of {@linkcode Cache.getOrSet}. */
export interface GetOrSetOptions extends ReadOptions, LoadOptions {}

/** Options of {@linkcode Cache.increment}. */
export interface IncrementOptions extends CallOptions {
  /** The TTL of a counter that has none, in the forms of every TTL. @default the collection's, or CACHE_TTL_DEFAULT */
  readonly ttl?: Ttl;
  /** How much to add; a safe integer, negative to subtract. @default 1 */
  readonly by?: number;
}

/**
 * What a load hands out: what a read gives, where that is declared; what the loader gives otherwise, and `undefined`
 * where it may give none.
 */
export type Loaded<Out, V> = unknown extends Out ? V : undefined extends V ? Out | undefined : Out;

/** How many keys a SCAN step looks at. */
const SCAN_COUNT = 1000;

/**
 * The verbs, over one keyspace. A collection is a cache whose keys, schema and TTL are declared.
 *
 * Values are JSON, bytes, and what superjson knows, such as Date, Map, Set, BigInt and URL; `undefined` is a miss. A
 * write of what would not come back equal throws: of a function, a `Response`, or an instance of a class that is not
 * among the client's `superClasses`. With a store that is away, reads answer a miss, writes `false` or 0
 * (`onError: "throw"` throws instead). Bad arguments always throw.
 *
 * @typeParam K The ids.
 * @typeParam Out What reads give.
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
   * Makes a cache; a client does it.
   *
   * @param context What the cache stands on.
   */
  constructor(context: CacheContext) {
    this.#context = context;
  }

  /**
   * Reads a value.
   *
   * @typeParam T The value's type, where the collection declares a wider one. It is not checked.
   * @param id The key or id.
   * @param options Deadline and error handling.
   * @returns The value, or `undefined` for a miss.
   * @throws {TypeError} For an id that is empty, too long or of no accepted type.
   */
  get<T extends Out = Out>(id: K, options?: ReadOptions): Promise<NoInfer<T> | undefined> {
    // One promise and no await: a hit must be short, and 500 callers would pay for each 500 times.
    const near = this.#near(id, options);
    if (near) return near as Promise<NoInfer<T> | undefined>;
    const context = this.#context;
    // What throws in here rejects; the read leaves from outside, a frame nearer to the wire.
    let read: Get | undefined;
    const result = new Promise<NoInfer<T> | undefined>((resolve, reject) => {
      read = new Get(context, id, context.shape.encode(id), options, resolve as (value: unknown) => void, reject);
    });
    if (read) context.batch.read(read, context.readScript);
    return result;
  }

  /**
   * Reads several values in one round trip.
   *
   * @param ids The keys or ids.
   * @param options Deadline and error handling.
   * @returns The values that were there, by id, in the order asked for.
   */
  async getMany<T extends Out = Out>(ids: Iterable<K>, options?: ReadOptions): Promise<Map<K, NoInfer<T>>> {
    const list = [...ids];
    const values = await Promise.all(list.map((id) => this.get<T>(id, options)));
    const found = new Map<K, T>();
    list.forEach((id, i) => {
      const value = values[i];
      if (value !== undefined) found.set(id, value);
    });
    return found;
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
  async set(id: K, value: In, options?: WriteOptions): Promise<boolean> {
    return this.#set("set", id, value, options);
  }

  /**
   * Writes several values in one round trip. Nothing is written when one of them is bad.
   *
   * @param entries Pairs of id and value: a Map, or an array of pairs.
   * @param options TTL, deadline and error handling.
   * @returns How many were written.
   * @throws {TypeError | RangeError | CacheSchemaError} As {@linkcode Cache.set} does; the message says which entry it
   * is about.
   */
  async setMany(entries: Iterable<readonly [K, In]>, options?: WriteOptions): Promise<number> {
    // All entries are made before the first is written: a bad one refuses all.
    const context = this.#context;
    const timeout = timeoutOf(context, options);
    const policy = policyOf(context.policy, options, true);
    const made: { key: string; entry: ReturnType<typeof entryOf> }[] = [];
    if (typeof entries?.[Symbol.iterator] !== "function") {
      refuse(`entries of type ${typeof entries}`, "Maps, and lists of [id, value]");
    }
    for (const pair of entries) {
      let key: string | undefined;
      try {
        if (!Array.isArray(pair)) refuse(`an entry of type ${typeof pair}`, "pairs [id, value]");
        const [id, value] = pair;
        key = context.shape.encode(id);
        stored(value);
        const entry = entryOf(context, id, key, value, policy, {});
        made.push({ key, entry: context.schema && entry instanceof Promise ? await entry : entry });
      } catch (error) {
        throw named(error, `entry ${made.length} of setMany${key === undefined ? "" : `, ${key}`}`);
      }
    }
    const written = await Promise.all(
      made.map(({ key, entry }) =>
        withEntry(context, entry, (ready) => this.#write("setMany", key, ready, policy, timeout, options)),
      ),
    );
    return written.filter(Boolean).length;
  }

  /**
   * Reads a value, and on a miss loads and writes it. Callers that miss one key at the same time share one run of the
   * loader, its value and its error. With a schema all get its output, as a hit gives it. A write, deletion or
   * invalidation meanwhile is not undone by the late result; by a load in another process an invalidation never is, a
   * write or deletion not where the collection has `lock`.
   *
   * @param id The key or id.
   * @param loader Gives the value; what it throws is thrown, unless `failSafeFor` kept an old value. `undefined` is handed out, and remembered only with `negativeTtl`. Its argument
   * tells it when to stop, and takes the value's own TTL and tags.
   * @param options How the value is kept fresh and loaded, deadline of the store's part, and error handling.
   * @returns The value, as a hit would give it.
   * @throws {TypeError | RangeError} For a bad id or option, or a loaded value that cannot be stored.
   * @throws {CacheSchemaError} For a loaded value that the schema rejects, whether it would be stored or not.
   * @throws {CacheTimeoutError} For a loader that took longer than `hardTimeout`.
   */
  getOrSet<V extends In | undefined>(
    id: K,
    loader: (context: LoadContext<Out>) => V | Promise<V>,
    options?: GetOrSetOptions,
  ): Promise<Loaded<Out, V>> {
    type Result = Loaded<Out, V>;
    const near = this.#near(id, options);
    if (near) return near as Promise<Result>;
    const context = this.#context;
    let read: ReadThrough | undefined;
    const result = new Promise<Result>((resolve, reject) => {
      const key = context.shape.encode(id);
      const done = resolve as (value: unknown) => void;
      read = new ReadThrough(context, id, key, options, loader as AnyLoader, done, reject);
    });
    if (read) context.batch.read(read, context.readScript);
    return result;
  }

  /**
   * Reads several values, and loads and writes those that are missing: with one run of the loader for all that no other load is
   * under way for.
   *
   * @param ids The keys or ids.
   * @param loader Takes the ids to load and gives a Map of their values by id, which may be of a wider type; ids that
   * it leaves out have none. Ids of one key are one: text for a number will do. Ids that it gives nothing for, while it
   * gives values for others that were not asked for, are not remembered as missing, and the event `load-unasked` tells.
   * @param options As for {@linkcode Cache.getOrSet}.
   * @returns The values by id, in the order asked for; without those that there are none for.
   * @throws {TypeError} For a loader that gives values, and none of those that it was asked for; else as
   * {@linkcode Cache.getOrSet} does.
   */
  async getOrSetMany<V extends In | undefined, I extends K = K>(
    ids: Iterable<I>,
    loader: (
      ids: I[],
      context: LoadContext<Out>,
    ) => Pick<ReadonlyMap<I, V>, "get"> | Promise<Pick<ReadonlyMap<I, V>, "get">>,
    options?: GetOrSetOptions,
  ): Promise<Map<I, unknown extends Out ? V : Out>> {
    type Result = unknown extends Out ? V : Out;
    const context = this.#context;
    const list = [...new Set(ids)];
    const keys = list.map((id) => context.shape.encode(id));
    const { events, shape, target } = context;
    const loads = group(
      {
        keys,
        encode: (id) => shape.encode(id as I),
        mismatch: (missing, unasked) => events.emit({ type: "load-unasked", missing, unasked, ...target }),
      },
      loader as never,
    );
    const values = await Promise.all(
      list.map((id, i) => {
        const near = this.#near(id, options);
        if (near) loads.decided();
        return (
          near ??
          new Promise((resolve, reject) => {
            const key = keys[i] as string;
            const load = (said: LoadContext<never>) => loads.load(id, said);
            const decided = () => loads.decided();
            context.batch.read(
              new ReadThrough(context, id, key, options, load, resolve, reject, decided),
              context.readScript,
            );
          })
        );
      }),
    );
    const found = new Map<I, Result>();
    list.forEach((id, i) => {
      if (values[i] !== undefined) found.set(id, values[i] as Result);
    });
    return found;
  }

  /**
   * Reads, changes and writes a value atomically: the write takes place only when nobody else wrote in between, else it all
   * begins anew with what stands there then.
   *
   * @param id The key or id.
   * @param change Gives the new value for the current one (`undefined` for a miss); may run several times. `undefined` changes nothing.
   * @param options How the value is kept, deadline of each step, error handling, and `attempts`.
   * @returns The value that stands there now, as a read gives it; `undefined` when the store is away.
   * @throws {CacheConflictError} When other writers were faster every time.
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
   * @param id The key or id; its value has nothing to do with the lock.
   * @param run The function. It is given the fencing token, and a signal that is aborted when the lock is lost.
   * @param options How long the lock lasts when its holder dies, how long to wait for it, and the deadline of each step.
   * @returns What the function answers.
   * @throws {CacheLockError} When the lock could not be had in time.
   * @throws {StoreError} When the store is away, whatever `onError` says: the function did not run.
   */
  async withLock<T>(id: K, run: (lock: Lock) => T | Promise<T>, options?: LockOptions): Promise<T> {
    return withLock(this.#context, this.#context.shape.encode(id), run, options);
  }

  /**
   * Makes every entry of this database that carries one of the tags a miss, in one round trip however many there are. No read that
   * begins after it resolves, in any process, answers what was loaded before it.
   *
   * @param tags The tags.
   * @returns Whether the store took it.
   */
  invalidateTags(...tags: string[]): Promise<boolean>;
  /**
   * The same, with options.
   *
   * @param tags The tags.
   * @param options Deadline and error handling.
   * @returns Whether the store took it.
   */
  invalidateTags(tags: readonly string[], options?: CallOptions): Promise<boolean>;
  async invalidateTags(...given: unknown[]): Promise<boolean> {
    const [first, options] = given;
    if (typeof first === "string" && Object(given.at(-1)) === given.at(-1)) {
      refuse("options behind single tags", "a list of tags, then options");
    }
    const tags = (Array.isArray(first) ? first : given) as string[];
    return tags.length === 0 || this.#invalidate(tags, tags === given ? undefined : (options as CallOptions));
  }

  /**
   * Makes every entry of this database a miss, as {@linkcode Cache.invalidateTags} does. Counters, locks and rate limits stay.
   *
   * @param options Deadline and error handling.
   * @returns Whether the store took it.
   */
  invalidateAll(options?: CallOptions): Promise<boolean> {
    return this.#invalidate(undefined, options);
  }

  /**
   * Tells whether a key is there, without reading its value.
   *
   * @param id The key or id.
   * @param options Deadline and error handling.
   * @returns Whether it is there.
   */
  async has(id: K, options?: CallOptions): Promise<boolean> {
    const { state, document } = await this.#head("has", id, options);
    return state === "fresh" && document?.none === undefined;
  }

  /**
   * Deletes keys.
   *
   * @param ids One id, or several.
   * @param options Deadline and error handling.
   * @returns How many were there.
   */
  async delete(ids: K | readonly K[], options?: CallOptions): Promise<number> {
    const list: readonly K[] = Array.isArray(ids) ? ids : [ids];
    return list.length === 0
      ? 0
      : this.#unlink(
          "delete",
          list.map((id) => this.#context.shape.encode(id)),
          options,
        );
  }

  /**
   * Deletes the keys that match a glob as Redis knows it: `*`, `?`, `[a-c]`, `[^x]`, `\` before a literal. In a collection it is
   * matched against ids.
   *
   * @param pattern The glob; not empty.
   * @param options Deadline of each step, and error handling.
   * @returns How many were deleted, until the store went away if it did.
   */
  async deletePattern(pattern: string, options?: CallOptions): Promise<number> {
    const { space, shape, loads, nears } = this.#context;
    const { glob, test } = shape.match(pattern);
    for (const [key, load] of loads) {
      if (key.startsWith(space.prefix)) load.superseded = loads.delete(key);
    }
    for (const near of nears) near.invalidate(space);
    let count = 0;
    let unlinking: Promise<number> | undefined;
    for await (const page of this.#scan("deletePattern", glob, options)) {
      count += (await unlinking) ?? 0;
      const keys = page.filter((key) => !isOwnKey(key) && (!test || test(shape.decode(key))));
      // Not awaited here: the next SCAN and this UNLINK leave in one send.
      unlinking = keys.length > 0 ? this.#unlink("deletePattern", keys, options) : undefined;
      unlinking?.catch(() => {});
    }
    return count + ((await unlinking) ?? 0);
  }

  /**
   * How long a key has to live.
   *
   * @param id The key or id.
   * @param options Deadline and error handling.
   * @returns Seconds, with fractions; `"forever"` without expiry; `undefined` for a miss.
   */
  async ttl(id: K, options?: CallOptions): Promise<number | "forever" | undefined> {
    const { state, document, left } = await this.#head("ttl", id, options);
    if (state !== "fresh" || document?.none || typeof left !== "number") return undefined;
    if (left < 0) return "forever";
    const { at, ttl = 0 } = document ?? {};
    return (at === undefined ? left : Math.min(left, at + ttl - this.#context.now())) / 1000;
  }

  /**
   * Gives a key a new TTL.
   *
   * @param id The key or id.
   * @param ttl The TTL from now on: seconds, a string with a unit, `"default"`, `"short"`, `"long"`, or `"forever"`.
   * @param options Deadline and error handling.
   * @returns Whether the key was there.
   */
  async expire(id: K, ttl: Ttl, options?: CallOptions): Promise<boolean> {
    const reply = await this.#touch("expire", id, parseTtl(ttl, "ttl", this.#context.policy.classes) ?? 0, options);
    return reply !== undefined && reply !== 0;
  }

  /**
   * Takes a key's expiry away.
   *
   * @param id The key or id.
   * @param options Deadline and error handling.
   * @returns Whether the key was there and had one.
   */
  async persist(id: K, options?: CallOptions): Promise<boolean> {
    return (await this.#touch("persist", id, 0, options)) === 1;
  }

  /**
   * Adds to a counter, in one atomic step with its TTL, which is set when the counter has none. It is never sent twice. A whole number that was set
   * counts on while `get` would give it; what counts has no tags, and no invalidation ends it.
   *
   * @param id The key or id.
   * @param options How much, TTL, deadline and error handling.
   * @returns The count; 0 when the store is away, or the key holds something that is no whole number.
   * @throws {TypeError | RangeError} For a bad id or option, and for a count beyond 2^53 - 1 or below its negative: the
   * counter stays as it was.
   */
  async increment(id: K, options?: IncrementOptions): Promise<number> {
    const { by = 1 } = options ?? {};
    if (options) checkNames(options, ["by", "ttl", "timeout", "onError"], "increment");
    if (!Number.isSafeInteger(by))
      throw new TypeError(`cannot increment by ${describe(by)}: accepted are safe integers`);
    const { ttl } = policyOf(this.#context.policy, options?.ttl === undefined ? undefined : { ttl: options.ttl });
    try {
      const { space, now, counters } = this.#context;
      const args = [by, ttl < Number.POSITIVE_INFINITY ? ttl : 0, space.marksPrefix, Math.floor(now())];
      const reply = await this.#run(increment, this.#context.shape.encode(id), args, options, [space.epochKey]);
      const [count] = reply as (string | null)[];
      if (count == null) {
        const most = Number.MAX_SAFE_INTEGER;
        throw new RangeError(`cannot increment by ${by}: accepted are counts from -${most} to ${most}`);
      }
      counters.writes++;
      return Number(count);
    } catch (error) {
      if (throws(this.#context, options) || !isCacheError(error)) throw error;
      return 0;
    }
  }

  /**
   * Counts a request in a window that begins with its first one; the count has nothing to do with the key's value. It
   * is never counted twice.
   *
   * @param id What to count by.
   * @param options Window, amount, deadline, and what to answer while the store is away.
   * @returns The count, and when the window ends.
   * @throws {TypeError | RangeError} For a bad key, window or amount, and for a count beyond 2^53 - 1, which stays as
   * it was.
   */
  async incrementRateLimit(id: K, options?: RateCountOptions): Promise<RateCount> {
    return this.#limits().incrementRateLimit(id, options);
  }

  /** Gives back what several limits counted, in all of them: see {@linkcode RateLimits.decrementRateLimit}. */
  decrementRateLimit(id: K, limits: readonly RateLimit[], options?: RateRequestOptions): Promise<RateLimitsResult>;
  /** Gives back what a limit counted. */
  decrementRateLimit(id: K, limit: RateLimitOptions): Promise<RateLimitResult>;
  /** Gives back what {@linkcode Cache.incrementRateLimit} counted, never below 0. */
  decrementRateLimit(id: K, options?: RateCountOptions): Promise<RateCount>;
  async decrementRateLimit(id: K, given?: object, options?: object): Promise<never> {
    return this.#limits().decrementRateLimit(id, given as never, options) as Promise<never>;
  }

  /**
   * Decides by several limits whether a request may pass: only if all let it. It counts in all of them then, else in
   * none. What they count has nothing to do with the key's value: see {@linkcode RateLimits}.
   *
   * @param id What to limit by.
   * @param limits 1 to 16 limits, no two alike.
   * @param options Cost, deadline, and what to answer while the store is away.
   * @returns What was decided, by which limit, and how each stands.
   * @throws {TypeError | RangeError} For a bad key, limit or option.
   *
   * @example
   * ```ts
   * import { createCacheClient } from "@foodfast/larder";
   *
   * await using client = createCacheClient({ driver: "memory" });
   * const limits = [{ limit: 5, window: "1m" }, { limit: 100, window: "1d" }] as const;
   * const { allowed, remaining, decidedBy } = await client.cache().checkRateLimit("login:u1", limits);
   * console.log(allowed, remaining, limits[decidedBy]?.window); // true 4 "1m"
   * ```
   */
  checkRateLimit(id: K, limits: readonly RateLimit[], options?: RateRequestOptions): Promise<RateLimitsResult>;
  /** Decides by one limit whether a request may pass, and counts it if so. */
  checkRateLimit(id: K, options: RateLimitOptions): Promise<RateLimitResult>;
  async checkRateLimit(id: K, given: object, options?: object): Promise<never> {
    return this.#limits().checkRateLimit(id, given as never, options) as Promise<never>;
  }

  /**
   * Forgets what was counted for a key: every count, by every limit, window and algorithm.
   *
   * @param id What was limited.
   * @param options Deadline and error handling.
   * @returns Whether anything was forgotten.
   */
  async resetRateLimit(id: K, options?: CallOptions): Promise<boolean> {
    return this.#limits().resetRateLimit(id, options);
  }

  /**
   * The keys, or a collection's ids as text, each once.
   *
   * @param pattern A glob, as for {@linkcode Cache.deletePattern}. @default "*"
   * @param options Deadline of each step, and error handling.
   * @returns An async iterable; it ends early when the store goes away.
   */
  async *keys(pattern = "*", options?: CallOptions): AsyncGenerator<string, void, undefined> {
    const { shape } = this.#context;
    const { glob, test } = shape.match(pattern);
    const seen = new Set<string>();
    for await (const page of this.#scan("keys", glob, options)) {
      const fresh = page.filter((key) => !isOwnKey(key) && !seen.has(key) && (!test || test(shape.decode(key))));
      for (const key of fresh) seen.add(key);
      // What `get` would not give is no key.
      const reads = await Promise.all(fresh.map((key) => this.#peek("keys", key, options)));
      for (let i = 0; i < fresh.length; i++) {
        const { state, document } = reads[i] as Read;
        if (state === "fresh" && document?.none === undefined) yield shape.decode(fresh[i] as string);
      }
    }
  }

  /**
   * Deletes every key of this cache or collection that is there, and no other. Of a whole service or database it first
   * invalidates all in one step, so that no load of another process that is under way brings anything back. Where the
   * store refuses that step alone, as to a user who may run no scripts, the keys are deleted all the same, and an
   * `error` event of `invalidate` tells of it.
   *
   * @param options Deadline of each step, and error handling: with `onError: "throw"` what was refused is thrown once
   * the keys are deleted.
   * @returns How many were deleted.
   */
  async clear(options?: CallOptions): Promise<number> {
    const context = this.#context;
    timeoutOf(context, options);
    let refused: unknown;
    if (context.shape === rawKeys) {
      try {
        await this.invalidateAll({ ...options, onError: "throw" });
      } catch (error) {
        refused = error;
        // What is refused to this user, or of this kind, says nothing of deletions.
        if (!isStoreError(error) || (error.kind !== "command" && error.code !== "NOPERM")) {
          if (throws(context, options)) throw error;
          return 0;
        }
      }
    }
    const count = await this.deletePattern("*", options);
    if (refused && throws(context, options)) throw refused;
    return count;
  }

  /** Counts what this cache or collection did since this client was made. */
  stats(): CacheStats {
    return Counters.total([this.#context.counters]);
  }

  /**
   * Reads what it did in all processes whose clients have `fleetStats` on.
   *
   * @param options Deadline and error handling.
   * @returns The counts, zeros if no client has `fleetStats` on; `undefined` if the store is away.
   */
  fleetStats(options?: CallOptions): Promise<FleetStats | undefined> {
    return fleetStats([this.#context], options);
  }

  /**
   * Runs a script on one key: for a service's own atomic verbs.
   *
   * @param script The script; its only key is the id's.
   * @param id The key or id.
   * @param args The script's arguments.
   * @param options Deadline, and whether the script may be sent again when nobody knows whether it ran (`idempotent`, default `false`).
   * @returns The script's reply.
   * @throws {StoreError} Whenever it fails: what to answer then is the verb's to decide.
   */
  async run(
    script: Script,
    id: K,
    args: readonly (string | number)[],
    options?: CallOptions & { readonly idempotent?: boolean },
  ): Promise<Reply> {
    return this.#run(script, this.#context.shape.encode(id), args, options);
  }

  async #run(
    script: Script,
    logical: string,
    args: readonly (string | number)[],
    options?: CallOptions & { readonly idempotent?: boolean },
    also?: readonly string[],
  ): Promise<Reply> {
    const { space, batch, counters } = this.#context;
    const key = space.key(logical);
    const timeout = timeoutOf(this.#context, options);
    supersede(this.#context, key);
    const start = performance.now();
    let reply: Reply;
    try {
      reply = await batch.run(script, [key], args, timeout, options?.idempotent ?? false, also);
    } catch (error) {
      throw report(this.#context, script.name, error);
    }
    counters.time(performance.now() - start);
    return reply;
  }

  /** The verbs of rate limits, over states that stand beside the keys. */
  #limits(): RateLimits<K> {
    const { shape } = this.#context;
    const make = this.#context.rateLimits as typeof rateLimits | undefined;
    if (!make) refuse("rate limits", "clients of the core with the option rateLimits");
    return make<K>(
      (id) => {
        const key = limitKey(shape.encode(id));
        return (script, args, options) => this.#run(script, key, args, options);
      },
      (id, options) => this.#unlink("resetRateLimit", [limitKey(shape.encode(id))], options),
    );
  }

  /** The near cache's answer, if it has one. */
  #near(id: K, options: ReadOptions | undefined): Promise<unknown> | undefined {
    const context = this.#context;
    if (context.near === undefined || (options?.near ?? true) !== true) return undefined;
    const { store } = context.near;
    const entry = typeof id === "object" ? store.hitKey(context.space.key(context.shape.encode(id))) : store.hit(id);
    if (entry === undefined) return undefined;
    const { counters, events } = context;
    counters.hits++;
    counters.nearHits++;
    if (events.active) {
      events.emit({ type: "hit", key: context.space.strip(entry.key), near: true, ...context.target });
    }
    return store.value(entry);
  }

  #set(operation: string, id: K, value: In, options: WriteOptions | undefined): Promise<boolean> {
    const context = this.#context;
    const key = context.shape.encode(id);
    const timeout = timeoutOf(context, options);
    const policy = policyOf(context.policy, options, true);
    stored(value);
    const entry = entryOf(context, id, key, value, policy, {});
    return withEntry(context, entry, (ready) => this.#write(operation, key, ready, policy, timeout, options));
  }

  async #write(
    operation: string,
    key: string,
    entry: Awaited<ReturnType<typeof entryOf>>,
    policy: ReturnType<typeof policyOf>,
    timeout: number,
    options: CallOptions | undefined,
  ): Promise<boolean> {
    const context = this.#context;
    supersede(context, context.space.key(key));
    const written = await this.#settle(operation, save(context, key, entry, policy, {}, timeout), options);
    if (written) context.counters.writes++;
    return written ?? false;
  }

  async #invalidate(tags?: readonly string[], options?: CallOptions): Promise<boolean> {
    const context = this.#context;
    const { space, batch, loads, nears, events, target } = context;
    const names = tags?.map(encodeTag);
    for (const [key, load] of loads) {
      if (key.startsWith(space.prefix)) load.superseded = loads.delete(key);
    }
    const forget = (): void => {
      for (const near of nears) near.invalidate(space, names);
    };
    forget();
    const args = [space.marksPrefix, ...(names ?? [EVERYTHING])];
    const sent = batch.run(invalidate, [space.epochKey], args, timeoutOf(context, options), true);
    const clock = await this.#settle("invalidate", sent, options);
    if (clock === undefined) return false;
    space.noteEpoch(clock);
    // What was read meanwhile may be from before.
    forget();
    events.emit({ type: "invalidate", service: target.service, ...(tags && { tags }) });
    return true;
  }

  #head(operation: string, id: K, options: CallOptions | undefined): Promise<Read> {
    return this.#peek(operation, this.#context.shape.encode(id), options);
  }

  /** What is known of an entry, without its value. */
  async #peek(operation: string, key: string, options: CallOptions | undefined): Promise<Read> {
    const context = this.#context;
    timeoutOf(context, options);
    const read = await new Promise<Read>((resolve, reject) => {
      context.batch.read(new Look(context, key, { ...options, operation }, resolve, reject), context.heads);
    });
    if (!read.failed) context.counters.time(performance.now() - read.start);
    return read;
  }

  /** Gives an entry a TTL; 0 takes it away. */
  async #touch(operation: string, id: K, ms: number, options: CallOptions | undefined): Promise<Reply | undefined> {
    const context = this.#context;
    const { space, batch, policy } = context;
    const key = space.key(context.shape.encode(id));
    const extra = Math.min(Math.max(policy.staleFor, policy.failSafeFor), 1e12);
    const args = [space.marksPrefix, ms, extra, Math.floor(context.now())];
    for (const near of context.nears) near.forget(key);
    return this.#settle(
      operation,
      batch.run(touch, [key], args, timeoutOf(context, options), true, [space.epochKey]),
      options,
    );
  }

  async #unlink(operation: string, logical: readonly string[], options: CallOptions | undefined): Promise<number> {
    const { space, batch, counters, nears, policy } = this.#context;
    const keys = logical.map((key) => space.key(key));
    const timeout = timeoutOf(this.#context, options);
    for (const key of keys) supersede(this.#context, key);
    // Without its lock, no load of another process undoes this; it goes first, for that load's write may come in between.
    if (policy.lock) {
      const locks = logical.map((key) => space.lock(key));
      batch.unlink(locks, timeout).catch(() => {});
    }
    const unlinking = batch.unlink(keys, timeout);
    const count = (await this.#settle(operation, unlinking, options)) ?? 0;
    for (const near of nears) for (const key of keys) near.forget(key);
    counters.deletes += count;
    return count;
  }

  /** Times what is answered; `undefined`, or an exception, when it fails. */
  async #settle<T>(operation: string, sent: Promise<T>, options: CallOptions | undefined): Promise<T | undefined> {
    const start = performance.now();
    let reply: T;
    try {
      reply = await sent;
    } catch (error) {
      failed(this.#context, operation, error, options);
      return undefined;
    }
    this.#context.counters.time(performance.now() - start);
    return reply;
  }

  /** Pages of logical keys. Pages may be empty and keys may come twice. */
  async *#scan(operation: string, glob: string, options: CallOptions | undefined): AsyncGenerator<string[]> {
    const { space, batch } = this.#context;
    const timeout = timeoutOf(this.#context, options);
    let cursor = "0";
    do {
      let page: readonly string[];
      try {
        const command = ["SCAN", cursor, "MATCH", space.match(glob), "COUNT", SCAN_COUNT] as const;
        [cursor, page] = (await batch.send(command, [], timeout, true)) as unknown as [string, string[]];
      } catch (error) {
        failed(this.#context, operation, error, options);
        return;
      }
      yield page.map((key) => space.strip(key));
    } while (cursor !== "0");
  }
}

/** An error of ours that says which of several values it is about. */
function named(error: unknown, which: string): unknown {
  if (error instanceof TypeError || error instanceof RangeError || isCacheError(error)) error.message += ` (${which})`;
  return error;
}

/** Throws for what no write takes: `undefined` is a miss. */
function stored(value: unknown): void {
  if (value === undefined)
    throw new TypeError(
      "cannot store the value: undefined is a miss; accepted are JSON values, bytes, and what superjson knows",
    );
}
