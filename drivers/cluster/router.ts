/**
 * Sends commands to the nodes that have their keys, and follows what those answer.
 *
 * **Order.** What is issued later for a key arrives later: there is one connection to a node, and what a node refuses
 * is sent on when the refusal arrives, in its order. While refusals of a slot that has moved may still come, later
 * commands for it wait for them.
 *
 * **Once.** MOVED, ASK and TRYAGAIN are refusals before anything was executed, and a node that could not be reached has
 * got nothing: those commands are sent on, whatever they are. What was lost on its way is for the caller to judge.
 */

import { hashSlot } from "../../src/base/crc16.ts";
import { routingKey } from "../../src/base/routing_key.ts";
import { isOfCluster, isStoreError } from "../../src/base/store_error.ts";
import { unref } from "../../src/base/timers.ts";
import { errorReply, type RawCommand, type RawReply, type SendOptions, StoreError } from "../driver.ts";
import { ignore, isUnsent } from "../node_redis/errors.ts";
import type { Translate } from "../node_redis/several_servers.ts";
import { within } from "../node_redis/within.ts";
import { codeOf, cut } from "./keys.ts";
import { isScan, stepOf } from "./scan.ts";
import { readRedirection } from "./slot_map.ts";
import { goneError, type KnownNode, type Topology } from "./topology.ts";

/** The most times that a command is sent on. */
const HOPS = 5;
/** The milliseconds for which a command that was not sent waits for the owner of its slot to change. */
const CHANGE = 100;

/** The connections of a router to one node. */
export interface NodeLine {
  send(commands: readonly RawCommand[], options: SendOptions | undefined, database: number): Promise<RawReply[]>;
  /** Called with each command that leaves for this node because it gets the slot. */
  asked?(command: RawCommand): void;
}

/** One call, with what its commands share. */
interface Call {
  readonly options: SendOptions | undefined;
  readonly database: number;
  readonly began: number;
}

/** Where commands wait: at a node, or for a fence. */
type Place = KnownNode | Promise<void>;

/** A router over the lines to nodes. */
export class Router {
  readonly #topology: Topology;
  readonly #translate: Translate;
  readonly #line: (node: KnownNode) => NodeLine;
  /** True if a node has one connection, on which the order is kept. */
  readonly #ordered: boolean;
  /** The last send to each node, which is settled when its refusals were sent on. */
  readonly #last = new WeakMap<KnownNode, Promise<unknown>>();
  /** The slots that have moved while sends to their old owner were pending. */
  readonly #fences = new Map<number, Promise<void>>();

  constructor(topology: Topology, translate: Translate, ordered: boolean, line: (node: KnownNode) => NodeLine) {
    this.#topology = topology;
    this.#translate = translate;
    this.#ordered = ordered;
    this.#line = line;
  }

  /** Sends commands. Rejects with the error of the first one if none was answered. */
  send(commands: readonly RawCommand[], options: SendOptions | undefined, database = 0): Promise<RawReply[]> {
    if (commands.length === 0) return Promise.resolve([]);
    const call = { options, database, began: performance.now() };
    const unknown = this.#topology.ensure();
    return unknown ? this.#sendAfter(unknown, commands, call) : this.#route(commands, call, 0);
  }

  async #sendAfter(known: Promise<void>, commands: readonly RawCommand[], call: Call): Promise<RawReply[]> {
    await within(known, left(call));
    if (!this.#topology.known) throw this.#topology.failure;
    if (isOver(call)) throw lateError(call);
    return this.#route(commands, call, 0);
  }

  /** Sends each command to its node. What goes to one node leaves together. */
  #route(commands: readonly RawCommand[], call: Call, hops: number): Promise<RawReply[]> {
    const groups = new Map<Place, number[]>();
    const scans: number[] = [];
    try {
      for (const [index, command] of commands.entries()) {
        const place = this.#place(command, call);
        if (!place) scans.push(index);
        else if (groups.has(place)) groups.get(place)?.push(index);
        else groups.set(place, [index]);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    const [first] = groups.keys();
    if (first && groups.size === 1 && scans.length === 0) return this.#carry(first, commands, call, hops);
    const replies: RawReply[] = [];
    const into = (group: readonly number[], some: Promise<RawReply[]>) =>
      some.then((all) => put(replies, group, all), putError(replies, group));
    const sends = [
      ...[...groups].map(([place, group]) => into(group, this.#carry(place, pick(commands, group), call, hops))),
      ...scans.map((index) => into([index], this.#walk(commands[index] as RawCommand, call))),
    ];
    return Promise.all(sends).then(() => answered(replies));
  }

  /** Returns where a command goes. Nothing for a SCAN, which walks over all masters. */
  #place(command: RawCommand, { options }: Call): Place | undefined {
    const topology = this.#topology;
    const key = routingKey(command);
    const slot = key === undefined ? undefined : hashSlot(key);
    const fence = slot !== undefined && this.#fences.size > 0 && this.#fences.get(slot);
    if (fence) return fence;
    const name = slot === undefined ? options?.part : topology.ownerOf(slot);
    if (slot === undefined && name === undefined && isScan(command)) return undefined;
    return name === undefined ? topology.any() : topology.required(name);
  }

  /** Sends commands to a node, or to where they belong when a fence is gone. */
  #carry(place: Place, commands: readonly RawCommand[], call: Call, hops: number): Promise<RawReply[]> {
    if (place instanceof Promise) {
      return place.then(() => {
        // The caller has already seen a failure, so the commands must not be executed now.
        if (isOver(call)) throw lateError(call);
        return this.#route(commands, call, hops);
      });
    }
    return this.#write(
      place,
      commands,
      call,
      (replies, alone) => this.#follow(place, commands, replies, call, hops, alone),
      (error) => this.#elsewhere(place, commands, error, call, hops),
    );
  }

  /** Sends a SCAN to the master that its cursor names. */
  #walk(command: RawCommand, call: Call): Promise<RawReply[]> {
    const step = stepOf(command, this.#topology);
    const node = step && this.#topology.node(step.node);
    if (!node) return Promise.resolve([errorReply("ERR invalid cursor")]);
    const leave = (replies: RawReply[]) => replies.map(step.leave);
    return this.#write(node, [step.command], call, leave, (error) => Promise.reject(error));
  }

  /** Writes to a node, and calls one of the functions at the moment of its answer. */
  #write(
    node: KnownNode,
    commands: readonly RawCommand[],
    call: Call,
    onReplies: (replies: RawReply[], alone: boolean) => RawReply[] | Promise<RawReply[]>,
    onError: (error: StoreError) => Promise<RawReply[]>,
  ): Promise<RawReply[]> {
    const options = remaining(call);
    // A connection notices by itself that replies are late, but not while it is being opened.
    const watch =
      node.proven || options?.timeout === undefined
        ? undefined
        : setTimeout(() => this.#topology.failed(node), options.timeout);
    unref(watch);
    const last: Promise<{ result: RawReply[] | Promise<RawReply[]> }> = this.#line(node)
      .send(commands, options, call.database)
      // Their results are wrapped: the last send is settled when they were called, not when they have ended.
      .then(
        (replies) => {
          clearTimeout(watch);
          this.#judge(node, replies);
          return { result: onReplies(replies, this.#last.get(node) === last) };
        },
        (error) => {
          clearTimeout(watch);
          if (!isStoreError(error)) throw error;
          if (/^(connection|timeout)$/.test(error.kind)) this.#topology.failed(node);
          const left = error.kind === "closed" && !this.#topology.closed;
          return { result: onError(left ? goneError(node) : error) };
        },
      );
    this.#last.set(node, last);
    return last.then(({ result }) => result);
  }

  /** Notes whether a node works, by its replies. */
  #judge(node: KnownNode, replies: readonly RawReply[]): void {
    let lost = false;
    for (const reply of replies) {
      if (!(reply instanceof StoreError)) continue;
      if (/^(connection|timeout|closed)$/.test(reply.kind)) lost = true;
      else if (reply.code === "CLUSTERDOWN") this.#topology.doubt();
    }
    if (lost) this.#topology.failed(node);
    else this.#topology.succeeded(node);
  }

  /** Sends on what a node refused, at once, and puts the answers instead of the refusals. */
  #follow(
    node: KnownNode,
    commands: readonly RawCommand[],
    given: readonly RawReply[],
    call: Call,
    hops: number,
    alone: boolean,
  ): RawReply[] | Promise<RawReply[]> {
    if (!given.some((reply) => reply instanceof StoreError)) return given as RawReply[];
    const replies = given.map(asRefusal);
    const moved = new Map<KnownNode, number[]>();
    const asked = new Map<KnownNode, number[]>();
    const sends: Promise<unknown>[] = [];
    const may = hops < HOPS && !isOver(call);
    for (const [index, reply] of replies.entries()) {
      const code = codeOf(reply);
      if (code !== "MOVED" && code !== "ASK" && code !== "TRYAGAIN") continue;
      if (!may) replies[index] = tryAgain(reply as StoreError);
      else if (code === "TRYAGAIN") sends.push(...this.#cut(commands, index, replies, call, hops, alone));
      const redirection = may && readRedirection(reply as RawReply, node.address, this.#translate);
      if (!redirection) continue;
      const { slot, address } = redirection;
      const to = code === "ASK" ? this.#topology.at(address) : this.#topology.moved(slot, address);
      if (code === "MOVED") this.#fence(slot, node);
      const groups = code === "ASK" ? asked : moved;
      const group = groups.get(to);
      if (group) group.push(index);
      else groups.set(to, [index]);
    }
    const into = (group: readonly number[], some: Promise<RawReply[]>) =>
      void sends.push(some.then((all) => put(replies, group, all), putError(replies, group)));
    for (const [to, group] of moved) into(group, this.#carry(to, pick(commands, group), call, hops + 1));
    const latest = this.#last.get(node);
    for (const [to, group] of asked) {
      const isLast = () => alone && group.at(-1) === commands.length - 1 && this.#last.get(node) === latest;
      into(group, this.#ask(to, pick(commands, group), call, hops + 1, isLast));
    }
    return sends.length === 0 ? replies : Promise.all(sends).then(() => replies);
  }

  /**
   * Sends commands to the node that gets their slot. ASKING holds for the command behind it alone.
   *
   * @param isLast Returns true if nothing was issued later to the node that refused them: before version 7 it also
   *   refuses commands of which it has some of the keys.
   */
  #ask(
    node: KnownNode,
    commands: readonly RawCommand[],
    call: Call,
    hops: number,
    isLast: () => boolean,
  ): Promise<RawReply[]> {
    const pairs = commands.flatMap((command) => [["ASKING"], command]);
    const line = this.#line(node);
    for (const command of commands) line.asked?.(command);
    return this.#write(
      node,
      pairs,
      call,
      (all, alone) => {
        const replies = commands.map((_, index) => {
          const [asking, reply] = [all[index * 2], all[index * 2 + 1]];
          return asking instanceof StoreError ? asking : asRefusal(reply as RawReply);
        });
        const may = hops < HOPS && !isOver(call);
        const last = alone && isLast();
        const sends = may ? replies.flatMap((_, index) => this.#cut(commands, index, replies, call, hops, last)) : [];
        // Their slot is on its way elsewhere, or back.
        const refused = [...replies.keys()].filter((index) => /^(MOVED|ASK)$/.test(codeOf(replies[index]) ?? ""));
        for (const index of refused) replies[index] = tryAgain(replies[index] as StoreError);
        if (may && refused.length > 0) {
          const again = this.#route(pick(commands, refused), call, hops + 1);
          sends.push(again.then((some) => put(replies, refused, some), putError(replies, refused)));
        }
        return sends.length === 0 ? replies : Promise.all(sends).then(() => replies);
      },
      (error) => Promise.reject(error),
    );
  }

  /**
   * Sends a command that may be cut as commands of one key each, if its reply says TRYAGAIN. A write only if nothing
   * that was issued later may have been executed already.
   */
  #cut(
    commands: readonly RawCommand[],
    index: number,
    replies: RawReply[],
    call: Call,
    hops: number,
    alone: boolean,
  ): Promise<unknown>[] {
    const pieces = codeOf(replies[index]) === "TRYAGAIN" ? cut(commands[index] as RawCommand) : undefined;
    if (!pieces || (pieces.writes && !(alone && index === commands.length - 1))) return [];
    return [
      this.#route(pieces.commands, call, hops + 1).then(
        (some) => put(replies, [index], [pieces.join(some)]),
        putError(replies, [index]),
      ),
    ];
  }

  /** Sends what was not sent to the new owner, if the map changes soon. */
  async #elsewhere(
    node: KnownNode,
    commands: readonly RawCommand[],
    error: StoreError,
    call: Call,
    hops: number,
  ): Promise<RawReply[]> {
    if (!isUnsent(error) || hops >= HOPS) throw error;
    const { asking } = this.#topology;
    if (asking) await within(asking, Math.min(left(call), CHANGE));
    if (isOver(call)) throw error;
    const others = [...commands.keys()].filter((at) => this.#place(commands[at] as RawCommand, call) !== node);
    if (others.length === 0) throw error;
    const replies: RawReply[] = commands.map(() => error);
    put(replies, others, await this.#route(pick(commands, others), call, hops + 1));
    return replies;
  }

  /** Lets later commands for a slot wait while sends to its old owner are pending, which may be refused too. */
  #fence(slot: number, old: KnownNode): void {
    const last = this.#last.get(old);
    if (!this.#ordered || !last || this.#fences.has(slot)) return;
    const fence = last.then(ignore, ignore);
    this.#fences.set(slot, fence);
    // The first reaction, so that what waits leaves before what comes later.
    fence.then(() => this.#fences.delete(slot));
  }
}

function pick(commands: readonly RawCommand[], group: readonly number[]): RawCommand[] {
  return group.map((index) => commands[index] as RawCommand);
}

function put(replies: RawReply[], group: readonly number[], some: readonly RawReply[]): void {
  for (const [at, index] of group.entries()) replies[index] = some[at] as RawReply;
}

/** Returns a function that puts an error instead of each reply. */
function putError(replies: RawReply[], group: readonly number[]): (error: unknown) => void {
  return (error) => {
    if (!isStoreError(error)) throw error;
    for (const index of group) replies[index] = error;
  };
}

/** Throws the first error if no command was answered. */
function answered(replies: RawReply[]): RawReply[] {
  const lost = (reply: RawReply) => reply instanceof StoreError && /^(connection|timeout|closed)$/.test(reply.kind);
  if (replies.every(lost)) throw replies[0];
  return replies;
}

/** Returns a reply as what it means here, without the advice for a driver of one server. */
function asRefusal(reply: RawReply): RawReply {
  if (!(reply instanceof StoreError)) return reply;
  const plain = isOfCluster(reply) && reply.cause instanceof StoreError ? reply.cause : reply;
  // A script came to a key that is moved already. Those that do so may run again.
  return /non local key/.test(plain.message) ? tryAgain(plain) : plain;
}

/** Makes the error of a command that was not executed, and may be sent again. */
function tryAgain(error: StoreError): StoreError {
  const { code, message } = error;
  if (code === "TRYAGAIN") return error;
  return new StoreError("command", `TRYAGAIN ${message}`, { code: "TRYAGAIN", repeat: "all" });
}

function left({ options, began }: Call): number {
  return options?.timeout === undefined ? Number.POSITIVE_INFINITY : options.timeout - (performance.now() - began);
}

function isOver(call: Call): boolean {
  const { waiting } = call.options ?? {};
  return waiting ? !waiting() : left(call) <= 0;
}

/** Returns the options with the time that is left. */
function remaining(call: Call): SendOptions | undefined {
  const { options } = call;
  if (options?.timeout === undefined) return options;
  const rest = left(call);
  return options.timeout - rest < 1 ? options : { ...options, timeout: Math.max(rest, 1) };
}

function lateError({ options }: Call): StoreError {
  return new StoreError("timeout", `The cluster could not be reached within ${Math.round(options?.timeout ?? 0)} ms`);
}
