/** The errors of the TCP driver, with advice about their causes. */

import { isUndeclared, unknownCommand } from "../../src/base/store_error.ts";
import { errorReply, isOfCluster, StoreError } from "../driver.ts";
import { ErrorReply } from "./client.ts";
import { withoutArguments } from "./resp.ts";
import { REFUSED, reason } from "./resp_connection.ts";

/**
 * Returns whether an error is a reply of the server. Each version of node-redis has its own classes, so the text
 * decides: error replies start with a code, other errors do not.
 */
export function isErrorReply(error: unknown): error is Error {
  if (error instanceof ErrorReply) return true;
  return error instanceof Error && !("code" in error) && /^[A-Z][A-Z0-9_-]+( |$)/.test(error.message);
}

/** Throws an error reply to PING if it refuses the connection. Any other reply shows that the connection works. */
export function throwIfRefused(error: unknown): void {
  if (!isErrorReply(error) || REFUSED.test(error.message)) throw error;
}

/** Makes the error of a connection that could not be opened. */
export function connectError(error: unknown, endpoint: string, database: number): StoreError {
  if (error instanceof StoreError) return error;
  if (!isErrorReply(error)) {
    return new StoreError("connection", `Cannot connect to Redis at ${endpoint}: ${reason(error)}`, { cause: error });
  }
  const reply = errorReply(withoutArguments(error.message));
  const { kind, code, message } = reply;
  if (isOfCluster(reply) || /DB index|\bSELECT\b/i.test(message)) return selectError(reply, endpoint, database);
  const text = `Cannot log in to Redis at ${endpoint}: ${message}`;
  return new StoreError(kind === "auth" ? "auth" : "connection", text, { code });
}

/** Makes the error of a database that the server refused. */
export function selectError(reply: StoreError, endpoint: string, database: number): StoreError {
  const { kind, code, message } = reply;
  if (isOfCluster(reply)) {
    const text = `Cannot use database ${database}: ${explained(reply, endpoint).message}`;
    return new StoreError("command", text, { code });
  }
  const text = `Cannot use database ${database} of Redis at ${endpoint}: ${message}`;
  if (kind === "auth") return new StoreError("auth", text, { code });
  const prefixed = "set CACHE_DATABASES=prefixed to keep databases apart by key prefix";
  let advice = isNeeded(reply) ? `${ofSentinel(endpoint)}; otherwise ${prefixed}` : prefixed;
  // A node of a cluster of Valkey 9 answers as a single server does that has fewer databases.
  if (/DB index/i.test(message)) advice += `, or, if a node of a cluster answers here, ${ofCluster(endpoint)}`;
  return new StoreError("command", `${text}; ${advice}`, { code });
}

function ofSentinel(endpoint: string): string {
  return `if a Sentinel answers here, use redis+sentinel://${endpoint}/mymaster, with the name of its master`;
}

function ofCluster(endpoint: string): string {
  return `use redis+cluster://${endpoint} (rediss+cluster:// with TLS)`;
}

/** Adds advice to the error of a server that is asked for its cluster, but is in none. */
export function withoutCluster(error: StoreError, endpoint: string): StoreError {
  const { kind, code, repeat, message } = error;
  const single = `use redis://${endpoint} (rediss:// with TLS)`;
  const why = /cluster support disabled/i.test(message)
    ? `Redis at ${endpoint} is a single server: ${single}`
    : unknownCommand(error) !== undefined && `${ofSentinel(endpoint)}; if it is a single server, ${single}`;
  return why ? new StoreError(kind, `${message}: ${why}`, { code, repeat, cause: error }) : error;
}

const OF_KEYS =
  "the store checks the keys of scripts, " +
  "so set script_check_enable to 0 (Alibaba Cloud) or default_lua_flags to allow-undeclared-keys (Dragonfly)";

/** Returns whether the server lacks a command that the cache needs. A Sentinel lacks all of these. */
function isNeeded(error: StoreError): boolean {
  return /^(MGET|GET|SET|EVAL|EVALSHA|UNLINK|SELECT)$/i.test(unknownCommand(error) ?? "");
}

/**
 * Adds advice to an error that shows that the server is not a single Redis: its own words alone do not help. They
 * become its `cause`.
 */
export function explained(error: StoreError, endpoint: string): StoreError {
  const { kind, code, repeat, message } = error;
  const why = isOfCluster(error)
    ? `Redis at ${endpoint} is a node of a cluster: ${ofCluster(endpoint)}`
    : isUndeclared(error)
      ? OF_KEYS
      : /Unknown Redis command called from/.test(message)
        ? "`larder doctor` names the command, which the scripts of the cache need"
        : isNeeded(error) && `the cache needs this command; ${ofSentinel(endpoint)}`;
  return why ? new StoreError(kind, `${message}: ${why}`, { code, repeat, cause: error }) : error;
}

const UNSENT = new WeakSet<StoreError>();

/** Marks the error of a connection that could not be opened: what waited for it was not sent. */
export function markUnsent(error: StoreError): StoreError {
  UNSENT.add(error);
  return error;
}

/** Returns whether the commands that failed with an error were not sent, so that any of them may go elsewhere. */
export function isUnsent(error: StoreError): boolean {
  return UNSENT.has(error);
}

/** Makes the error of a send after the driver was closed. */
export function closedError(): StoreError {
  return new StoreError("closed", "The Redis driver is closed");
}

/** Does nothing: for promises whose failure is handled elsewhere. */
export function ignore(): void {}
