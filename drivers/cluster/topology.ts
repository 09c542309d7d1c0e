/**
 * The map of a cluster: which master has a slot, and when to ask for that again.
 *
 * **Whom.** Up to three of the masters that answer are asked at once, then the given nodes, then those that fail.
 * Another one is asked for each that fails, and each tenth of a second. The first answer decides, with what comes
 * shortly after it: never the slowest.
 *
 * **When.** On the first send, after MOVED, when a node fails, and once a minute while there are sends. While a master
 * fails, again and again: no message announces its replacement.
 *
 * **Which answer.** Nodes count the changes of the cluster. A lower count than a known one is that of a node that was
 * away, unless two answers in a row have it. After such an answer, and after one that contradicts the last MOVED, the
 * map is asked for again.
 */

import { SLOTS } from "../../src/base/crc16.ts";
import { type NodeAddress, nodeName } from "../../src/base/hosts.ts";
import { inTime } from "../../src/base/in_time.ts";
import { isStoreError } from "../../src/base/store_error.ts";
import { unref } from "../../src/base/timers.ts";
import { StoreError } from "../driver.ts";
import type { NodeDriver } from "../node_redis/node_driver.ts";
import type { Translate } from "../node_redis/several_servers.ts";
import { QUESTION, readSlotMap, type SlotMap } from "./slot_map.ts";

/** The number of nodes that are asked at once. */
const AT_ONCE = 3;
/** The milliseconds after which one more is asked. */
const IMPATIENCE = 100;
/** The milliseconds for which a better answer than the first one is awaited. */
const BETTER = 30;
/** The milliseconds that a node has to answer. */
const PATIENCE = 500;
/** The number of answers that may contradict a MOVED: they come from nodes that have not heard of the move yet. */
const CONTRADICTIONS = 10;
/** The age in milliseconds at which the map is asked for again. */
const AGE = 60_000;
/** The shortest and the longest pause in milliseconds between two questions while a master fails. */
const SHORTEST = 100;
const LONGEST = 400;

/** One node, with its connections. */
export interface KnownNode {
  readonly name: string;
  readonly address: NodeAddress;
  readonly driver: NodeDriver;
  /** True after a send failed, until one succeeds. */
  failing: boolean;
  /** True while the last send succeeded. */
  proven: boolean;
}

/** The ways to reach nodes. */
export interface Dialing {
  readonly seeds: readonly NodeAddress[];
  /** Makes the driver of a node. */
  readonly open: (address: NodeAddress) => NodeDriver;
  readonly translate: Translate;
  /** Called after each change of the masters or of their slots. */
  readonly changed: () => void;
}

/** The masters, their slots, and the nodes that were met. */
export class Topology {
  readonly #dialing: Dialing;
  readonly #nodes = new Map<string, KnownNode>();
  #owners: (string | undefined)[] = [];
  /** The lowest slot of each master, until the owners change. */
  #starts: readonly (readonly [slot: number, name: string])[] | undefined;
  #masters: ReadonlyMap<string, NodeAddress> = new Map();
  #epoch = 0;
  /** The number of answers in a row that were older than the map. */
  #older = 0;
  /** The last MOVED, until an answer agrees with it. */
  #told: { readonly slot: number; readonly owner: string; left: number } | undefined;
  #asked = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | undefined;
  /** Why the last question had no answer. */
  #failure: StoreError | undefined;
  #watching = false;
  /** True if the map is wanted without a send. */
  #wanted = false;
  #wake: (() => void) | undefined;
  #closed: StoreError | undefined;

  constructor(dialing: Dialing) {
    this.#dialing = dialing;
  }

  /** True after the first answer. */
  get known(): boolean {
    return this.#masters.size > 0;
  }

  /** The names of the masters. */
  get masters(): readonly string[] {
    return [...this.#masters.keys()];
  }

  /** Returns the name of the master of a slot, if it has one. */
  ownerOf(slot: number): string | undefined {
    return this.#owners[slot];
  }

  /** Returns the lowest slot of each master, in their order. */
  starts(): readonly (readonly [slot: number, name: string])[] {
    this.#starts ??= this.#findStarts();
    return this.#starts;
  }

  #findStarts(): (readonly [slot: number, name: string])[] {
    const starts = new Map<string, number>();
    let before: string | undefined;
    for (const [slot, owner] of this.#owners.entries()) {
      if (owner !== undefined && owner !== before && !starts.has(owner)) starts.set(owner, slot);
      before = owner;
    }
    return [...starts].map(([name, slot]) => [slot, name]);
  }

  /** Returns a node of the map by its name. */
  node(name: string): KnownNode | undefined {
    const address = this.#masters.get(name);
    return address && (this.#nodes.get(name) ?? this.at(address));
  }

  /** Returns a node of the map by its name. @throws {StoreError} If it is not there. */
  required(name: string): KnownNode {
    const node = this.node(name);
    if (node) return node;
    const expected = this.masters.join(", ");
    throw new StoreError(
      "connection",
      `Cannot send to ${name}, which is not a master of the cluster: expected ${expected}`,
    );
  }

  /** Returns the node at an address. */
  at(address: NodeAddress): KnownNode {
    const name = nodeName(address);
    let node = this.#nodes.get(name);
    if (!node) {
      node = { name, address, driver: this.#dialing.open(address), failing: false, proven: false };
      this.#nodes.set(name, node);
    }
    return node;
  }

  /** Returns a master for commands without keys: one that answers, if there is one. */
  any(): KnownNode {
    const nodes = this.masters.map((name) => this.required(name));
    return (nodes.find(({ failing }) => !failing) ?? nodes[0]) as KnownNode;
  }

  /** Asks for the map if it is not known yet, or no longer fresh. Returns what to wait for if it is not known. */
  ensure(): Promise<void> | undefined {
    if (this.known && performance.now() - this.#asked < AGE) return undefined;
    const asking = this.refresh();
    return this.known ? undefined : asking;
  }

  /** Keeps asking in the background until the map is known. */
  want(): void {
    this.#wanted = true;
    this.#watch();
  }

  /** Notes that a node named the owner of a slot, and asks for the rest of the map. */
  moved(slot: number, address: NodeAddress): KnownNode {
    const node = this.at(address);
    if (this.#owners[slot] !== node.name) {
      this.#owners[slot] = node.name;
      this.#starts = undefined;
      this.#told = { slot, owner: node.name, left: CONTRADICTIONS };
      if (!this.#masters.has(node.name)) {
        this.#masters = new Map([...this.#masters, [node.name, address]]);
      }
      this.#dialing.changed();
      this.refresh(node);
    }
    return node;
  }

  /** Notes that a node does not answer, and asks for the map until all of them do. */
  failed(node: KnownNode): void {
    node.failing = true;
    node.proven = false;
    this.#watch();
  }

  /** Notes that a node has answered. */
  succeeded(node: KnownNode): void {
    node.failing = false;
    node.proven = true;
  }

  /** Asks for the map, unless it was asked for a moment ago. */
  doubt(): void {
    if (performance.now() - this.#asked > SHORTEST) this.refresh();
  }

  /** The question that waits for its answer, if there is one. */
  get asking(): Promise<void> | undefined {
    return this.#asking;
  }

  /** True after {@linkcode close}. */
  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Returns why the map is not known. */
  get failure(): StoreError {
    if (this.#closed) return this.#closed;
    const names = this.#dialing.seeds.map(nodeName).join(", ");
    const { kind, message } = this.#failure ?? { kind: "timeout", message: "none of them has answered yet" };
    const text = `Cannot reach the cluster at ${names}: ${message}`;
    return new StoreError(kind === "auth" ? kind : "connection", text, { cause: this.#failure });
  }

  /** Asks for the map: once at a time. Never rejects. */
  refresh(first?: KnownNode): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#asked = performance.now();
    this.#asking ??= this.#ask(first).then((view) => {
      this.#asking = undefined;
      if (view && !this.#closed) this.#take(view);
      else {
        this.#older = 0;
        this.#told = undefined;
        this.#watch();
      }
    });
    return this.#asking;
  }

  /** Closes the connections to all nodes. */
  async close(why: StoreError): Promise<void> {
    this.#closed = why;
    this.#wake?.();
    await Promise.all([...this.#nodes.values()].map((node) => this.#leave(node, why)));
  }

  /** Resolves to the best answer, or to nothing if no node has one. */
  #ask(first: KnownNode | undefined): Promise<SlotMap | undefined> {
    const candidates = this.#candidates(first);
    return new Promise((resolve) => {
      let best: SlotMap | undefined;
      let waiting = 0;
      let better: ReturnType<typeof setTimeout> | undefined;
      const next = () => {
        const node = candidates.shift();
        if (!node) return;
        waiting++;
        this.#question(node).then((view) => {
          waiting--;
          if (view && this.#isBetter(view, best)) best = view;
          if (!view) next();
          if (waiting === 0) end();
          else if (best) better ??= unrefed(setTimeout(end, BETTER));
        });
      };
      const hedge = unrefed(setInterval(next, IMPATIENCE));
      const end = () => {
        clearTimeout(better);
        clearInterval(hedge);
        resolve(best);
      };
      for (let count = 0; count < AT_ONCE; count++) next();
    });
  }

  /** Returns whether an answer is later than another. Nodes hear of a change's number before they hear all of it. */
  #isBetter(view: SlotMap, other: SlotMap | undefined): boolean {
    if (!other || view.epoch !== other.epoch) return view.epoch > (other?.epoch ?? -1);
    return this.#agrees(view) || !this.#agrees(other);
  }

  /** Returns whether an answer has what the last MOVED said. */
  #agrees({ ranges }: SlotMap): boolean {
    const told = this.#told;
    if (!told) return true;
    return ranges.some(({ first, last, master }) => first <= told.slot && told.slot <= last && master === told.owner);
  }

  #candidates(first: KnownNode | undefined): KnownNode[] {
    const masters = this.masters.flatMap((name) => this.node(name) ?? []);
    // Processes that start together do not all ask the same nodes.
    const start = Math.floor(Math.random() * masters.length);
    const turned = [...masters.slice(start), ...masters.slice(0, start)];
    const seeds = this.#dialing.seeds.map((seed) => this.at(seed));
    const nodes = [...(first ? [first] : []), ...turned.filter(({ failing }) => !failing), ...seeds, ...turned];
    return [...new Set(nodes)];
  }

  /** Asks one node. Resolves to nothing if it has no answer in time. */
  async #question(node: KnownNode): Promise<SlotMap | undefined> {
    const { driver, address } = node;
    try {
      const late = () => new StoreError("timeout", `Redis at ${node.name} gave no answer within ${PATIENCE} ms`);
      const replies = await inTime(driver.send(0, QUESTION, { timeout: PATIENCE }), PATIENCE, late, true);
      this.succeeded(node);
      return readSlotMap(replies, address, this.#dialing.translate);
    } catch (error) {
      const failure = isStoreError(error) ? error : new StoreError("protocol", String(error), { cause: error });
      if (/^(connection|timeout)$/.test(failure.kind)) node.failing = true;
      // That of a login says more than that of a node that is away.
      if (this.#failure?.kind !== "auth" || failure.kind === "auth") this.#failure = failure;
      return undefined;
    }
  }

  #take(view: SlotMap): void {
    if (view.epoch < this.#epoch && ++this.#older < 2) {
      this.#watch();
      return;
    }
    this.#older = 0;
    this.#epoch = view.epoch;
    this.#failure = undefined;
    this.#wanted = false;
    const before = this.#masters;
    this.#owners = new Array(SLOTS).fill(undefined);
    this.#starts = undefined;
    for (const { first, last, master } of view.ranges) this.#owners.fill(master, first, last + 1);
    const told = this.#told;
    if (told && (this.#agrees(view) || told.left-- === 0)) this.#told = undefined;
    this.#masters = view.masters;
    for (const node of this.#nodes.values()) {
      if (view.masters.has(node.name)) continue;
      this.#nodes.delete(node.name);
      // A node that was never a master has questions at most.
      if (before.has(node.name)) this.#leave(node, goneError(node));
      else node.driver.drop(goneError(node));
    }
    this.#dialing.changed();
    this.#watch();
  }

  /** Closes a node. What one that fails still owes is not awaited. */
  #leave(node: KnownNode, why: StoreError): Promise<void> | undefined {
    if (!node.failing) return node.driver.close();
    node.driver.drop(why);
    return undefined;
  }

  /** Asks again and again while a master fails, the map is wanted and not known, or the last answer is in doubt. */
  async #watch(): Promise<void> {
    if (this.#watching) return;
    this.#watching = true;
    for (let pause = SHORTEST; !this.#closed; pause = Math.min(pause * 1.5, LONGEST)) {
      const failing = this.masters.flatMap((name) => this.node(name) ?? []).filter((node) => node.failing);
      const lacking = failing.length > 0 || (this.#wanted && !this.known);
      if (!lacking && this.#older === 0 && !this.#told) break;
      // One that is back shows it by its answer.
      for (const node of failing) this.#question(node);
      if (lacking) await this.refresh();
      await new Promise<void>((done) => {
        this.#wake = done;
        unrefed(setTimeout(done, pause));
      });
      if (!lacking) await this.refresh();
    }
    this.#watching = false;
  }
}

/** Makes the error of pending sends to a node that has left. */
export function goneError({ name }: KnownNode): StoreError {
  const text = `Redis at ${name} is not a master of the cluster any more`;
  return new StoreError("connection", text, { repeat: "idempotent" });
}

function unrefed<T>(timer: T): T {
  unref(timer);
  return timer;
}
