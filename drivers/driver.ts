/**
 * The wire contract: a driver carries Redis commands to one store and brings the replies back.
 * It holds no policy, no key prefix and no serializer.
 *
 * @module
 */

import type { StoreError } from "../src/base/store_error.ts";

export {
  errorReply,
  isDenial,
  isOfCluster,
  type Repeat,
  StoreError,
  type StoreErrorKind,
} from "../src/base/store_error.ts";

/** One Redis command: its name, then its arguments. */
export type Command = readonly [name: string, ...args: (string | number)[]];

/** One reply. A command's own error stands in the place of its reply; nil is `null`; maps are flat lists. */
export type Reply = string | number | null | StoreError | readonly Reply[];

/** What a wire can do. */
export interface Capabilities {
  /** Whether the store has numbered databases (SELECT). Where it has not, databases are key prefixes. */
  readonly numbered: boolean;
  /** Whether the store runs Lua scripts (or their twins). */
  readonly scripts: boolean;
  /** Whether sends that overlap in time are executed in the order in which they were issued. */
  readonly ordered: boolean;
  /**
   * How several commands become one transaction: `"multi"` where a send of MULTI, the commands and EXEC is one, of
   * which nothing runs when one command is unknown or has a wrong number of arguments; `"atomic"` where moreover any
   * send is executed with nothing in between. @default none
   */
  readonly transactions?: "multi" | "atomic";
  /** The most commands in one send. @default no limit */
  readonly maxCommands?: number;
  /** The most bytes in one send, measured as JSON. @default no limit */
  readonly maxBytes?: number;
}

/** Options of {@linkcode Driver.send}. */
export interface SendOptions {
  /** Milliseconds after which nobody waits for the replies any more: the driver frees what the send holds. */
  readonly timeout?: number;
  /**
   * Whether somebody waits still, where `timeout` alone does not tell: a send that was held back until a connection is
   * open is not sent when it says no. @default by `timeout`
   */
  readonly waiting?: () => boolean;
}

/** One command whose arguments are sent as they are: text as UTF-8, bytes as bytes. */
export type RawCommand = readonly (string | number | Uint8Array)[];

/** One reply as the store gave it: simple strings are text, bulk strings are bytes, integers beyond 2^53 are bigint; nil is `null`. */
export type RawReply = string | Uint8Array | number | bigint | null | StoreError | readonly RawReply[];

/** A connection of the caller's own, on which bytes go and come as they are. */
export interface Connection {
  /**
   * Sends the commands in order in one write. They may change the connection's state: nobody else is on it.
   *
   * @param commands The commands, at least one.
   * @param options `timeout`: after it the connection is closed, for replies could not be told apart any more.
   * @returns One reply a command, in their order. A {@linkcode StoreError} in a command's place is that command's own error.
   * @throws {StoreError} When the connection is lost, closed, or did not answer in time; with `repeat` `"all"` when it was
   *   lost before, so that nothing was sent.
   */
  send(commands: readonly RawCommand[], options?: SendOptions): Promise<RawReply[]>;
  /**
   * Sends a command after which the store talks by itself: SUBSCRIBE, PSUBSCRIBE or MONITOR.
   *
   * @param command The command.
   * @param told Called with each reply, the first one included. It must not throw.
   * @returns Resolves when the connection was closed.
   * @throws {StoreError} When the connection is lost.
   */
  listen(command: RawCommand, told: (reply: RawReply) => void): Promise<void>;
  /** Closes it. Never throws; closing twice is closing once. */
  close(): Promise<void>;
}

/** What is told of changed keys. None of the functions may throw. */
export interface Tracker {
  /**
   * These keys were written, deleted or evicted, or have expired.
   *
   * @param keys The keys as the store has them, whichever database they are in; `null` where any may have changed (a flush).
   */
  invalidate(keys: readonly string[] | null): void;
  /** From now on every change is told. Called again after each reconnection. */
  up(): void;
  /** Changes are not told any more: what is kept must not be used, and not be trusted after the next {@linkcode up}. */
  down(): void;
  /**
   * The store refuses to tell of changes: a command is not allowed, renamed or unknown, or a permission is missing. It
   * is asked again and again; {@linkcode up} follows when it agrees.
   *
   * @param error Its words, and what is missing.
   */
  refused?(error: StoreError): void;
}

/** A tracking under way. */
export interface Tracking {
  /** Ends it: the tracker is not called any more. Never throws; closing twice is closing once. */
  close(): Promise<void>;
}

/** A wire to one store. */
export interface Driver {
  /** The wire's name, such as `"memory"`. */
  readonly name: string;
  /** What the wire can do. */
  readonly capabilities: Capabilities;
  /** The database that its address names: a client takes it where nothing else names one. Each send names its own. */
  readonly database?: number;
  /**
   * Sends the commands in order in one round trip.
   *
   * @param database The database number; always 0 where `capabilities.numbered` is false.
   * @param commands The commands, at least one.
   * @returns One reply a command, in their order. A {@linkcode StoreError} in a command's place is that command's own error.
   * @throws {StoreError} When none of the commands was answered.
   */
  send(database: number, commands: readonly Command[], options?: SendOptions): Promise<Reply[]>;
  /**
   * Tells of changes of keys. Absent where the store cannot tell. Answers at once, connects in the background and
   * reconnects by itself; nothing is told before the tracker's `up`. Closing the driver ends it with `down`.
   *
   * @param database The database that the keys are in. Changes of equal keys in other databases may be told too.
   * @param prefix What the keys start with; `""` for all keys.
   * @param tracker What is told.
   * @returns The tracking, to be closed.
   */
  track?(database: number, prefix: string, tracker: Tracker): Tracking;
  /**
   * Opens a connection of the caller's own. Absent where the wire has none: over REST, and in the embedded store.
   *
   * @param database The database number.
   * @param options `timeout`: milliseconds that opening may take.
   * @returns The connection, logged in and in the database. Closing the driver closes it.
   * @throws {StoreError} When it cannot be opened.
   */
  connect?(database: number, options?: SendOptions): Promise<Connection>;
  /** Closes what the driver opened. Never throws; closing twice is closing once. */
  close(): Promise<void>;
}

/** What a script's twin may do: run commands on the memory driver, with its clock. */
export interface TwinStore {
  /**
   * The store's own time in milliseconds, which is never set back: what windows are measured by. TIME says what moments
   * are told by.
   */
  readonly now: number;
  /** Runs one command, as `redis.call` does. @throws {StoreError} What the command answers with an error. */
  call(name: string, ...args: (string | number)[]): Reply;
}

/** An atomic operation in Lua. */
export interface Script {
  /** The name, for messages. */
  readonly name: string;
  /** The Lua source. */
  readonly lua: string;
  /** SHA-1 of the source in lower-case hex. */
  readonly sha1: string;
}

/** A script, and what the memory driver runs in the place of its Lua. */
export interface TwinnedScript extends Script {
  /** Does what the Lua source does, reply for reply. */
  readonly twin: (store: TwinStore, keys: readonly string[], args: readonly string[]) => Reply;
}
