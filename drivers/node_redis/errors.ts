/** The errors of the TCP wire, and what they say of the server. */

import { ErrorReply } from "redis";
import { errorReply, isOfCluster, StoreError } from "../driver.ts";
import { withoutArguments } from "./resp.ts";
import { reason } from "./resp_connection.ts";

/** Each version of node-redis has classes of its own; error replies start with a code, other errors do not. */
export function isErrorReply(error: unknown): error is Error {
  if (error instanceof ErrorReply) return true;
  return error instanceof Error && !("code" in error) && /^[A-Z][A-Z0-9_-]+( |$)/.test(error.message);
}

/** Whether an error reply to PING means that the connection is refused; any other shows that it works. */
export function refusal(error: unknown): void {
  if (!isErrorReply(error) || /^(NOAUTH|DENIED|ERR max)/.test(error.message)) throw error;
}

export function connectError(error: unknown, place: string, database: number): StoreError {
  if (error instanceof StoreError) return error;
  if (!isErrorReply(error)) {
    return new StoreError("connection", `Cannot connect to Redis at ${place}: ${reason(error)}`, { cause: error });
  }
  const reply = errorReply(withoutArguments(error.message));
  const { kind, code, message } = reply;
  if (isOfCluster(reply)) {
    return new StoreError("command", `Cannot use database ${database}: ${explained(reply, place).message}`, { code });
  }
  if (/DB index|\bSELECT\b/.test(message)) {
    return new StoreError(
      "command",
      `Cannot use database ${database} of Redis at ${place}: ${message}; ` +
        `${NEEDED.test(message) ? `${SENTINEL}; otherwise ` : ""}set CACHE_DATABASES=prefixed to keep databases apart by key prefix`,
      { code },
    );
  }
  const attempt = /'select'/i.test(message) ? `use database ${database} of` : "log in to";
  return new StoreError(kind === "auth" ? "auth" : "connection", `Cannot ${attempt} Redis at ${place}: ${message}`, {
    code,
  });
}

/** Commands that are needed, and that a Sentinel does not know. */
const NEEDED = /^ERR unknown command ['`](MGET|GET|SET|EVAL|EVALSHA|UNLINK|SELECT)['`]/i;
const SENTINEL = "if a Sentinel answers here, give the address of the server that it watches";

/** An error that means that this is no single Redis, with what to do: the server's words alone lead nowhere. */
export function explained(error: StoreError, place: string): StoreError {
  const { kind, code, repeat, message } = error;
  const why = isOfCluster(error)
    ? `Redis at ${place} is a node of a cluster, which this driver does not serve yet: ` +
      "give the address of a single server"
    : NEEDED.test(message) && `the cache needs this command; ${SENTINEL}`;
  return why ? new StoreError(kind, `${message}: ${why}`, { code, repeat }) : error;
}

export function closedError(): StoreError {
  return new StoreError("closed", "The Redis driver is closed");
}

export function ignore(): void {}
