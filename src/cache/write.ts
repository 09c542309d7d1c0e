/** A write, from an entry to the store: the one path of `set`, `setMany`, `update` and loads. */
import type { Command, Reply, StoreError } from "../../drivers/driver.ts";
import { toStoreError } from "../base/foreign_error.ts";
import type { Policy } from "../config/policy.ts";
import type { Epoch } from "../entry/keyspace.ts";
import { storeEntry } from "../lua/entries.ts";
import { evaluate, Slot } from "../wire/batch.ts";
import { type CallOptions, reportFailure } from "./call.ts";
import type { CacheContext } from "./context.ts";
import type { Entry, Origin } from "./make_entry.ts";

/** A requested write. */
export interface Write {
  /** The logical key. */
  readonly key: string;
  readonly entry: Entry | Promise<Entry>;
  readonly policy: Policy;
  /** Facts about the value, if it is not a caller's `set`. */
  readonly origin?: Origin;
  /** The operation, for events. */
  readonly operation: string;
  /** Milliseconds until the write fails. */
  readonly timeout: number;
  readonly options: CallOptions | undefined;
  /**
   * Called when the entry is ready; with `false` it is not written. @default drops the key's load in flight, so that
   * its result does not overwrite this value
   */
  begin?(): boolean;
}

/** The last entry of each cache that is made asynchronously, as sealed ones are. Later ones are written after it. */
const preparing = new WeakMap<CacheContext, Promise<unknown>>();

/**
 * Writes an entry at once. An entry that is made asynchronously is written when it and all earlier ones of the cache
 * are ready. Near caches forget the key.
 *
 * @param context The parts of the cache.
 * @param request The entry, and how to write it.
 * @returns Whether it was written: `false` if its lock was lost or another text is stored than was expected;
 * `undefined` if the store is away, or if `begin` returned `false`.
 * @throws {StoreError} If the store is away and the caller wants that thrown.
 */
export function write(context: CacheContext, request: Write): Promise<boolean | undefined> {
  return new Promise((resolve, reject) => start(context, request, resolve, reject));
}

/** Does what {@linkcode write} does, and settles a promise of the caller's. */
export function start(
  context: CacheContext,
  request: Write,
  resolve: (written: boolean | undefined) => void,
  reject: (error: unknown) => void,
): void {
  const { entry } = request;
  if (!(entry instanceof Promise)) {
    save(context, entry, request, resolve, reject);
    return;
  }
  const ready = Promise.resolve(preparing.get(context)).then(() => entry);
  preparing.set(
    context,
    ready.catch(() => {}),
  );
  ready.then((made) => save(context, made, request, resolve, reject)).catch(reject);
}

function save(
  context: CacheContext,
  entry: Entry,
  request: Write,
  resolve: (written: boolean | undefined) => void,
  reject: (error: unknown) => void,
): void {
  const { batch, loads, space } = context;
  const { key, policy, origin, begin } = request;
  const physical = space.key(key);
  if (!begin) loads.supersede(physical);
  else if (!begin()) {
    resolve(undefined);
    return;
  }
  // If loads take locks, a write breaks them, so that no load of another process overwrites this value.
  const plain = origin ? origin.born !== undefined && origin.token === undefined : policy.lock === undefined;
  if (plain && entry.tags === "") batch.write(new PlainWrite(context, physical, entry, request, resolve, reject));
  else saveByScript(context, physical, entry, request).then(resolve, reject);
}

async function saveByScript(
  context: CacheContext,
  physical: string,
  { text, keep, tags }: Entry,
  request: Write,
): Promise<boolean | undefined> {
  const { batch, nears, space, counters } = context;
  const { key, policy, origin = {}, timeout } = request;
  const { born, token, expected } = origin;
  const locks = token !== undefined || policy.lock !== undefined;
  const also = locks ? [space.epochKey, space.lock(key)] : [space.epochKey];
  const args: (string | number)[] = [text, keep, born ?? "", token ?? "*", space.marksPrefix, tags];
  if (expected !== undefined) args.push(expected === null ? "0" : "1", expected ?? "");
  const idempotent = expected === undefined && token === undefined;
  const start = performance.now();
  try {
    const written = (await batch.run(storeEntry, [physical], args, timeout, idempotent, also)) !== 0;
    // The latency of an update or a load is more than that of its write.
    if (!request.origin) counters.time(performance.now() - start);
    if (written) counters.writes++;
    return written;
  } catch (error) {
    return reportFailure(context, request.operation, error, request.options);
  } finally {
    // A near cache may have read the old value in between.
    nears.forget(physical);
  }
}

/**
 * A write by SET, of an entry without tags that gives up and breaks no lock: one object a call.
 *
 * Its entry carries the latest epoch that this client knows. The epoch of the store is read just before it, in the same
 * send, so an invalidation that comes after the write is later than both. If everything was invalidated before, and
 * this client did not know that yet, the entry is a miss for all readers. Then it is written again with the epoch that
 * was read, unless something else is stored by now.
 *
 * While no epoch is known, and where each command is billed, a script stores the entry with the store's own. A user who
 * may not run scripts learns the epoch by that attempt.
 *
 * A load knows the epoch from before it started, and asks for none.
 */
class PlainWrite extends Slot {
  readonly #context: CacheContext;
  readonly #entry: Entry;
  readonly #request: Write;
  readonly #resolve: (written: boolean | undefined) => void;
  readonly #reject: (error: unknown) => void;
  readonly #start: number = performance.now();
  /** The latest epoch that was known when the command left. */
  #last: Epoch | undefined;
  /** The text that was sent. */
  #text = "";

  /**
   * @param context The parts of the cache.
   * @param physical The physical key.
   * @param entry The entry.
   * @param request The write.
   * @param resolve Resolves the caller's promise.
   * @param reject Rejects it.
   */
  constructor(
    context: CacheContext,
    physical: string,
    entry: Entry,
    request: Write,
    resolve: (written: boolean | undefined) => void,
    reject: (error: unknown) => void,
  ) {
    super([physical], request.timeout, true);
    this.#context = context;
    this.#entry = entry;
    this.#request = request;
    this.#resolve = resolve;
    this.#reject = reject;
    if (request.origin === undefined) this.epochKey = context.space.epochKey;
  }

  override prepare(billed: boolean): void {
    if (this.epochKey === undefined || !(billed || this.#context.space.lastEpoch.text === undefined)) return;
    this.script = storeEntry;
    if (billed) this.epochKey = undefined;
  }

  override withoutScript(epoch: Reply | undefined): boolean {
    if (this.script === undefined || this.epochKey === undefined || epoch instanceof Error) return false;
    this.#context.space.noteEpoch(epoch);
    this.script = undefined;
    return true;
  }

  override render(known: boolean): Command {
    const { text, keep } = this.#entry;
    const key = this.keys[0] as string;
    const { space } = this.#context;
    if (this.script) {
      return evaluate(this.script, known, [key, space.epochKey], [text, keep, "", "*", space.marksPrefix, ""]);
    }
    this.#last = space.lastEpoch;
    const born = this.#request.origin?.born ?? this.#last.seq;
    this.#text = born > 0 ? `{"born":${born},${text.slice(1)}` : text;
    return keep > 0 ? ["SET", key, this.#text, "PX", keep] : ["SET", key, this.#text];
  }

  override settle(reply: Reply, epoch: Reply = null): void {
    if (this.settled) return;
    if (this.epochKey !== undefined && !(reply instanceof Error)) {
      if (epoch instanceof Error) {
        this.fail(epoch);
        return;
      }
      const { space, nears } = this.#context;
      const before = space.lastEpoch;
      const { seq, all } = space.noteEpoch(epoch, this.#last);
      if (space.lastEpoch !== before) nears.outdate(space);
      if (this.#last && (all > this.#last.seq || seq < this.#last.seq)) {
        this.#repair(seq);
        return;
      }
    }
    if (reply instanceof Error) this.fail(reply);
    else this.#end();
  }

  override fail(error: StoreError): void {
    if (this.settled) return;
    this.settled = true;
    const { origin, operation, options } = this.#request;
    this.#context.nears.forget(this.keys[0] as string);
    try {
      reportFailure(this.#context, operation, error, options);
      this.#resolve(origin ? undefined : false);
    } catch (thrown) {
      this.#reject(thrown);
    }
  }

  /** Gives the entry the epoch from before it was written, if it is still stored. */
  #repair(born: number): void {
    const { batch, space } = this.#context;
    const { text, keep } = this.#entry;
    const left = Math.max(1, this.timeout - (performance.now() - this.#start));
    const args = [text, keep, born, "", space.marksPrefix, "", "2", this.#text];
    const sent = batch.run(storeEntry, this.keys, args, left, true, [space.epochKey]);
    sent.then(
      () => this.#end(),
      (error) => this.fail(toStoreError(error)),
    );
  }

  #end(): void {
    if (this.settled) return;
    this.settled = true;
    const { counters, nears } = this.#context;
    // The latency of a load is more than that of its write.
    if (this.#request.origin === undefined) counters.time(performance.now() - this.#start);
    counters.writes++;
    // A near cache may have read the old value in between.
    nears.forget(this.keys[0] as string);
    this.#resolve(true);
  }
}
