/** The errors of stores and drivers, and the functions that classify them. */

import { CacheError } from "./errors.ts";

/**
 * The kinds of store errors:
 *
 * - `"command"`: the store answered the command with an error (`WRONGTYPE`, `NOSCRIPT`, `OOM`, ...)
 * - `"connection"`: no connection, or it was lost
 * - `"timeout"`: no answer in time
 * - `"auth"`: wrong password, token or permissions
 * - `"limit"`: too many requests, or a request that is too large
 * - `"protocol"`: an answer that violates the protocol; or a function of the application, such as `waitUntil`, threw
 * - `"closed"`: the client was closed
 */
export type StoreErrorKind = "command" | "connection" | "timeout" | "auth" | "limit" | "protocol" | "closed";

/** The commands that may be sent again after an error: all, those that change nothing when repeated, or none. */
export type Repeat = "all" | "idempotent" | "none";

/**
 * An error of the store, or of the connection to it. Its message never contains values, tokens, passwords or URLs with
 * credentials.
 */
export class StoreError extends CacheError {
  /** Always `"StoreError"`. */
  override name = "StoreError";
  /** The kind of the error. */
  readonly kind: StoreErrorKind;
  /** The first word of an error reply, such as `"WRONGTYPE"`; empty for other errors. */
  readonly code: string;
  /** The commands that may be sent again. */
  readonly repeat: Repeat;

  /**
   * Makes an error.
   *
   * @param kind The kind of the error.
   * @param message The message, free of values and secrets.
   * @param options `code`, `repeat` (default `"none"`) and `cause`.
   */
  constructor(
    kind: StoreErrorKind,
    message: string,
    options: { code?: string; repeat?: Repeat; cause?: unknown } = {},
  ) {
    super(message, options);
    this.kind = kind;
    this.code = options.code ?? "";
    this.repeat = options.repeat ?? "none";
  }
}

/** Codes of temporary errors. The store has not executed the command. */
const PASSING = /^(LOADING|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|BUSY|READONLY)$/;
/** Finds the code of a refusal in the error of a script before Redis 7. The script has changed nothing. */
const OF_SCRIPT =
  /^(?:ERR Error running script \(call to f_\w+\): @user_script: *\d+: )?@user_script: *\d+: -(READONLY)\b/;
/** Finds the code of a refusal in the error of a transaction. The transaction has changed nothing. */
const OF_TRANSACTION = /^EXECABORT .*because of: (READONLY|MASTERDOWN|LOADING)\b/;
const CODE = /^([A-Z][A-Z0-9_-]*)(?: |$)/;
const AUTH = /^(NOAUTH|WRONGPASS|NOPERM)$/;

/**
 * Turns the text of a Redis error reply into a {@linkcode StoreError}.
 *
 * @param text The reply's text, such as `"WRONGTYPE Operation against ..."`.
 * @returns The error, with its code, its kind and the commands that may be sent again.
 *
 * @example
 * ```ts
 * import { errorReply } from "@foodfast/larder/drivers/driver";
 *
 * console.log(errorReply("LOADING Redis is loading the dataset in memory").repeat); // "all"
 * ```
 */
export function errorReply(text: string): StoreError {
  const [, code = ""] = OF_SCRIPT.exec(text) ?? OF_TRANSACTION.exec(text) ?? CODE.exec(text) ?? [];
  return new StoreError(AUTH.test(code) ? "auth" : "command", text, {
    code,
    repeat: PASSING.test(code) ? "all" : "none",
  });
}

/**
 * Returns whether an error says that another server should be asked: this one was demoted to a replica, has lost its
 * primary, or still loads its data. It has executed nothing.
 *
 * @param error An error reply.
 * @returns True if another connection may lead to a better server.
 */
export function isDenial({ code }: StoreError): boolean {
  return /^(READONLY|MASTERDOWN|LOADING)$/.test(code);
}

/** Errors that only a node of a cluster returns. */
const OF_CLUSTERS = /^(CROSSSLOT|MOVED|ASK|CLUSTERDOWN)\b|not allowed in cluster mode/;

/**
 * Returns whether an error says that the server is a node of a cluster.
 *
 * @param error An error reply.
 * @returns True if it does.
 */
export function isOfCluster({ message }: StoreError): boolean {
  return OF_CLUSTERS.test(message);
}

/** Returns whether a thrown value is a {@linkcode StoreError}, of any copy of the package. */
export function isStoreError(error: unknown): error is StoreError {
  return error instanceof Error && error.name === "StoreError";
}

/** Returns the name of a command that the store does not know, or `undefined` for another error. */
export function unknownCommand({ message }: StoreError): string | undefined {
  return /^ERR unknown command[ '`]*([^'`]*)/i.exec(message)?.[1];
}

/** Errors of stores that check the keys of scripts: Dragonfly's, and that of Alibaba Cloud's proxies. */
const OF_KEYS = /undeclared key|using the KEYS array/;

/** Returns whether a store refused a script for its keys: it does not declare them, or not in the way that it must. */
export function isUndeclared({ message }: StoreError): boolean {
  return OF_KEYS.test(message);
}

/** Returns whether a store refused a command to this user, or to all users. Another command may be allowed. */
export function isForbidden(error: StoreError): boolean {
  return error.code === "NOPERM" || unknownCommand(error) !== undefined || isUndeclared(error);
}

/** Returns whether a store answered, but refused the command. Another command may succeed. */
export function isRefusal(error: unknown): error is StoreError {
  return isStoreError(error) && (error.kind === "command" || error.kind === "auth");
}

/** Returns whether an error shows that the store works and takes commands, although it refused this one. */
export function showsLife(error: unknown): boolean {
  return isStoreError(error) && (error.code === "NOPERM" || (error.kind === "command" && error.repeat === "none"));
}
