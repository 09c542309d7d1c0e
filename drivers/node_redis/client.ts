/**
 * The parts of node-redis 4 that the driver uses, from `@redis/client`, its own core: the socket with its connecting,
 * TLS, timeouts and keep-alive. The queue of commands and the reader of replies are ours, see `socket_connection.ts`.
 */

import * as socket from "@redis/client/dist/lib/client/socket.js";
import * as errors from "@redis/client/dist/lib/errors.js";

/** A socket of node-redis. */
export type NodeRedisSocket = InstanceType<typeof socket.default.default>;

/** The socket of node-redis 4. */
export const NodeRedisSocket: typeof socket.default.default = defaultOf(socket.default);
/** The error replies of node-redis 4. */
export const ErrorReply: typeof errors.ErrorReply = errors.ErrorReply;

/** Returns the default export of a CommonJS module, which Bun unwraps and others do not. */
function defaultOf<T extends object>(loaded: { default: T } | T): T {
  return "default" in loaded ? loaded.default : loaded;
}
