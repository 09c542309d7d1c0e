/**
 * A read under way, from the reply to the value: whether the entry holds and is fresh, what it decodes to, whether its schema takes it.
 */
import type { Reply } from "../../drivers/driver.ts";
import type { SchemaIssue } from "../base/errors.ts";
import { hookError } from "../base/foreign_error.ts";
import { CLOCK_SKEW_MS } from "../base/own_keys.ts";
import { isStoreError } from "../base/store_error.ts";
import { type Document, fromDocument, parse } from "../entry/codec.ts";
import type { Epoch, Id, Keyspace } from "../entry/keyspace.ts";
import { fits, schemaIssues } from "../entry/schema.ts";
import type { Reader } from "../wire/batch.ts";
import { type CallOptions, failed, timeoutOf } from "./call.ts";
import { type CacheContext, lookAt } from "./context.ts";

/** A read under way. What it ends in, its kinds say. */
export abstract class Read implements Reader {
  readonly context: CacheContext;
  readonly id: Id;
  /** The logical key. */
  readonly key: string;
  readonly physical: string;
  readonly space: Keyspace;
  timeout: number;
  readonly options: CallOptions | undefined;
  readonly start: number = performance.now();
  /** Whether there is an entry: a fresh one, or one that is kept beyond its TTL. */
  state: "none" | "fresh" | "old" = "none";
  value: unknown = undefined;
  document: Document | undefined;
  /** The stored text. */
  text: string | null = null;
  /** The keyspace's clock at the read. */
  clock: Epoch;
  /** What the key has to live, as PTTL says it, where that was asked. */
  left: Reply | undefined;
  /** Whether the store did not answer. */
  failed = false;
  protected readonly refuse: (error: unknown) => void;
  /** What the near cache knows it by, where it may keep what comes back. */
  protected mark: number | undefined;

  constructor(
    context: CacheContext,
    id: Id,
    key: string,
    options: CallOptions | undefined,
    refuse: (error: unknown) => void,
  ) {
    this.context = context;
    this.id = id;
    this.key = key;
    this.options = options;
    this.space = context.space;
    this.physical = context.space.key(key);
    this.timeout = timeoutOf(context, options);
    this.clock = context.space.lastEpoch;
    this.refuse = refuse;
  }

  /** Called once, when all is known. Must not throw. */
  protected abstract end(): void;

  /** The operation, for events. */
  protected get operation(): string {
    return "get";
  }

  /** Whether an entry that is not fresh is of use. */
  protected get wantsOld(): boolean {
    return false;
  }

  /** Whether the value is of use, or only what is known of it. */
  protected wantsValue = true;

  resolve(reply: Reply, clock?: Reply, left?: Reply): void {
    const { context } = this;
    try {
      const before = context.space.lastEpoch;
      this.clock = context.space.noteEpoch(clock);
      if (context.space.lastEpoch !== before) for (const near of context.nears) near.outdate(context.space);
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
      if (born < this.clock.all) {
        this.#finish();
        return;
      }
      if (left === undefined && tags) {
        // It came without the store's look at its tags.
        context.readScript ??= lookAt(context.space);
        if (born < this.clock.seq) {
          this.timeout = Math.max(1, this.timeout - (performance.now() - this.start));
          context.batch.read(this, context.readScript);
          return;
        }
      }
      this.#read(document);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** What fails once the reply is here is the schema. */
  #fail(error: unknown): void {
    this.reject(this.context.schema && !isStoreError(error) ? hookError("schema", error) : error);
  }

  reject(error: unknown): void {
    this.failed = true;
    try {
      failed(this.context, this.operation, error, this.options);
    } catch (thrown) {
      this.refuse(thrown);
      return;
    }
    this.#finish();
  }

  #read(document: Document): void {
    const { context } = this;
    const { at, ttl = 0 } = document;
    const age = at === undefined ? 0 : context.now() - at;
    this.state = at === undefined || (age < ttl && age > -CLOCK_SKEW_MS) ? "fresh" : "old";
    if (!this.wantsValue || (this.state === "old" && !this.wantsOld)) {
      this.#settle(undefined);
      return;
    }
    const { sealing, known, target } = context;
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
      this.#tell("payload", []);
      return undefined;
    }
  }

  #decode(document: Document): void {
    let value: unknown;
    try {
      value = fromDocument(document, this.context.known);
    } catch {
      this.#corrupt("payload");
      return;
    }
    const { version = 1, schema } = this.context;
    const from = this.document?.version ?? 1;
    if (from !== version && value !== undefined) {
      value = this.#migrate(value, from, version);
      if (value === undefined) {
        this.#drop();
        return;
      }
    }
    if (!schema || value === undefined || fits(schema, value)) {
      this.#settle(value);
      return;
    }
    const result = schema["~standard"].validate(value);
    const judge = (settled: Awaited<typeof result>): void => {
      if (settled.issues) this.#corrupt("schema", schemaIssues(settled));
      else this.#settle(settled.value);
    };
    if (result instanceof Promise) {
      result.then(judge).catch((error) => this.#fail(error));
    } else {
      judge(result);
    }
  }

  /** The value in the form of today; `undefined` where no steps lead there. */
  #migrate(old: unknown, from: number, to: number): unknown {
    const { events, target, migrate = {} } = this.context;
    let value: unknown = from < to ? old : undefined;
    try {
      for (let step = from; step < to && value !== undefined; step++) value = migrate[step]?.(value);
    } catch {
      value = undefined;
    }
    events.emit({ type: "migrate", key: this.key, from, to, ok: value !== undefined, ...target });
    return value;
  }

  #settle(value: unknown): void {
    if (this.state === "none") this.state = "fresh";
    this.value = value;
    this.#finish();
  }

  #corrupt(reason: "payload" | "schema" | "sealed", issues: readonly SchemaIssue[] = []): void {
    this.#tell(reason, issues);
    this.#drop();
  }

  #drop(): void {
    this.state = "none";
    this.#finish();
  }

  #tell(reason: "payload" | "schema" | "sealed", issues: readonly SchemaIssue[]): void {
    const { counters, events, target } = this.context;
    counters.corrupt++;
    events.emit({ type: "corrupt", key: this.key, reason, issues, ...target });
  }

  #finish(): void {
    const { near } = this.context;
    if (near) near.keep(this.mark, this);
    this.end();
  }
}

/** A read for the caller of `get`: only a fresh value will do. */
export class Get extends Read {
  readonly #done: (value: unknown) => void;

  constructor(
    context: CacheContext,
    id: Id,
    key: string,
    options: CallOptions | undefined,
    done: (value: unknown) => void,
    refuse: (error: unknown) => void,
  ) {
    super(context, id, key, options, refuse);
    this.#done = done;
    this.mark = context.near?.begin();
  }

  protected override end(): void {
    const value = this.state === "fresh" ? this.value : undefined;
    count(this, value !== undefined);
    this.#done(value);
  }
}

/** A read that only finds out. Its end is its caller's to count. */
export class Look extends Read {
  readonly #done: (read: Look) => void;
  readonly #operation: string;

  constructor(
    context: CacheContext,
    key: string,
    { operation, value = false, ...options }: CallOptions & { operation: string; value?: boolean },
    done: (read: Look) => void,
    refuse: (error: unknown) => void,
  ) {
    super(context, key, key, options, refuse);
    this.#done = done;
    this.#operation = operation;
    this.wantsValue = value;
  }

  protected override get operation(): string {
    return this.#operation;
  }

  protected override end(): void {
    this.#done(this);
  }
}

/** Counts and tells of the end of a read. */
export function count({ context, key, start, failed }: Read, hit: boolean, stale?: true): void {
  const { counters, events, target } = context;
  if (!failed) counters.time(performance.now() - start);
  if (!hit) counters.misses++;
  else {
    counters.hits++;
    if (stale) counters.staleHits++;
  }
  if (events.active) events.emit({ type: hit ? "hit" : "miss", key, ...(stale && { stale }), ...target });
}
