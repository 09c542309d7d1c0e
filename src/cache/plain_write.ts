import { type Command, type Reply, StoreError } from "../../drivers/driver.ts";
import { isForbidden } from "../base/store_error.ts";
import type { Epoch, Shard } from "../entry/keyspace.ts";
import { storeEntry } from "../lua/entries.ts";
import { evaluate, Slot } from "../wire/batch.ts";
import { DeleteSlot } from "../wire/slot.ts";
import { reportFailure } from "./call.ts";
import type { CacheContext } from "./context.ts";
import type { Entry } from "./make_entry.ts";
import { type PlainWriter, setCommand, type Write } from "./write.ts";

/** The reason to write an entry again: at once, as after NOSCRIPT, because the store answers. */
const OUTDATED = new StoreError("command", "Everything was invalidated before the write", { code: "NOSCRIPT" });

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
 */
export class PlainWrite extends Slot {
  readonly #context: CacheContext;
  readonly #shard: Shard;
  readonly #entry: Entry;
  readonly #request: Write;
  readonly #resolve: (written: boolean | undefined) => void;
  readonly #reject: (error: unknown) => void;
  readonly #start: number = performance.now();
  /** The latest epoch that was known when the command left. */
  #last: Epoch | undefined;
  /** The text that was sent. */
  #text = "";
  /** The epoch from before it was written, once it must be written again. */
  #born: number | undefined;

  /**
   * @param context The parts of the cache.
   * @param shard The shard of the key.
   * @param physical The physical key.
   * @param entry The entry.
   * @param request The write.
   * @param resolve Resolves the caller's promise.
   * @param reject Rejects it.
   */
  constructor(
    context: CacheContext,
    shard: Shard,
    physical: string,
    entry: Entry,
    request: Write,
    resolve: (written: boolean | undefined) => void,
    reject: (error: unknown) => void,
  ) {
    super([physical], request.timeout, true);
    this.#context = context;
    this.#shard = shard;
    this.#entry = entry;
    this.#request = request;
    this.#resolve = resolve;
    this.#reject = reject;
    this.epochKey = shard.epochKey;
  }

  override prepare(billed: boolean): void {
    if (this.epochKey === undefined || !(billed || this.#shard.lastEpoch.text === undefined)) return;
    this.script = storeEntry;
    if (billed) this.epochKey = undefined;
  }

  override revise(reply: Reply, epoch: Reply | undefined): StoreError | undefined {
    if (this.settled || epoch instanceof Error) return undefined;
    const refused = reply instanceof Error;
    if (refused && !(this.script && isForbidden(reply))) return undefined;
    const shard = this.#shard;
    const before = shard.lastEpoch;
    const { seq, all } = shard.noteEpoch(epoch, this.#last);
    if (shard.lastEpoch !== before) this.#context.nears.outdate(shard);
    if (refused) {
      this.script = undefined;
      this.reloaded = true;
      return reply;
    }
    if (!this.#last || (all <= this.#last.seq && seq >= this.#last.seq)) return undefined;
    this.#born = seq;
    this.script = storeEntry;
    this.epochKey = undefined;
    this.epochAt = -1;
    return OUTDATED;
  }

  override leads(other: Slot): boolean {
    // A deletion has found it, so it is not written again.
    return this.#born !== undefined ? this.precedes(other) && !(other instanceof DeleteSlot) : super.leads(other);
  }

  override render(known: boolean): Command {
    const { text, keep } = this.#entry;
    const key = this.keys[0] as string;
    const { epochKey, marksPrefix, lastEpoch } = this.#shard;
    if (this.script) {
      const args = [text, keep, this.#born ?? "", "*", marksPrefix, ""];
      if (this.#born !== undefined) args.push("2", this.#text);
      return evaluate(this.script, known, [key, epochKey], args);
    }
    this.#last = lastEpoch;
    const command = setCommand(key, text, lastEpoch.seq, keep);
    this.#text = command[2] as string;
    return command;
  }

  override settle(reply: Reply, epoch: Reply = null): void {
    if (this.settled) return;
    if (reply instanceof Error) this.fail(reply);
    else if (this.epochKey !== undefined && epoch instanceof Error) this.fail(epoch);
    else this.#end();
  }

  override fail(error: StoreError): void {
    if (this.settled) return;
    this.settled = true;
    const { operation, options } = this.#request;
    this.#context.nears.forget(this.keys[0] as string);
    try {
      reportFailure(this.#context, operation, error, options);
      this.#resolve(undefined);
    } catch (thrown) {
      this.#reject(thrown);
    }
  }

  #end(): void {
    this.settled = true;
    const { counters, nears } = this.#context;
    counters.time(performance.now() - this.#start);
    counters.writes++;
    // A near cache may have read the old value in between.
    nears.forget(this.keys[0] as string);
    this.#resolve(true);
  }
}

/** Writes by SET where that can be: an entry of a caller's own, without tags, that breaks no lock. */
export const plainWrite: PlainWriter = (...args) => {
  const [context, , , { tags }, { origin, policy }] = args;
  if (origin || policy.lock || tags !== "") return false;
  context.batch.write(new PlainWrite(...args));
  return true;
};
