/** The error of a store or of the wire to it, and the questions that are asked about one. */

import { CacheError } from "./errors.ts";

/**
 * What went wrong:
 *
 * - `"command"`: the store answered this command with an error (`WRONGTYPE`, `NOSCRIPT`, `OOM`, ...)
 * - `"connection"`: no connection, or it was lost
 * - `"timeout"`: no answer in time
 * - `"auth"`: wrong password, token or permissions
 * - `"limit"`: too many requests, or a request that is too large
 * - `"protocol"`: an answer that is not what the protocol says; or a function of the application's, such as
 *   `waitUntil`, threw
 * - `"closed"`: the client was closed
 */
export type StoreErrorKind = "command" | "connection" | "timeout" | "auth" | "limit" | "protocol" | "closed";

/** Which commands may be sent again after an error: all of them, those that change nothing when repeated, or none. */
export type Repeat = "all" | "idempotent" | "none";

/** An error of the store or of the wire to it. Its message never holds values, tokens, passwords or URLs with credentials. */
export class StoreError extends CacheError {
  /** Always `"StoreError"`. */
  override name = "StoreError";
  /** What went wrong. */
  readonly kind: StoreErrorKind;
  /** The first word of an error reply, such as `"WRONGTYPE"`; empty where there is none. */
  readonly code: string;
  /** Which commands may be sent again. */
  readonly repeat: Repeat;

  /**
   * Makes an error.
   *
   * @param kind What went wrong.
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

/** Error codes with which a store refuses a command before it executes it, for a reason that passes. */
const PASSING = /^(LOADING|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|BUSY|READONLY)$/;
/**
 * Where the code of a refusal stands inside the words of a script (before Redis 7) or of a transaction: neither has
 * changed anything.
 */
const INNER =
  /^(?:ERR Error running script \(call to f_\w+\): @user_script: *\d+: )?@user_script: *\d+: -(READONLY)\b|^EXECABORT .*because of: (READONLY|MASTERDOWN|LOADING)\b/;
const AUTH = /^(NOAUTH|WRONGPASS|NOPERM)$/;

/**
 * Turns the text of a Redis error reply into a {@linkcode StoreError}.
 *
 * @param text The reply's text, such as `"WRONGTYPE Operation against ..."`.
 * @returns The error, with its code, its kind and whether it may be sent again.
 *
 * @example
 * ```ts
 * import { errorReply } from "@foodfast/larder/drivers/driver";
 *
 * console.log(errorReply("LOADING Redis is loading the dataset in memory").repeat); // "all"
 * ```
 */
export function errorReply(text: string): StoreError {
  const inner = INNER.exec(text);
  const code = inner?.[1] ?? inner?.[2] ?? /^[A-Z][A-Z0-9_-]*(?= |$)/.exec(text)?.[0] ?? "";
  return new StoreError(AUTH.test(code) ? "auth" : "command", text, {
    code,
    repeat: PASSING.test(code) ? "all" : "none",
  });
}

/**
 * Whether an error says that the server is not the one to ask: it was demoted to a replica, has lost its primary, or
 * still loads its data. It has executed nothing then.
 *
 * @param error An error reply.
 * @returns Whether another connection may lead to a better one.
 */
export function isDenial({ code }: StoreError): boolean {
  return /^(READONLY|MASTERDOWN|LOADING)$/.test(code);
}

/** Errors of nodes of a cluster, for what a single server does without one. */
const OF_CLUSTERS = /^(CROSSSLOT|MOVED|ASK|CLUSTERDOWN)\b|not allowed in cluster mode/;

/**
 * Whether an error says that the server is a node of a cluster.
 *
 * @param error An error reply.
 * @returns Whether it does.
 */
export function isOfCluster({ message }: StoreError): boolean {
  return OF_CLUSTERS.test(message);
}

/** Whether a thrown value is a {@linkcode StoreError}. */
export function isStoreError(error: unknown): error is StoreError {
  return error instanceof Error && error.name === "StoreError";
}

/** Returns the name of a command that the store does not know, or `undefined` for another error. */
export function unknownCommand({ message }: StoreError): string | undefined {
  return /^ERR unknown command[ '`]*([^'`]*)/i.exec(message)?.[1];
}

/** Returns whether a store refused a command to this user, or to all users: another command may do. */
export function isForbidden(error: StoreError): boolean {
  return error.code === "NOPERM" || unknownCommand(error) !== undefined;
}

/** Whether a store that answers refused a command: another command may do better. */
export function isRefusal(error: unknown): error is StoreError {
  return isStoreError(error) && (error.kind === "command" || error.kind === "auth");
}

/** Whether an error shows that the store is there and takes commands, though it refused this one. */
export function showsLife(error: unknown): boolean {
  return isStoreError(error) && (error.code === "NOPERM" || (error.kind === "command" && error.repeat === "none"));
}
