/**
 * The contract of drivers: a driver carries Redis commands to one store and returns the replies. It has no policy, no
 * key prefix and no serializer.
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

/** One reply. That of a failed command is its error. Nil is `null`, and maps are flat lists. */
export type Reply = string | number | null | StoreError | readonly Reply[];

/** The abilities of a driver. */
export interface Capabilities {
  /**
   * True if the store has numbered databases (SELECT). Otherwise the library emulates them by key prefixes.
   * `"optional"` if some of these stores have them: the option `databases: "numbered"` is allowed then.
   */
  readonly numbered: boolean | "optional";
  /** True if the store runs Lua scripts, or their twins. */
  readonly scripts: boolean;
  /** True if overlapping sends are executed in the order in which they were issued. */
  readonly ordered: boolean;
  /**
   * Transactions. `"multi"`: a send of MULTI, the commands and EXEC is one transaction, of which nothing runs if a
   * command is unknown or has the wrong number of arguments. `"atomic"`: in addition, every send is executed without
   * other commands in between.
   * @default none
   */
  readonly transactions?: "multi" | "atomic";
  /**
   * True if the store charges for each command, of which a script is one. A `set` is then a script: SET and the GET
   * before it are two.
   * @default false
   */
  readonly billed?: boolean;
  /**
   * True if the store has several parts, such as the masters of a cluster: the keys of one command must share a hash
   * tag, and one send goes to the parts of its keys. The driver has `partOf` and `parts` then.
   * @default false
   */
  readonly parts?: boolean;
  /** The most commands in one send. @default no limit */
  readonly maxCommands?: number;
  /** The most bytes in one send, measured as JSON. @default no limit */
  readonly maxBytes?: number;
}

/** Options of {@linkcode Driver.send}. */
export interface SendOptions {
  /** Milliseconds after which no caller waits for the replies any more: the driver frees what the send holds. */
  readonly timeout?: number;
  /**
   * Returns whether a caller still waits, if `timeout` alone cannot say so. A send that was held back until a
   * connection was open is dropped if this returns false.
   * @default decided by `timeout`
   */
  readonly waiting?: () => boolean;
  /** The part of the store for commands without keys, by its name in {@linkcode Driver.parts}. @default any */
  readonly part?: string;
}

/** One command whose arguments are sent as they are: text as UTF-8, bytes as bytes. */
export type RawCommand = readonly (string | number | Uint8Array)[];

/**
 * One reply as the store sent it. Simple strings are text, bulk strings are bytes, integers above 2^53 are bigint, and
 * nil is `null`.
 */
export type RawReply = string | Uint8Array | number | bigint | null | StoreError | readonly RawReply[];

/** A connection that belongs to one caller and carries bytes unchanged. */
export interface Connection {
  /**
   * Sends the commands in order in one write. They may change the state of the connection, because no other caller
   * uses it.
   *
   * @param commands The commands, at least one.
   * @param options `timeout`: milliseconds after which the connection is closed, because late replies could no longer
   *   be matched to their commands.
   * @returns One reply for each command, in order. A {@linkcode StoreError} is the error of the command in its place.
   * @throws {StoreError} If the connection is lost or closed, or does not answer in time. `repeat` is `"all"` if it was
   *   lost before the call, so that nothing was sent.
   */
  send(commands: readonly RawCommand[], options?: SendOptions): Promise<RawReply[]>;
  /**
   * Sends a command after which the store sends messages by itself: SUBSCRIBE, PSUBSCRIBE or MONITOR.
   *
   * @param command The command.
   * @param onReply Called with each reply, including the first one. It must not throw.
   * @returns Resolves when the connection was closed.
   * @throws {StoreError} If the connection is lost.
   */
  listen(command: RawCommand, onReply: (reply: RawReply) => void): Promise<void>;
  /** Closes the connection. Never throws; a second call does nothing. */
  close(): Promise<void>;
}

/** The functions that receive changes of keys. None of them may throw. */
export interface Tracker {
  /**
   * Receives keys that were written, deleted or evicted, or have expired.
   *
   * @param keys The keys as the store has them, from any database; `null` if all keys may have changed (a flush).
   */
  invalidate(keys: readonly string[] | null): void;
  /**
   * Announces that every change from now on is reported. Called again after each reconnection.
   *
   * @param part The part of the store that reports, if it has several.
   */
  up(part?: string): void;
  /**
   * Announces that changes are no longer reported. Kept values must not be used until the next {@linkcode up}, and must
   * be dropped by then.
   *
   * @param part The part of the store that no longer reports; absent for all of it.
   */
  down(part?: string): void;
  /**
   * Announces that some keys have another part now, by {@linkcode Driver.partOf}. Values that were kept of another part
   * must be dropped.
   */
  moved?(): void;
  /**
   * Announces that the store refuses to report changes: a command is forbidden, renamed or unknown, or a permission is
   * missing. The driver asks again and again; {@linkcode up} follows when the store agrees.
   *
   * @param error The reason that the store gave, and the permissions that are missing.
   */
  refused?(error: StoreError): void;
}

/** An active tracking of keys. */
export interface Tracking {
  /** Ends the tracking: the tracker is not called any more. Never throws; a second call does nothing. */
  close(): Promise<void>;
}

/** A driver of one store. */
export interface Driver {
  /** The name of the driver, such as `"memory"`. */
  readonly name: string;
  /** The abilities of the driver. */
  readonly capabilities: Capabilities;
  /** The database that its address names. A client takes it if nothing else names one; each send names its own. */
  readonly database?: number;
  /**
   * Sends the commands in order in one round trip.
   *
   * @param database The database number; always 0 if `capabilities.numbered` is false.
   * @param commands The commands, at least one.
   * @returns One reply for each command, in order. A {@linkcode StoreError} is the error of the command in its place.
   * @throws {StoreError} If none of the commands was answered.
   */
  send(database: number, commands: readonly Command[], options?: SendOptions): Promise<Reply[]>;
  /**
   * Returns the name of the part of the store that has a key now. What goes to one part leaves in one write, fails
   * together, and has a circuit breaker of its own. Absent if the store has one part.
   */
  partOf?(key: string): string;
  /** Returns the names of all parts as they are known now, which are their addresses. */
  parts?(): readonly string[];
  /**
   * Reports changes of keys. Absent if the store cannot report them. Returns at once, connects in the background and
   * reconnects by itself. Nothing is reported before the tracker's `up`. Closing the driver ends the tracking with
   * `down`.
   *
   * @param database The database of the keys. Changes of equal keys in other databases may be reported too.
   * @param prefix The prefix of the keys; `""` for all keys.
   * @param tracker The receiver of the changes.
   * @returns The tracking, to be closed.
   */
  track?(database: number, prefix: string, tracker: Tracker): Tracking;
  /**
   * Opens a connection that belongs to the caller. Absent over REST and in the embedded store, which have none.
   *
   * @param database The database number.
   * @param options `timeout`: milliseconds that opening may take; `part`: the part of the store. Without it, a
   *   connection to a store of several parts sends each command to the part of its key.
   * @returns The connection, logged in and in the database. Closing the driver closes it.
   * @throws {StoreError} If it cannot be opened.
   */
  connect?(database: number, options?: SendOptions): Promise<Connection>;
  /** Closes what the driver opened. Never throws; a second call does nothing. */
  close(): Promise<void>;
}

/** The store as the twin of a script sees it. */
export interface TwinStore {
  /**
   * The store's own time in milliseconds, which never goes back. Windows are measured by it; moments that callers see
   * come from TIME.
   */
  readonly now: number;
  /** Runs one command, as `redis.call` does. @throws {StoreError} If the command answers with an error. */
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

/** A script, and the function that the memory driver runs instead of its Lua. */
export interface TwinnedScript extends Script {
  /** Returns the same replies as the Lua source, and changes the same keys. */
  readonly twin: (store: TwinStore, keys: readonly string[], args: readonly string[]) => Reply;
}
