/** Connections of node-redis to one server: at an address, or like a ready client. */

import { defined } from "../../src/base/defined.ts";
import { nodeName } from "../../src/base/hosts.ts";
import { unref } from "../../src/base/timers.ts";
import { connectError } from "./errors.ts";
import type { NodeRedisClient, NodeRedisOptions } from "./options.ts";
import type { Credentials, OwnClient, RawAddress } from "./own_client.ts";
import { SocketClient } from "./socket_client.ts";

/** The shortest and the longest pause between two attempts to connect, in milliseconds. */
export const SHORTEST_PAUSE = 50;
export const LONGEST_PAUSE = 2000;

/** The options of a client that the driver reads and writes. */
export interface NodeRedisClientOptions extends Credentials {
  readonly database?: number;
  readonly socket?: { readonly host?: string; readonly port?: number; readonly path?: string };
  /** The source of user and password in version 5 and 6. */
  readonly credentialsProvider?: { readonly type: string; credentials?(): Promise<Credentials> };
}

/** A server: opens connections to its databases, and has its name for messages. */
export interface RedisAddress {
  readonly endpoint: string;
  readonly size: number;
  readonly connectTimeout: number;
  readonly pingInterval: number | undefined;
  create(database: number, signal: AbortSignal): OwnClient;
  /** The address for connections without a client. Absent if it is unknown. */
  readonly raw?: RawAddress;
}

/** Opens a client, and prepares it, within `connectTimeout`. */
export async function dial(
  address: RedisAddress,
  database: number,
  abort: AbortController,
  onError: (error: Error) => void,
  prepare: (client: OwnClient) => Promise<unknown>,
): Promise<OwnClient> {
  const client = address.create(database, abort.signal);
  client.on("error", onError);
  client.unref();
  await withinTimeout(address, database, abort, () => client.connect().then(() => prepare(client)));
  return client;
}

/** Opens a connection by a function, within `connectTimeout`. */
export async function withinTimeout(
  { endpoint, connectTimeout }: RedisAddress,
  database: number,
  abort: AbortController,
  open: () => Promise<unknown>,
): Promise<void> {
  const { signal } = abort;
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    if (signal.aborted) throw signal.reason;
    await Promise.race([
      open(),
      new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        timer = setTimeout(() => reject(new Error(`no answer within ${connectTimeout} ms`)), connectTimeout);
        unref(timer);
      }),
    ]);
  } catch (error) {
    // Stops the socket: node-redis itself cannot be stopped while it connects.
    abort.abort();
    throw connectError(error, endpoint, database);
  } finally {
    clearTimeout(timer);
  }
}

/** Describes the server at an address. */
export function atAddress(
  options: NodeRedisOptions,
  connectTimeout: number,
): Pick<RedisAddress, "endpoint" | "create" | "raw"> {
  const { host = "localhost", port = 6379, path, username, password, tls = false } = options;
  const socket = {
    ...(path === undefined ? { host, port } : { path }),
    ...(tls === false ? {} : { ...(tls === true ? {} : tls), tls: true }),
    connectTimeout,
    reconnectStrategy: false,
  };
  const endpoint = path ?? nodeName({ host, port });
  const raw = { socket, credentials: () => ({ ...defined({ username, password }) }) };
  return { endpoint, raw, create: (_database, signal) => new SocketClient(endpoint, raw, signal) };
}

/** Describes the server of a ready client. */
export function likeClient(client: NodeRedisClient): Pick<RedisAddress, "endpoint" | "create" | "raw"> {
  const {
    socket,
    username,
    password,
    credentialsProvider: provider,
  } = (client.options ?? {}) as NodeRedisClientOptions;
  const known =
    client.options && (!provider || (provider.type === "async-credentials-provider" && provider.credentials));
  return {
    ...(known && {
      raw: {
        socket: { ...(!socket?.path && { host: "localhost", port: 6379 }), ...socket },
        credentials: () => provider?.credentials?.() ?? defined({ username, password }),
      },
    }),
    endpoint: socket?.path ?? `${socket?.host ?? "localhost"}:${socket?.port ?? 6379}`,
    create: (database, signal) =>
      client.duplicate({
        // A URL would be read again, and would override the database and the socket.
        url: undefined,
        database,
        socket: { ...socket, reconnectStrategy: false, signal },
        disableOfflineQueue: true,
        pingInterval: undefined,
        // Plain RESP2, without features that need RESP3.
        RESP: 2,
        commandOptions: undefined,
        clientSideCache: undefined,
        emitInvalidate: false,
        maintNotifications: "disabled",
      }) as OwnClient,
  };
}
