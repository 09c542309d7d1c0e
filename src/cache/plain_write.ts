import type { Command, Reply, StoreError } from "../../drivers/driver.ts";
import { toStoreError } from "../base/foreign_error.ts";
import type { Epoch } from "../entry/keyspace.ts";
import { storeEntry } from "../lua/entries.ts";
import { evaluate, Slot } from "../wire/batch.ts";
import { reportFailure } from "./call.ts";
import type { CacheContext } from "./context.ts";
import type { Entry } from "./make_entry.ts";
import { setCommand, type Write } from "./write.ts";

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
    this.epochKey = context.space.epochKey;
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
    const command = setCommand(key, text, this.#last.seq, keep);
    this.#text = command[2] as string;
    return command;
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
    const { operation, options } = this.#request;
    this.#context.nears.forget(this.keys[0] as string);
    try {
      reportFailure(this.#context, operation, error, options);
      this.#resolve(undefined);
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
    counters.time(performance.now() - this.#start);
    counters.writes++;
    // A near cache may have read the old value in between.
    nears.forget(this.keys[0] as string);
    this.#resolve(true);
  }
}
