/**
 * Finds slots that moved to another node while their keys were read. A scan may miss keys that move: they were not yet
 * on the node that was scanned to its end, and no longer on the one that is scanned later.
 */
import { hashSlot } from "../base/crc16.ts";
import { displayText, type ManagedConnection, word } from "./connection.ts";
import type { Bulk } from "./target.ts";

/** The times that moved slots are read again, because they may move once more. */
const TRIES = 3;

/** The nodes of the slots of a service or a database; `undefined` for one that cannot be said. */
type Places = ReadonlyMap<number, string | undefined>;

/** Watches the slots of a connection's shards. */
export class MovedSlots {
  readonly #connection: ManagedConnection;
  #places: Places = new Map();

  constructor(connection: ManagedConnection) {
    this.#connection = connection;
  }

  /** Remembers where the slots are, before their keys are read. */
  async begin(): Promise<void> {
    this.#places = await this.#ask();
  }

  /**
   * Reads the keys of the slots that have moved since, or are being moved.
   *
   * @returns The keys, by slot. They may have been read before.
   */
  async *keys(): AsyncGenerator<{ readonly slot: number; readonly keys: readonly Bulk[] }, void, void> {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const moved = await this.#moved();
      if (moved.length === 0) return;
      for (const slot of moved) yield { slot, keys: await this.#keysIn(slot) };
    }
  }

  /** Returns the slots that moved while they were read the last time. */
  async rest(): Promise<readonly number[]> {
    return await this.#moved();
  }

  async #moved(): Promise<number[]> {
    const before = this.#places;
    this.#places = await this.#ask();
    return [...this.#places].flatMap(([slot, place]) => (place === before.get(slot) && place !== OPEN ? [] : slot));
  }

  /** Asks all nodes which slots they have. */
  async #ask(): Promise<Places> {
    const { layout, location } = this.#connection;
    const parts = await this.#connection.parts();
    if (parts.length === 0 || layout.count === undefined) return new Map();
    const slots = new Set(layout.tags.map(hashSlot));
    const places = new Map<number, string>([...slots].map((slot) => [slot, ""]));
    const answers = await Promise.all(
      parts.map(async (part) => (await this.#connection.onPart(part).send([["CLUSTER", "NODES"]]))[0]),
    );
    answers.forEach((answer, i) => {
      const node = parts[i] as string;
      if (answer instanceof Error) return;
      const own = word(answer)
        .split("\n")
        .find((line) => line.includes("myself"));
      for (const range of own?.split(" ").slice(8) ?? []) {
        const [, open] = /^\[(\d+)-/.exec(range) ?? [];
        if (open !== undefined && slots.has(Number(open))) places.set(Number(open), OPEN);
        if (open !== undefined) continue;
        const [first = 0, last = first] = range.split("-").map(Number);
        for (const slot of slots)
          if (slot >= first && slot <= last && places.get(slot) !== OPEN) places.set(slot, node);
      }
    });
    // A node that may not be asked: the map of the driver is what is known.
    for (const tag of layout.tags) {
      const slot = hashSlot(tag);
      if (places.get(slot) === "") places.set(slot, location.driver.partOf?.(location.prefix + tag) ?? "");
    }
    return places;
  }

  /** Returns the keys of a slot on all nodes, those of other services left out. */
  async #keysIn(slot: number): Promise<Bulk[]> {
    const found: Bulk[] = [];
    for (const part of await this.#connection.parts()) {
      const node = await this.#connection.openPart(part);
      try {
        const [count] = await node.send([["CLUSTER", "COUNTKEYSINSLOT", slot]]);
        if (typeof count !== "number" || count === 0) continue;
        const [keys] = await node.must([["CLUSTER", "GETKEYSINSLOT", slot, count]]);
        found.push(...(keys as Bulk[]));
      } finally {
        await node.close();
      }
    }
    return found.filter((key) => displayText(key).startsWith(this.#connection.location.prefix));
  }
}

/** The place of a slot that is being moved, key by key. */
const OPEN = "open";
