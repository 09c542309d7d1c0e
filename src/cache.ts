import type { Command, Reply, Script, StoreError } from "../drivers/driver.ts";
import type { Batch, Caller } from "./batch.ts";
import { decode, encode } from "./codec.ts";
import type { OnError } from "./config.ts";
import { CacheSchemaError, isCacheError, type SchemaIssue, toStoreError } from "./errors.ts";
import type { CacheTarget, Events } from "./events.ts";
import type { Id, KeyShape, Keyspace } from "./keyspace.ts";
import { fits, type Schema, schemaIssues } from "./schema.ts";
import { increment } from "./scripts.ts";
import { type CacheStats, Counters } from "./stats.ts";
import { describe, parseTtl, type Ttl } from "./ttl.ts";

/** Options of every operation. */
export interface CallOptions {
  /** Milliseconds until the operation ends, whatever the store does. @default the client's, 500 */
  readonly timeout?: number;
  /** What to do when the store is away. @default the client's, "miss" */
  readonly onError?: OnError;
}

/** Options of writes. */
export interface WriteOptions extends CallOptions {
  /** The time to live: seconds, a string with a unit, or `"forever"`. @default the collection's, or CACHE_TTL_DEFAULT */
  readonly ttl?: Ttl;
}

/** Options of {@linkcode Cache.increment}. */
export interface IncrementOptions extends WriteOptions {
  /** How much to add; a safe integer, negative to subtract. @default 1 */
  readonly by?: number;
}

/** A loader run for a key that several callers may wait for. */
export interface Load {
  readonly promise: Promise<unknown>;
  /** Set when the key was written or deleted meanwhile, or the store is away: the result is handed out, not stored. */
  superseded: boolean;
}

/** What a cache stands on; made by the client. */
export interface CacheContext {
  readonly target: CacheTarget;
  readonly space: Keyspace;
  readonly shape: KeyShape;
  readonly batch: Batch;
  readonly events: Events;
  readonly counters: Counters;
  /** Loads under way by physical key, shared by the caches of one client and database. */
  readonly loads: Map<string, Load>;
  readonly timeout: number;
  readonly onError: OnError;
  /** Milliseconds; `undefined` for no expiry. */
  readonly ttl: number | undefined;
  readonly sliding?: boolean;
  readonly schema?: Schema | undefined;
  /** Throws for values that must not be stored. */
  readonly refuse?: ((value: unknown) => void) | undefined;
  readonly waitUntil?: ((promise: Promise<unknown>) => void) | undefined;
}

/** How many keys a SCAN step looks at. */
const SCAN_COUNT = 1000;

/** What a cache stands on, for verbs outside the class. */
// biome-ignore lint/suspicious/noExplicitAny: stands for caches of every type
export let contextOf: (cache: Cache<any, any, any>) => CacheContext;

/**
 * The verbs, over one keyspace. A collection is a cache whose keys, schema and TTL are declared.
 *
 * Values are anything superjson knows; `undefined` is a miss. With a store that is away, reads answer a miss, writes `false` or 0
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
export class Cache<K extends Id = string, Out = unknown, In = Out> {
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
  get<T extends Out = Out>(id: K, options?: CallOptions): Promise<NoInfer<T> | undefined> {
    // One promise and no await: a hit must be short, and 500 callers would pay for each 500 times.
    return new Promise((resolve, reject) => {
      const { space, shape, batch, sliding, ttl } = this.#context;
      const logical = shape.encode(id);
      const key = space.key(logical);
      const timeout = timeoutOf(this.#context, options);
      const read = new Read(this.#context, logical, options, resolve as (value: unknown) => void, reject);
      if (sliding && ttl !== undefined) {
        const sent = batch.send(["GETEX", key, "PX", ttl], [key], timeout, true);
        sent.then(
          (reply) => read.resolve(reply),
          (error) => read.reject(error),
        );
      } else {
        batch.read(key, timeout, read);
      }
    });
  }

  /**
   * Reads several values in one round trip.
   *
   * @param ids The keys or ids.
   * @param options Deadline and error handling.
   * @returns The values that were there, by id, in the order asked for.
   */
  async getMany<T extends Out = Out>(ids: Iterable<K>, options?: CallOptions): Promise<Map<K, NoInfer<T>>> {
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
    const key = this.#context.space.key(this.#context.shape.encode(id));
    const ttl = ttlOf(this.#context, options);
    const timeout = timeoutOf(this.#context, options);
    const pending = checkValue(this.#context, value);
    if (pending) await pending;
    return this.#write(key, encode(value), ttl, timeout, options);
  }

  /**
   * Writes several values in one round trip. Nothing is written when one of them is bad.
   *
   * @param entries Pairs of id and value: a Map, or an array of pairs.
   * @param options TTL, deadline and error handling.
   * @returns How many were written.
   */
  async setMany(entries: Iterable<readonly [K, In]>, options?: WriteOptions): Promise<number> {
    const ttl = ttlOf(this.#context, options);
    const timeout = timeoutOf(this.#context, options);
    const texts: [string, string][] = [];
    for (const [id, value] of entries) {
      const key = this.#context.space.key(this.#context.shape.encode(id));
      const pending = checkValue(this.#context, value);
      if (pending) await pending;
      texts.push([key, encode(value)]);
    }
    const written = await Promise.all(texts.map(([key, text]) => this.#write(key, text, ttl, timeout, options)));
    return written.filter(Boolean).length;
  }

  /**
   * Reads a value, and on a miss loads and writes it. Callers that miss one key at the same time share one run of the loader,
   * its value and its error. A write or deletion of the key meanwhile is not undone by the late result.
   *
   * @param id The key or id.
   * @param loader Gives the value; what it throws is thrown. `undefined` is handed out and not stored.
   * @param options TTL, deadline of the store's part, and error handling.
   * @returns The value.
   */
  async getOrSet<V extends In | undefined>(
    id: K,
    loader: () => V | Promise<V>,
    options?: WriteOptions,
  ): Promise<unknown extends Out ? V : Out | V> {
    type Result = unknown extends Out ? V : Out | V;
    const { space, shape, loads, counters } = this.#context;
    const key = space.key(shape.encode(id));
    ttlOf(this.#context, options);
    const running = loads.get(key);
    if (running) {
      counters.misses++;
      return running.promise as Promise<Result>;
    }
    const timeout = timeoutOf(this.#context, options);
    const start = performance.now();
    const { errors } = counters;
    const value = await this.get(id, options);
    if (value !== undefined) return value as Result;
    // With a store that is away, the write has what the read has left of the deadline.
    const left = counters.errors === errors ? timeout : timeout - (performance.now() - start);
    const joined = loads.get(key);
    if (joined) return joined.promise as Promise<Result>;
    const load: Load = {
      superseded: left < 1,
      promise: Promise.resolve().then(() => this.#load(id, key, load, loader, { ...options, timeout: left })),
    };
    loads.set(key, load);
    return load.promise as Promise<Result>;
  }

  /**
   * Tells whether a key is there, without reading its value.
   *
   * @param id The key or id.
   * @param options Deadline and error handling.
   * @returns Whether it is there.
   */
  async has(id: K, options?: CallOptions): Promise<boolean> {
    return (await this.#command("has", "EXISTS", id, [], options)) === 1;
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
    const { space, shape, loads } = this.#context;
    const { glob, test } = shape.match(pattern);
    for (const [key, load] of loads) {
      if (key.startsWith(space.prefix)) load.superseded = loads.delete(key);
    }
    let count = 0;
    let unlinking: Promise<number> | undefined;
    for await (const page of this.#scan("deletePattern", glob, options)) {
      count += (await unlinking) ?? 0;
      const keys = test ? page.filter((key) => test(shape.decode(key))) : page;
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
    const left = await this.#command("ttl", "PTTL", id, [], options);
    if (typeof left !== "number" || left === -2) return undefined;
    return left === -1 ? "forever" : left / 1000;
  }

  /**
   * Gives a key a new TTL.
   *
   * @param id The key or id.
   * @param ttl The TTL from now on.
   * @param options Deadline and error handling.
   * @returns Whether the key was there.
   */
  async expire(id: K, ttl: Ttl, options?: CallOptions): Promise<boolean> {
    const ms = parseTtl(ttl);
    if (ms === undefined) {
      const reply = await this.#command("expire", "PERSIST", id, [], options);
      return reply === 1 || (reply === 0 && this.has(id, options));
    }
    return (await this.#command("expire", "PEXPIRE", id, [ms], options)) === 1;
  }

  /**
   * Takes a key's expiry away.
   *
   * @param id The key or id.
   * @param options Deadline and error handling.
   * @returns Whether the key was there and had one.
   */
  async persist(id: K, options?: CallOptions): Promise<boolean> {
    return (await this.#command("persist", "PERSIST", id, [], options)) === 1;
  }

  /**
   * Adds to a counter, in one atomic step with its TTL, which is set when the counter has none. It is never sent twice.
   *
   * @param id The key or id.
   * @param options How much, TTL, deadline and error handling.
   * @returns The count; 0 when the store is away, or the key holds something that is no whole number.
   */
  async increment(id: K, options?: IncrementOptions): Promise<number> {
    const { by = 1 } = options ?? {};
    if (!Number.isSafeInteger(by))
      throw new TypeError(`cannot increment by ${describe(by)}: accepted are safe integers`);
    const ttl = ttlOf(this.#context, options) ?? 0;
    try {
      const reply = await this.run(increment, id, [by, ttl], options);
      this.#context.counters.writes++;
      return (reply as number[])[0] as number;
    } catch (error) {
      if (throws(this.#context, options) || !isCacheError(error)) throw error;
      return 0;
    }
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
      for (const key of page) {
        const id = shape.decode(key);
        if (seen.has(id) || (test && !test(id))) continue;
        seen.add(id);
        yield id;
      }
    }
  }

  /**
   * Deletes every key of this cache or collection, and no other.
   *
   * @param options Deadline of each step, and error handling.
   * @returns How many were deleted.
   */
  clear(options?: CallOptions): Promise<number> {
    return this.deletePattern("*", options);
  }

  /** What this cache or collection did since this client was made. */
  stats(): CacheStats {
    return Counters.total([this.#context.counters]);
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
    const { space, shape, batch, counters } = this.#context;
    const key = space.key(shape.encode(id));
    const timeout = timeoutOf(this.#context, options);
    this.#supersede(key);
    const start = performance.now();
    try {
      return await batch.run(script, [key], args, timeout, options?.idempotent ?? false);
    } catch (error) {
      throw report(this.#context, script.name, error);
    } finally {
      counters.time(performance.now() - start);
    }
  }

  async #write(
    key: string,
    text: string,
    ttl: number | undefined,
    timeout: number,
    options: WriteOptions | undefined,
  ): Promise<boolean> {
    const { batch, counters } = this.#context;
    this.#supersede(key);
    const command: Command = ttl === undefined ? ["SET", key, text] : ["SET", key, text, "PX", ttl];
    const reply = await this.#settle("set", batch.send(command, [key], timeout, true), options);
    if (reply === undefined) return false;
    counters.writes++;
    return true;
  }

  async #load<V extends In | undefined>(
    id: K,
    key: string,
    load: Load,
    loader: () => V | Promise<V>,
    options: WriteOptions,
  ): Promise<V> {
    const { counters, events, loads, target, shape, waitUntil } = this.#context;
    const start = performance.now();
    let ok = false;
    counters.loads++;
    try {
      const value = await loader();
      ok = true;
      if (value !== undefined && !load.superseded) {
        const writing = this.set(id, value as In & V, options);
        if (waitUntil) waitUntil(writing.catch(() => {}));
        else await writing;
      }
      return value;
    } finally {
      if (loads.get(key) === load) loads.delete(key);
      events.emit({ type: "load", key: shape.encode(id), ok, duration: performance.now() - start, ...target });
    }
  }

  /** A load under way must not overwrite what is written or deleted now. */
  #supersede(key: string): void {
    const load = this.#context.loads.get(key);
    if (load) load.superseded = this.#context.loads.delete(key);
  }

  async #command(
    operation: string,
    name: string,
    id: K,
    args: readonly number[],
    options: CallOptions | undefined,
  ): Promise<Reply | undefined> {
    const { space, shape, batch } = this.#context;
    const key = space.key(shape.encode(id));
    return this.#settle(
      operation,
      batch.send([name, key, ...args], [key], timeoutOf(this.#context, options), true),
      options,
    );
  }

  async #unlink(operation: string, logical: readonly string[], options: CallOptions | undefined): Promise<number> {
    const { space, batch, counters } = this.#context;
    const keys = logical.map((key) => space.key(key));
    const timeout = timeoutOf(this.#context, options);
    for (const key of keys) this.#supersede(key);
    const count = (await this.#settle(operation, batch.unlink(keys, timeout), options)) ?? 0;
    counters.deletes += count;
    return count;
  }

  /** Times what was sent; `undefined`, or an exception, when it fails. */
  async #settle<T>(operation: string, sent: Promise<T>, options: CallOptions | undefined): Promise<T | undefined> {
    const start = performance.now();
    try {
      return await sent;
    } catch (error) {
      failed(this.#context, operation, error, options);
      return undefined;
    } finally {
      this.#context.counters.time(performance.now() - start);
    }
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

  static {
    contextOf = (cache) => cache.#context;
  }
}

/** Throws for a bad value; answers a promise only where the schema does. */
export function checkValue({ schema, refuse, target }: CacheContext, value: unknown): Promise<void> | undefined {
  refuse?.(value);
  const result = schema?.["~standard"].validate(value);
  const judge = (settled: typeof result): void => {
    if (settled && !(settled instanceof Promise) && settled.issues) {
      throw new CacheSchemaError(`${target.service}.${target.collection}`, schemaIssues(settled));
    }
  };
  if (result instanceof Promise) return result.then(judge);
  judge(result);
  return undefined;
}

/** A read under way. */
class Read implements Caller {
  readonly #context: CacheContext;
  readonly #key: string;
  readonly #options: CallOptions | undefined;
  readonly #done: (value: unknown) => void;
  readonly #failed: (error: unknown) => void;
  readonly #start = performance.now();

  constructor(
    context: CacheContext,
    key: string,
    options: CallOptions | undefined,
    done: (value: unknown) => void,
    failed: (error: unknown) => void,
  ) {
    this.#context = context;
    this.#key = key;
    this.#options = options;
    this.#done = done;
    this.#failed = failed;
  }

  resolve(reply: Reply): void {
    try {
      const value = reply === null ? undefined : readValue(this.#context, this.#key, reply);
      if (value instanceof Promise) {
        value.then(
          (settled) => this.#end(settled),
          (error) => this.reject(error),
        );
      } else {
        this.#end(value);
      }
    } catch (error) {
      this.reject(error);
    }
  }

  reject(error: unknown): void {
    try {
      this.#end(failed(this.#context, "get", error, this.#options));
    } catch (thrown) {
      this.#failed(thrown);
    }
  }

  #end(value: unknown): void {
    const { counters, events, target } = this.#context;
    counters.time(performance.now() - this.#start);
    if (value === undefined) counters.misses++;
    else counters.hits++;
    if (events.active) events.emit({ type: value === undefined ? "miss" : "hit", key: this.#key, ...target });
    this.#done(value);
  }
}

/** The value of a stored text; `undefined`, with an event, for what cannot be read back. */
export function readValue(context: CacheContext, key: string, reply: Reply): unknown {
  let value: unknown;
  try {
    value = decode(reply as string);
  } catch {
    return corrupt(context, key, "payload", []);
  }
  const { schema } = context;
  if (!schema || value === undefined || fits(schema, value)) return value;
  const result = schema["~standard"].validate(value);
  const judge = (settled: Awaited<typeof result>): unknown =>
    settled.issues ? corrupt(context, key, "schema", schemaIssues(settled)) : settled.value;
  return result instanceof Promise ? result.then(judge) : judge(result);
}

function corrupt(
  { counters, events, target }: CacheContext,
  key: string,
  reason: "payload" | "schema",
  issues: readonly SchemaIssue[],
): undefined {
  counters.corrupt++;
  events.emit({ type: "corrupt", key, reason, issues, ...target });
}

/** Counts and tells of a failure, then throws it where the caller wants that. */
export function failed(
  context: CacheContext,
  operation: string,
  thrown: unknown,
  options: CallOptions | undefined,
): undefined {
  const error = report(context, operation, thrown);
  if (throws(context, options)) throw error;
}

function report({ counters, events, target }: CacheContext, operation: string, thrown: unknown): StoreError {
  const error = toStoreError(thrown);
  counters.errors++;
  events.emit({ type: "error", operation, error, ...target });
  return error;
}

/** Whether a failure is to be thrown. */
export function throws(context: CacheContext, options: CallOptions | undefined): boolean {
  return (options?.onError ?? context.onError) === "throw";
}

/** The milliseconds of a write's TTL; `undefined` for no expiry. */
export function ttlOf(context: CacheContext, options: WriteOptions | undefined): number | undefined {
  return options?.ttl === undefined ? context.ttl : parseTtl(options.ttl);
}

/** The milliseconds until an operation ends. */
export function timeoutOf(context: Pick<CacheContext, "timeout">, options: CallOptions | undefined): number {
  const timeout = options?.timeout;
  if (timeout === undefined) return context.timeout;
  if (timeout > 0 && timeout <= 0x7fffffff) return timeout;
  throw new RangeError(`cannot wait ${describe(timeout)} ms: accepted are timeouts above 0 and up to 2147483647 ms`);
}
