/**
 * The parts of a store that has several, such as the masters of a cluster. What a tick sends to a part leaves, waits
 * and fails apart from the rest, so callers of a healthy part never wait for a sick one. Each part has a circuit
 * breaker of its own, and its own scripts.
 *
 * Only an open driver says whether its store has parts, and they change. Therefore a batch gathers its slots as for one
 * store, and they are regrouped when they leave: reads into one MGET for each shard, deletions and runs of one script
 * into those of one hash slot, because all keys of a command must have the same one.
 *
 * @module
 */
import { type Driver, StoreError } from "../../drivers/driver.ts";
import { hashSlot } from "../base/crc16.ts";
import { remember } from "../base/remember.ts";
import type { BatchParts, Part, PartBreaker } from "./batch_options.ts";
import type { Breaker } from "./breaker.ts";
import { type Caller, DeleteSlot, ReadSlot, type Slot } from "./slot.ts";

/** A command that goes in front of all others of a hash slot. */
interface First {
  readonly place: number;
  readonly database: number;
  readonly make: (timeout: number) => Slot;
}

/** The parts of one store, for all batches over it. */
export class StoreParts implements BatchParts {
  readonly #breaker: ((part: string) => Breaker) | undefined;
  readonly #parts = new Map<string, Part & { readonly own: Breaker | undefined }>();
  /** Stands for the part that the driver chooses for a command without keys. No part is to blame if it fails. */
  readonly #any: Part = { name: "", breaker: undefined, known: new Set() };

  /** The commands that go in front of others. */
  readonly #firsts = new Set<First>();
  #driver: Driver | undefined;

  /** @param breaker Makes the circuit breaker of a part, unless they are turned off. */
  constructor(breaker: ((part: string) => Breaker) | undefined) {
    this.#breaker = breaker;
  }

  /** The breakers of the parts that were sent to, by their names. */
  get breakers(): readonly (readonly [part: string, breaker: Breaker])[] {
    return [...this.#parts].flatMap(([name, { own }]) => (own ? [[name, own] as const] : []));
  }

  /** Returns the name of the part that has a key now, once the store was asked for something. */
  partOf(key: string): string | undefined {
    return this.#driver?.partOf?.(key);
  }

  /**
   * Puts a command in front of whatever is sent to the keys of a hash slot, until it is cancelled.
   *
   * @param key A key of the hash slot.
   * @param database The database of the key.
   * @param make Makes the command, which waits as long as the first one behind it.
   * @returns Cancels it.
   */
  putFirst(key: string, database: number, make: (timeout: number) => Slot): () => void {
    const first = { place: hashSlot(key), database, make };
    this.#firsts.add(first);
    return () => this.#firsts.delete(first);
  }

  of([slot]: readonly Slot[], driver: Driver | undefined): Part | undefined {
    if (!driver?.partOf) return undefined;
    const key = slot?.keys[0];
    return key === undefined ? this.#any : this.#named(driver.partOf(key), driver);
  }

  cut(slots: readonly Slot[], driver: Driver, database: number): (readonly Slot[])[] | undefined {
    if (!driver.partOf) return undefined;
    this.#driver = driver;
    const firsts = [...this.#firsts].filter((first) => first.database === database);
    const flushes = new Map<Part, Slot[]>();
    const all = regroup(slots, firsts);
    for (const slot of all) {
      const part = this.of([slot], driver) as Part;
      const flush = flushes.get(part);
      if (flush) flush.push(slot);
      else flushes.set(part, [slot]);
    }
    // As after a reply: others answer to their callers.
    for (const slot of slots) if (!all.has(slot)) slot.callers.length = 0;
    for (const [part, flush] of flushes) {
      const breaker = this.#parts.get(part.name as string)?.own;
      if (!breaker || breaker.allows()) continue;
      flushes.delete(part);
      for (const slot of flush) slot.fail(breaker.error());
    }
    return [...flushes.values()];
  }

  #named(name: string, driver: Driver): Part {
    let part = this.#parts.get(name);
    if (!part) {
      this.#forget(driver.parts?.() ?? []);
      const own = this.#breaker?.(name);
      part = { name, own, breaker: judging(own), known: new Set() };
      this.#parts.set(name, part);
    }
    return part;
  }

  /** Forgets the parts that have left the store. */
  #forget(names: readonly string[]): void {
    for (const [name, { own }] of this.#parts) {
      if (names.includes(name)) continue;
      this.#parts.delete(name);
      // A listener that heard that it is open must not believe so for ever.
      own?.succeed();
    }
  }
}

/**
 * Returns the breaker of a part, for which CLUSTERDOWN is a failure, as if the part could not be reached. Nothing is
 * repeated after it: a cluster that is down stays so for longer than a caller waits.
 */
function judging(breaker: Breaker | undefined): PartBreaker {
  return {
    get state() {
      return breaker?.state ?? "closed";
    },
    fail: (error, sent) => breaker?.fail(error, sent),
    succeed(replies, sent): void {
      let away: StoreError | undefined;
      replies.forEach((reply, i) => {
        if (!(reply instanceof StoreError) || reply.code !== "CLUSTERDOWN") return;
        away ??= new StoreError("connection", reply.message, { code: reply.code, cause: reply });
        replies[i] = away;
      });
      if (away) breaker?.fail(away, sent);
      else breaker?.succeed();
    },
  };
}

/** Returns slots in the order of the calls, of which each is one command whose keys have the same hash slot. */
function regroup(slots: readonly Slot[], firsts: readonly First[]): ReadonlySet<Slot> {
  const all = new Set<Slot>();
  /** The last slot for the keys of each hash slot. */
  const last = new Map<number, Slot>();
  for (const slot of slots) {
    // A deadline may have passed while the driver opened.
    if (slot.settled) continue;
    for (const piece of pieces(slot)) {
      const [key] = piece.keys;
      if (key !== undefined) {
        const place = hashSlot(key);
        const before = last.get(place);
        if (!before)
          for (const first of firsts) if (first.place === place) all.add(take(piece, first.make(piece.timeout)));
        if (before && piece.join(before)) continue;
        last.set(place, piece);
      }
      all.add(piece);
    }
  }
  return all;
}

/** Returns the slots that do the work of one. */
function pieces(slot: Slot): Iterable<Slot> {
  const { callers, timeout } = slot;
  if (slot instanceof ReadSlot && !slot.readScript) {
    const byKeyspace = new Map<string, ReadSlot>();
    for (const reader of slot.callers) {
      const { epochKey } = reader.space;
      let piece = byKeyspace.get(epochKey);
      if (!piece) {
        piece = take(slot, new ReadSlot(timeout, reader.space, undefined, slot.readBy, undefined));
        byKeyspace.set(epochKey, piece);
      }
      piece.add(reader);
    }
    return byKeyspace.values();
  }
  // Deletions of several callers have joined only where one server has all keys, such as the master of sentinels.
  if (!(slot instanceof DeleteSlot) || callers.length > 1) return [slot];
  const byPlace = byHashSlot(slot.keys);
  if (byPlace.size === 1) return [slot];
  const caller = sum(callers[0] as Caller, byPlace.size);
  return [...byPlace.values()].map((keys) => {
    const piece = take(slot, new DeleteSlot(keys, timeout));
    piece.callers.push(caller);
    return piece;
  });
}

/** Gives a slot the place and deadline of the one whose work it takes over. */
function take<S extends Slot>({ order, until }: Slot, piece: S): S {
  piece.order = order;
  piece.until = until;
  return piece;
}

/** Returns the caller of several slots, who passes on the sum of their replies. */
function sum(caller: Caller, count: number): Caller {
  let left = count;
  let total = 0;
  return {
    resolve(reply) {
      total += reply as number;
      if (--left === 0) caller.resolve(total);
    },
    reject: (error) => caller.reject(error),
  };
}

/** Groups keys by their hash slot. */
function byHashSlot(keys: readonly string[]): Map<number, string[]> {
  const groups = new Map<number, string[]>();
  for (const key of keys) remember(groups, hashSlot(key), (): string[] => []).push(key);
  return groups;
}
