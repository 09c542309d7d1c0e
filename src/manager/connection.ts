/**
 * The connection of the manager's functions to a store. If the driver opens connections of its own (TCP), keys and
 * values arrive as bytes, unchanged. Otherwise they arrive as text, and keys and values that are not UTF-8 cannot be
 * read: over REST they arrive with U+FFFD in them, and count as unreadable.
 */
import { type Command, type Connection, type RawCommand, type RawReply, StoreError } from "../../drivers/driver.ts";
import { escapeGlob, globMatch } from "../../drivers/glob.ts";
import { invalid, invalidType } from "../base/check.ts";
import { hashSlot } from "../base/crc16.ts";
import { OWN } from "../base/own_keys.ts";
import { showsLife } from "../base/store_error.ts";
import { parseTimeout, type Timeout } from "../base/ttl.ts";
import type { Signal } from "../base/web_types.ts";
import type { Location, LocationOf } from "../client/types.ts";
import { OWN_DATABASE } from "../services/databases.ts";
import { isOwnBulk, Layout, ownKey } from "./layout.ts";
import { sideBySide } from "./side_by_side.ts";
import type { Bulk, ManagedClient, StepOptions } from "./target.ts";

const encoder = new TextEncoder();
// A byte order mark is a part of the text.
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

/** Matches the library's own keys of a service, below its name; with shards, the tag stands in between. */
const OWN_OF_SERVICE = new RegExp(`^([\\w-]+):${OWN}`);
const OWN_OF_SHARDED = new RegExp(`^([\\w-]+):\\{\\w+\\}${OWN}`);

/** The maximum number of bytes that one character takes in JSON; by it, the size of a request is estimated. */
const BYTES_A_CHARACTER = 6;

/** Returns a key or value as text; `undefined` for bytes that are not UTF-8. */
export function asText(bulk: Bulk): string | undefined {
  if (typeof bulk === "string") return bulk;
  try {
    return strict.decode(bulk);
  } catch {
    return undefined;
  }
}

/** Returns a key or value as text to display. Bytes that are not UTF-8 become U+FFFD. */
export function displayText(bulk: Bulk): string {
  return typeof bulk === "string" ? bulk : lenient.decode(bulk);
}

/** Returns the text of a reply that the server itself writes, such as a type or a number: never a user's bytes. */
export function word(reply: RawReply | undefined): string {
  return reply instanceof Uint8Array ? lenient.decode(reply) : String(reply ?? "");
}

/** Returns an argument as a driver without connections of its own takes it. */
function textArgument(argument: string | number | Uint8Array): string | number {
  if (!(argument instanceof Uint8Array)) return argument;
  const text = asText(argument);
  if (text === undefined) throw invalidType("send an argument", argument, "text or bytes in UTF-8 over this driver");
  return text;
}

/** A page of physical keys, and the cursor of the next one; `"0"` at the end. */
interface Page {
  readonly keys: readonly Bulk[];
  readonly cursor: string;
}

/** A connection to a service or a database. */
export class ManagedConnection {
  /** The service's or database's driver, database and prefix. */
  readonly location: Location;
  /** `true` if replies are exactly what is stored: bytes, or the text of the embedded store. */
  readonly exact: boolean;
  /** `true` if keys and values are sent and received as bytes. */
  readonly bytes: boolean;
  /** The layout of the keys below the prefix. */
  readonly layout: Layout;
  readonly #connection: Connection | undefined;
  /** The length of the prefix in bytes. */
  readonly #length: number;
  /** `true` for a whole database, which services may share. */
  readonly #whole: boolean;
  /** The starts of physical keys that are left out of scans. */
  #without: readonly string[] = [];
  readonly #signal: Signal | undefined;
  /** The deadline of one step, in milliseconds. */
  readonly timeout: number;
  /** The part of the store that every command goes to; `undefined` for that of its key. */
  readonly part: string | undefined;

  constructor(
    location: Location,
    connection: Connection | undefined,
    signal: Signal | undefined,
    timeout: Timeout,
    part?: string,
  ) {
    this.location = location;
    this.part = part;
    this.bytes = connection !== undefined;
    this.exact = connection !== undefined || location.driver.name === "memory";
    this.#connection = connection;
    this.layout = new Layout(location.tags);
    this.#length = encoder.encode(location.prefix).length;
    this.#whole = location.service === undefined;
    this.#signal = signal;
    this.timeout = parseTimeout(timeout, "timeout");
  }

  /** The name of the service or database in messages. */
  get name(): string {
    return this.location.service ?? `database ${this.location.number}`;
  }

  /** Returns the parts of the store as they are known now; none if it has one. */
  async parts(): Promise<readonly string[]> {
    const { driver } = this.location;
    if (this.part !== undefined || !driver.capabilities.parts) return [];
    // A driver learns its parts with its first send.
    if (driver.parts?.().length === 0) await this.ping();
    return [...(driver.parts?.() ?? [])].sort();
  }

  /** Counts all keys of the database in the store, whatever they start with. @throws {StoreError} Also if refused. */
  async size(): Promise<number> {
    const parts = await this.parts();
    if (parts.length === 0) return Number((await this.must([["DBSIZE"]]))[0]);
    const sizes = await Promise.all(parts.map((part) => this.onPart(part).size()));
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  /** Returns a connection that asks one part of the store, as text. It need not be closed. */
  onPart(part: string): ManagedConnection {
    return new ManagedConnection(this.location, undefined, this.#signal, this.timeout, part);
  }

  /** Opens a connection to one part of the store, with bytes if this one has them. The caller closes it. */
  async openPart(part: string): Promise<ManagedConnection> {
    const { driver, database } = this.location;
    const own = this.bytes ? await driver.connect?.(database, { timeout: this.timeout, part }) : undefined;
    const one = new ManagedConnection(this.location, own, this.#signal, this.timeout, part);
    one.#without = this.#without;
    return one;
  }

  /** `true` for the whole of the database that services without one of their own share. */
  get shared(): boolean {
    return this.#whole && this.location.number === OWN_DATABASE;
  }

  /** Finds the services that share this database, by the library's own keys below their names. */
  async findShared(): Promise<string[]> {
    const names = new Set<string>();
    if (!this.shared) return [];
    for await (const page of this.scan(`*:${this.layout.glob}${OWN}*`, 1000)) {
      for (const key of page) {
        const name = this.ownerOf(this.logical(key));
        if (name !== undefined) names.add(name);
      }
    }
    return [...names];
  }

  /**
   * Splits a database into services that share it, and then the keys that belong to none of them.
   *
   * @param names The names of the services.
   * @returns Connections that use this one, so they need not be closed.
   */
  split(names: readonly string[]): ManagedConnection[] {
    const { prefix } = this.location;
    const part = (location: Location): ManagedConnection =>
      new ManagedConnection(location, this.#connection, this.#signal, this.timeout);
    const rest = part(this.location);
    rest.#without = names.map((name) => `${prefix}${name}:`);
    return [...names.map((service) => part({ ...this.location, service, prefix: `${prefix}${service}:` })), rest];
  }

  /**
   * Sends commands in order, in as few round trips as the driver allows.
   *
   * @returns A reply for each command. A command that failed has its error there.
   * @throws {StoreError} When the store does not answer.
   */
  async send(commands: readonly RawCommand[]): Promise<RawReply[]> {
    this.#signal?.throwIfAborted();
    if (commands.length === 0) return [];
    // The driver's connection keeps the deadline itself.
    if (this.#connection) return this.#wait(this.#connection.send(commands, { timeout: this.timeout }));
    const { driver, database } = this.location;
    const { maxCommands = commands.length, maxBytes = Number.POSITIVE_INFINITY } = driver.capabilities;
    const limits = { timeout: this.timeout, ...(this.part !== undefined && { part: this.part }) };
    const replies: RawReply[] = [];
    for (let from = 0, to = 0; from < commands.length; from = to) {
      for (let room = maxBytes / BYTES_A_CHARACTER; to < commands.length && to - from < maxCommands; to++) {
        for (const arg of commands[to] as RawCommand) room -= String(arg).length + 4;
        if (room < 0 && to > from) break;
      }
      const part = commands.slice(from, to).map((command) => command.map(textArgument)) as unknown as Command[];
      replies.push(...(await this.#wait(driver.send(database, part, limits), this.timeout)));
    }
    return replies;
  }

  /** Sends commands as `send` does. @throws {StoreError} Also the first error among the replies. */
  async must(commands: readonly RawCommand[]): Promise<RawReply[]> {
    const replies = await this.send(commands);
    for (const reply of replies) if (reply instanceof Error) throw reply;
    return replies;
  }

  /**
   * Waits until the server answers.
   *
   * @throws {StoreError} If it does not answer, or refuses every command. That this user may not run PING does not
   * count.
   */
  async ping(): Promise<void> {
    const [reply] = await this.send([["PING"]]);
    if (reply instanceof Error && !showsLife(reply)) throw reply;
  }

  /** Waits for replies until the signal aborts or the deadline, if there is one, has passed. */
  #wait<T>(sent: Promise<T>, deadline?: number): Promise<T> {
    const signal = this.#signal;
    if (!signal && deadline === undefined) return sent;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
      };
      const late = (): void => {
        end();
        const { name } = this.location.driver;
        reject(new StoreError("timeout", `The store (${name}) did not answer within ${deadline} ms`));
      };
      const abort = (): void => {
        end();
        reject(signal?.reason);
      };
      const timer = deadline === undefined ? undefined : setTimeout(late, deadline);
      signal?.addEventListener("abort", abort);
      sent.finally(end).then(resolve, reject);
    });
  }

  /** Returns the physical key of a logical one. */
  physical(logical: string): string;
  physical(logical: Bulk): Bulk;
  physical(logical: Bulk): Bulk {
    const start = this.#isNamed(logical) ? this.location.prefix : this.start(this.layout.shardOf(logical));
    if (typeof logical === "string") return start + logical;
    const prefix = encoder.encode(start);
    const key = new Uint8Array(prefix.length + logical.length);
    key.set(prefix);
    key.set(logical, prefix.length);
    return key;
  }

  /** Returns the logical key of a physical one. */
  logical(physical: Bulk): Bulk {
    const { layout, location } = this;
    const from = typeof physical === "string" ? location.prefix.length : this.#length;
    const rest = typeof physical === "string" ? physical.slice(from) : physical.subarray(from);
    // Keys of other programs have no tag; those of services that share a whole database have it behind a name.
    const tagged = layout.count !== undefined && layout.tagged(displayText(rest.slice(0, layout.length))) !== undefined;
    return tagged ? rest.slice(layout.length) : rest;
  }

  /**
   * Returns whether a logical key of a whole database names a service that shares it, and the tag of its shard, such as
   * `menu:{c9q}dish:1`.
   */
  #isNamed(logical: Bulk): boolean {
    if (!this.shared || this.layout.count === undefined) return false;
    const [name] = /^[\w-]+:/.exec(displayText(logical)) ?? [];
    return name !== undefined && this.layout.tagged(displayText(logical).slice(name.length)) !== undefined;
  }

  /** Returns the start of the physical keys of a shard. */
  start(shard: number): string {
    return this.location.prefix + this.layout.tags[shard];
  }

  /** Returns the key of a physical one in files: entries have no tag, the library's own keep that of their shard. */
  inFile(physical: Bulk): Bulk {
    if (!this.isOwn(physical)) return this.logical(physical);
    return displayText(physical).slice(this.location.prefix.length);
  }

  /** Returns whether a physical key is one of the library's own. */
  isOwn(physical: Bulk): boolean {
    return isOwnBulk(this.logical(physical));
  }

  /** Returns the name of the service if a logical key of a whole database is one of the library's own below a name. */
  ownerOf(logical: Bulk): string | undefined {
    return (this.layout.count === undefined ? OWN_OF_SERVICE : OWN_OF_SHARDED).exec(displayText(logical))?.[1];
  }

  /** Returns whether a physical key is an application's, not the library's. */
  isEntry(physical: Bulk): boolean {
    // Services that share the database keep the library's keys below their names.
    return !this.isOwn(physical) && !(this.#whole && this.ownerOf(this.logical(physical)) !== undefined);
  }

  /** Returns whether the driver can send a key or value. */
  carries(bulk: Bulk): boolean {
    return this.bytes || asText(bulk) !== undefined;
  }

  /** Returns the physical key of one of the library's own that belongs to no shard, by its name. */
  own(name: string): string {
    return ownKey(this.location, name);
  }

  /** Returns the commands that delete keys: on a cluster one for each slot. */
  unlinks(keys: readonly Bulk[]): RawCommand[] {
    if (keys.length === 0) return [];
    if (!this.location.driver.capabilities.parts) return [["UNLINK", ...keys]];
    const bySlot = new Map<number, Bulk[]>();
    for (const key of keys) {
      const text = asText(key);
      // Of keys that are not text, each has a command of its own.
      const slot = text === undefined ? -1 - bySlot.size : hashSlot(text);
      const others = bySlot.get(slot);
      if (others) others.push(key);
      else bySlot.set(slot, [key]);
    }
    return [...bySlot.values()].map((some) => ["UNLINK", ...some]);
  }

  /** Returns whether a text may have been bytes that are not UTF-8 before it was received. */
  doubtful(text: Bulk): boolean {
    if (typeof text !== "string") return false;
    return this.exact ? !text.isWellFormed() : text.includes("\ufffd");
  }

  /** Returns the command that reads a page of the physical keys that match a logical glob. */
  scanCommand(cursor: string, pattern: string, count: number): RawCommand {
    // Below the names of services, the tag stands behind the name.
    const glob = this.#tests ? "*" : this.layout.glob + pattern;
    return ["SCAN", cursor, "MATCH", escapeGlob(this.location.prefix) + glob, "COUNT", count];
  }

  /** `true` if a glob of the store finds more keys than those of a logical glob. */
  get #tests(): boolean {
    return this.shared && this.layout.count !== undefined;
  }

  /** Reads a page of the physical keys that match a logical glob, and the cursor of the next one; `"0"` at the end. */
  async page(cursor: string, pattern: string, count: number): Promise<Page> {
    const [reply] = await this.must([this.scanCommand(cursor, pattern, count)]);
    const [next, found] = reply as [RawReply, Bulk[]];
    const tests = this.#tests && pattern !== "*";
    const keys = found.filter(
      (key) =>
        !(this.#without.length > 0 && this.#leavesOut(displayText(key))) &&
        !(tests && !globMatch(pattern, displayText(this.logical(key)))),
    );
    return { keys, cursor: word(next) };
  }

  /**
   * Reads pages of the physical keys that match a logical glob, the library's own included. Pages may be empty, and
   * keys may come twice. The next page is requested before the current one is handed out. The parts of a store are
   * scanned side by side.
   */
  async *scan(pattern: string, count: number): AsyncGenerator<readonly Bulk[], void, void> {
    const parts = await this.parts();
    if (parts.length < 2) return yield* this.#walk(pattern, count);
    const opened: ManagedConnection[] = [];
    try {
      for (const part of parts) opened.push(await this.openPart(part));
      yield* sideBySide(opened.map((one) => one.#walk(pattern, count)));
    } finally {
      await Promise.all(opened.map((one) => one.close()));
    }
  }

  async *#walk(pattern: string, count: number): AsyncGenerator<readonly Bulk[], void, void> {
    const ask = (cursor: string): Promise<Page> => {
      const page = this.page(cursor, pattern, count);
      page.catch(() => {});
      return page;
    };
    let next: Promise<Page> | undefined = ask("0");
    while (next) {
      const { cursor, keys }: Page = await next;
      next = cursor === "0" ? undefined : ask(cursor);
      yield keys;
    }
  }

  #leavesOut(key: string): boolean {
    return this.#without.some((start) => key.startsWith(start));
  }

  /** Closes the connection. */
  async close(): Promise<void> {
    await this.#connection?.close();
  }
}

/** The default deadline of one step, in milliseconds. */
export const TIMEOUT_MS = 10_000;

/**
 * Opens a connection to a service or a database.
 *
 * @param client The client.
 * @param options The service or database, the deadline of a step, and a signal that stops the connection's steps.
 * @returns The connection. The caller closes it.
 * @throws {TypeError | RangeError} For a service or database that does not exist, and for both or neither.
 */
export async function openManagedConnection(
  client: ManagedClient,
  options: LocationOf & StepOptions,
): Promise<ManagedConnection> {
  const { service, database, signal } = options;
  if (service === undefined && database === undefined) {
    throw invalid("choose keys", undefined, "a service or a database");
  }
  if (service !== undefined && database !== undefined) {
    throw invalid("choose keys", options, "one of them", TypeError, "both a service and a database");
  }
  const timeout = parseTimeout(options.timeout ?? TIMEOUT_MS, "timeout");
  signal?.throwIfAborted();
  const location = await client.locate({ service, database });
  const connection = await location.driver.connect?.(location.database, { timeout });
  return new ManagedConnection(location, connection, signal, timeout);
}

/** Returns a client that finds the whole database of a location: all keys in the store, whatever they start with. */
export function wholeOf(location: Location): ManagedClient {
  return { locate: async () => ({ ...location, prefix: "", tags: [""] }) };
}
