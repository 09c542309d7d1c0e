import { ignore } from "./errors.ts";
import type { NodeRedisClient } from "./options.ts";

/** A Buffer or text; only its text is used. */
export interface ReplyText {
  toString(): string;
}

/** The members that the driver uses of clients that it makes itself. */
export interface OwnClient extends Pick<NodeRedisClient, "isReady" | "sendCommand" | "on"> {
  connect(): Promise<unknown>;
  disconnect(): Promise<unknown>;
  subscribe(
    channels: string | readonly string[],
    listener: (keys: readonly ReplyText[] | null) => void,
    bytes: true,
  ): Promise<unknown>;
  unref(): void;
}

/** The user and the password of a login. */
export interface Credentials {
  readonly username?: string;
  readonly password?: string;
}

/** The options of the socket and the login, for connections without a client. */
export interface RawAddress {
  readonly socket: object;
  readonly credentials: () => Credentials | Promise<Credentials>;
}

/** Ends a connection at once. Its pending commands fail. */
export function disconnect(client: OwnClient): void {
  // If it is already closed, version 4 rejects, and 5 and 6 throw.
  try {
    client.disconnect().catch(ignore);
  } catch {}
}
