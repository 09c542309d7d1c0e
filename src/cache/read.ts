/**
 * A read, from its reply to the value: whether the entry is valid and fresh, what it decodes to, and whether the schema
 * accepts that. `get` and `getOrSet` make a `Read` themselves, because a hit should pass few frames; other verbs
 * `peek`. The {@linkcode Purpose} decides what happens with the outcome. Nothing outside this file changes a read.
 */
import type { Reply } from "../../drivers/driver.ts";
import type { SchemaIssue } from "../base/errors.ts";
import { hookError } from "../base/foreign_error.ts";
import { CLOCK_SKEW_MS } from "../base/own_keys.ts";
import { isStoreError } from "../base/store_error.ts";
import { type Document, fromDocument, parse } from "../entry/codec.ts";
import type { Epoch, Id, Shard } from "../entry/keyspace.ts";
import { matchesSchema, schemaIssues } from "../entry/schema.ts";
import type { Reader, ReadScript } from "../wire/batch.ts";
import { type CallOptions, emit, type ReadOptions, reportFailure, timeoutOf } from "./call.ts";
import type { CacheContext, CacheTelemetry } from "./context.ts";
import type { Marks } from "./marks.ts";
import { tagged } from "./read_scripts.ts";

/** The outcome of a read. */
export interface Found {
  readonly id: Id;
  /** The logical key. */
  readonly key: string;
  readonly physical: string;
  /** When the read began, by `performance.now()`. */
  readonly start: number;
  /** The state of the entry: missing or unusable, fresh, or kept beyond its TTL. */
  readonly state: "none" | "fresh" | "old";
  readonly value: unknown;
  readonly document: Document | undefined;
  /** The stored text. */
  readonly text: string | null;
  /** The shard's epoch at the read. */
  readonly epoch: Epoch;
  /** The reply of PTTL; `null` from a script that did not ask for it, absent from MGET. */
  readonly left: Reply | undefined;
  /** `true` if the store did not answer, or the schema threw. */
  readonly failed: boolean;
}

/** The purpose of a read. One object may serve many reads. */
export interface Purpose {
  /** The operation, as events name it. */
  readonly operation: string;
  /** Which entries are useful: fresh ones, old ones too, or only the heads, which are entries without their values. */
  readonly wanted: "fresh" | "old" | "head";
  /** `true` if the near cache may keep the value. */
  readonly keeps: boolean;
  /** Takes the outcome and settles the caller's promise. Called at most once. Must not throw. */
  end(context: CacheContext, found: Found, resolve: (value: unknown) => void, reject: (error: unknown) => void): void;
}

/** The purpose of `get`. */
export const GET: Purpose = {
  operation: "get",
  wanted: "fresh",
  keeps: true,
  end(context, found, resolve) {
    const value = found.state === "fresh" ? found.value : undefined;
    countRead(context, found, value !== undefined);
    resolve(value);
  },
};

/** A read in flight, and then its outcome: one object a read. */
export class Read implements Reader, Found {
  // With `declare`, fields are set only once, by the constructor. A hit would pay for setting them twice.
  declare readonly id: Id;
  declare readonly key: string;
  declare readonly physical: string;
  declare readonly space: Shard;
  declare timeout: number;
  declare epoch: Epoch;
  readonly start: number = performance.now();
  state: Found["state"] = "none";
  value: unknown = undefined;
  document: Document | undefined;
  text: string | null = null;
  left: Reply | undefined;
  failed = false;
  readonly #context: CacheContext;
  readonly #options: CallOptions | undefined;
  readonly #purpose: Purpose;
  readonly #resolve: (value: unknown) => void;
  readonly #reject: (error: unknown) => void;
  /** The number that the near cache gave the read, if it may keep the value. */
  readonly #mark: number | undefined;

  /**
   * @param context The parts of the cache.
   * @param id The id.
   * @param key Its logical key.
   * @param options Deadline and error handling.
   * @param purpose What the read is for.
   * @param resolve Resolves the caller's promise.
   * @param reject Rejects it.
   * @throws {TypeError | RangeError} For bad options.
   */
  constructor(
    context: CacheContext,
    id: Id,
    key: string,
    options: CallOptions | undefined,
    purpose: Purpose,
    resolve: (value: never) => void,
    reject: (error: unknown) => void,
  ) {
    const space = context.space.of(key);
    this.id = id;
    this.key = key;
    this.physical = space.key(key);
    this.space = space;
    this.timeout = timeoutOf(context, options);
    this.epoch = space.lastEpoch;
    this.#context = context;
    this.#options = options;
    this.#purpose = purpose;
    this.#resolve = resolve as (value: unknown) => void;
    this.#reject = reject;
    this.#mark = purpose.keeps ? context.near?.begin() : undefined;
  }

  resolve(reply: Reply, epoch?: Reply, left?: Reply): void {
    const { space } = this;
    try {
      const before = space.lastEpoch;
      this.epoch = space.noteEpoch(epoch);
      if (space.lastEpoch !== before) this.#context.nears.outdate(space);
      if (typeof reply !== "string") {
        this.#finish();
        return;
      }
      this.text = reply;
      this.left = left;
      const document = this.#parse(reply);
      if (document === undefined) {
        this.#finish();
        return;
      }
      if (typeof document === "number") {
        this.#settle(document);
        return;
      }
      this.document = document;
      const { born = 0, tags } = document;
      if (born < this.epoch.all) {
        this.#finish();
        return;
      }
      const { batch, scripts } = this.#context;
      const marks = space.marks as Marks | undefined;
      const { text } = this.epoch;
      if (tags && !marks?.hold(batch, scripts, tags, born, this) && left === undefined) {
        // The entry came by MGET, which does not check tags.
        const script = tagged(scripts);
        // One from before the epoch was made may be older than a mark all the same.
        if (!(born >= Number.parseInt(text ?? "", 10))) {
          this.timeout = Math.max(1, this.timeout - (performance.now() - this.start));
          batch.read(this, script);
          return;
        }
      }
      this.#judge(document);
    } catch (error) {
      this.#fail(error);
    }
  }

  reject(error: unknown): void {
    this.failed = true;
    // The entry may have been judged before the schema threw.
    this.state = "none";
    try {
      reportFailure(this.#context, this.#purpose.operation, error, this.#options);
    } catch (thrown) {
      this.#reject(thrown);
      return;
    }
    this.#finish();
  }

  /** Rejects with an error that came up after the reply. If the cache has a schema, the schema threw it. */
  #fail(error: unknown): void {
    this.reject(this.#context.schema && !isStoreError(error) ? hookError("schema", error) : error);
  }

  #judge(document: Document): void {
    const { now, sealing, known, target } = this.#context;
    const { wanted } = this.#purpose;
    const { at, ttl = 0 } = document;
    const age = at === undefined ? 0 : now() - at;
    this.state = at === undefined || (age < ttl && age > -CLOCK_SKEW_MS) ? "fresh" : "old";
    if (wanted === "head" || (this.state === "old" && wanted !== "old")) {
      this.#settle(undefined);
      return;
    }
    if (document.sealed === undefined && document.packed === undefined) {
      if (sealing?.ring) this.#corrupt("sealed");
      else this.#decode(document);
      return;
    }
    if (!known.sealing) {
      this.#corrupt("sealed");
      return;
    }
    known.sealing.open(document, sealing ?? {}, `${target.service}:${this.key}`).then(
      (text) => {
        try {
          const inner = this.#parse(text);
          if (typeof inner === "object") this.#decode(inner);
          else this.#finish();
        } catch (error) {
          this.#fail(error);
        }
      },
      () => this.#corrupt("sealed"),
    );
  }

  #parse(text: string): Document | number | undefined {
    try {
      return parse(text);
    } catch {
      this.#reportCorrupt("payload");
      return undefined;
    }
  }

  #decode(document: Document): void {
    const { version = 1, schema, known } = this.#context;
    let value: unknown;
    try {
      value = fromDocument(document, known);
    } catch {
      this.#corrupt("payload");
      return;
    }
    const from = this.document?.version ?? 1;
    if (from !== version && value !== undefined) {
      value = this.#migrate(value, from, version);
      if (value === undefined) {
        this.#drop();
        return;
      }
    }
    if (!schema || value === undefined || matchesSchema(schema, value)) {
      this.#settle(value);
      return;
    }
    const result = schema["~standard"].validate(value);
    const accept = (settled: Awaited<typeof result>): void => {
      if (settled.issues) this.#corrupt("schema", schemaIssues(settled));
      else this.#settle(settled.value);
    };
    if (result instanceof Promise) result.then(accept).catch((error) => this.#fail(error));
    else accept(result);
  }

  /** Upgrades a value to the present version. Returns `undefined` if no steps lead there. */
  #migrate(old: unknown, from: number, to: number): unknown {
    const { migrate = {} } = this.#context;
    let value: unknown = from < to ? old : undefined;
    try {
      for (let step = from; step < to && value !== undefined; step++) value = migrate[step]?.(value);
    } catch {
      value = undefined;
    }
    emit(this.#context, { type: "migrate", key: this.key, from, to, ok: value !== undefined });
    return value;
  }

  #settle(value: unknown): void {
    if (this.state === "none") this.state = "fresh";
    this.value = value;
    this.#finish();
  }

  #corrupt(reason: "payload" | "schema" | "sealed", issues?: readonly SchemaIssue[]): void {
    this.#reportCorrupt(reason, issues);
    this.#drop();
  }

  #drop(): void {
    this.state = "none";
    this.#finish();
  }

  #reportCorrupt(reason: "payload" | "schema" | "sealed", issues: readonly SchemaIssue[] = []): void {
    this.#context.counters.corrupt++;
    emit(this.#context, { type: "corrupt", key: this.key, reason, issues });
  }

  #finish(): void {
    const { near, now } = this.#context;
    near?.keep(this.#mark, this, now);
    this.#purpose.end(this.#context, this, this.#resolve, this.#reject);
  }
}

/** Returns the near cache's answer, if it has one. */
export function nearHit(context: CacheContext, id: Id, options: ReadOptions | undefined): Promise<unknown> | undefined {
  if (context.near === undefined || (options?.near ?? true) !== true) return undefined;
  const { store } = context.near;
  const entry = typeof id === "object" ? store.hitKey(context.space.key(context.shape.encode(id))) : store.hit(id);
  if (entry === undefined) return undefined;
  const { counters, events } = context;
  counters.hits++;
  counters.nearHits++;
  if (events.active) {
    emit(context, { type: "hit", key: context.space.strip(entry.key), near: true });
  }
  return store.value(entry);
}

/** Makes the purpose of a read that returns its outcome and has no other effect. */
function peeking(operation: string, wanted: Purpose["wanted"]): Purpose {
  return { operation, wanted, keeps: false, end: (_, found, resolve) => resolve(found) };
}

/**
 * Reads an entry for another verb than `get` and `getOrSet`.
 *
 * @param context The parts of the cache.
 * @param key The logical key.
 * @param operation The operation, for events.
 * @param options Deadline and error handling.
 * @param script How to read, and whether only the head. @default whole texts
 * @returns The outcome.
 */
export function peek(
  context: CacheContext,
  key: string,
  operation: string,
  options: CallOptions | undefined,
  script: ReadScript = context.scripts.texts,
): Promise<Found> {
  return new Promise((resolve, reject) => {
    const wanted = script.what ? "head" : "fresh";
    context.batch.read(new Read(context, key, key, options, peeking(operation, wanted), resolve, reject), script);
  });
}

/** Reads the head of an entry, and counts how long that took. */
export async function peekHead(
  context: CacheContext,
  key: string,
  operation: string,
  options: CallOptions | undefined,
  script: ReadScript = context.scripts.heads,
): Promise<Found> {
  const found = await peek(context, key, operation, options, script);
  if (!found.failed) context.counters.time(performance.now() - found.start);
  return found;
}

/** Judges a text that came with the reply of another command, as the read of a `getOrSet` would. */
export function judge(context: CacheContext, key: string, reply: readonly [Reply, Reply, Reply]): Promise<Found> {
  return new Promise((resolve, reject) => {
    new Read(context, key, key, undefined, peeking("getOrSet", "fresh"), resolve, reject).resolve(...reply);
  });
}

/** Counts and reports the end of a read. */
export function countRead(context: CacheTelemetry, { key, start, failed }: Found, hit: boolean, stale?: true): void {
  const { counters } = context;
  if (!failed) counters.time(performance.now() - start);
  if (!hit) counters.misses++;
  else {
    counters.hits++;
    if (stale) counters.staleHits++;
  }
  if (context.events.active) emit(context, { type: hit ? "hit" : "miss", key, ...(stale && { stale }) });
}
