/** How to reach one server: at an address, or as a ready client does. */

import { createClient } from "redis";
import { defined } from "../../src/base/defined.ts";
import { unref } from "../../src/base/timers.ts";
import { connectError, ignore } from "./errors.ts";
import type { NodeRedisClient, NodeRedisOptions } from "./options.ts";

/** The shortest and the longest pause between two attempts to connect, in milliseconds. */
export const SHORTEST_PAUSE = 50;
export const LONGEST_PAUSE = 2000;

/** A Buffer, of which only its text is used. */
export interface ReplyText {
  toString(): string;
}

/** What the driver uses of a client that it creates itself. */
export interface OwnClient extends NodeRedisClient {
  connect(): Promise<unknown>;
  disconnect(): Promise<unknown>;
  subscribe(
    channels: string | readonly string[],
    listener: (keys: readonly ReplyText[] | null) => void,
    bytes: true,
  ): Promise<unknown>;
  unref(): void;
  on(event: "error", listener: (error: Error) => void): unknown;
}

/** The shape of a client's options, as far as the driver reads and writes them. */
export interface NodeRedisClientOptions extends Credentials {
  readonly database?: number;
  readonly socket?: { readonly host?: string; readonly port?: number; readonly path?: string };
  /** In version 5 and 6: where user and password come from. */
  readonly credentialsProvider?: { readonly type: string; credentials?(): Promise<Credentials> };
}

/** What logs in. */
interface Credentials {
  readonly username?: string;
  readonly password?: string;
}

/** How to open a connection to a database, and what to call the server in messages. */
export interface RedisAddress {
  readonly place: string;
  readonly size: number;
  readonly connectTimeout: number;
  readonly pingInterval: number | undefined;
  create(database: number, signal: AbortSignal): OwnClient;
  /** How to open a connection without node-redis: the options of its socket, and who logs in. */
  readonly raw?: { readonly socket: object; readonly credentials: () => Credentials | Promise<Credentials> };
}

/** Opens a connection and makes it ready, within the time that it may take. */
export async function dial(
  { place, connectTimeout, create }: RedisAddress,
  database: number,
  abort: AbortController,
  onError: (error: Error) => void,
  prepare: (client: OwnClient) => Promise<unknown>,
): Promise<OwnClient> {
  const { signal } = abort;
  const client = create(database, signal);
  client.on("error", onError);
  client.unref();
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await Promise.race([
      client.connect().then(() => prepare(client)),
      new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        timer = setTimeout(() => reject(new Error(`no answer within ${connectTimeout} ms`)), connectTimeout);
        unref(timer);
      }),
    ]);
    return client;
  } catch (error) {
    // node-redis itself cannot be stopped while its socket connects.
    abort.abort();
    throw connectError(error, place, database);
  } finally {
    clearTimeout(timer);
  }
}

export function atAddress(
  options: NodeRedisOptions,
  connectTimeout: number,
): Pick<RedisAddress, "place" | "create" | "raw"> {
  const { host = "localhost", port = 6379, path, username, password, tls = false } = options;
  const socket = {
    ...(path === undefined ? { host, port } : { path }),
    ...(tls === false ? {} : { ...(tls === true ? {} : tls), tls: true }),
    connectTimeout,
    reconnectStrategy: false,
  };
  return {
    place: path ?? `${host}:${port}`,
    raw: { socket, credentials: () => ({ ...defined({ username, password }) }) },
    create: (database, signal) =>
      createClient({
        // A copy for each, because node-redis fills in its defaults; the signal goes on to the socket itself.
        socket: { ...socket, signal } as object,
        ...(username === undefined ? {} : { username }),
        ...(password === undefined ? {} : { password }),
        database,
        disableOfflineQueue: true,
        disableClientInfo: true,
      }) as unknown as OwnClient,
  };
}

export function likeClient(client: NodeRedisClient): Pick<RedisAddress, "place" | "create" | "raw"> {
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
    place: socket?.path ?? `${socket?.host ?? "localhost"}:${socket?.port ?? 6379}`,
    create: (database, signal) =>
      client.duplicate({
        // A URL would be read again, and its database and socket would win.
        url: undefined,
        database,
        socket: { ...socket, reconnectStrategy: false, signal },
        disableOfflineQueue: true,
        pingInterval: undefined,
        // Plain RESP2, and nothing that needs RESP3.
        RESP: 2,
        commandOptions: undefined,
        clientSideCache: undefined,
        emitInvalidate: false,
        maintNotifications: "disabled",
      }) as OwnClient,
  };
}

/** Ends a connection at once; what it still held fails. */
export function disconnect(client: OwnClient): void {
  // Version 4 rejects, 5 and 6 throw, when it is closed already.
  try {
    client.disconnect().catch(ignore);
  } catch {}
}
