/**
 * The TCP wire: Redis through node-redis (`redis` on npm, version 4), with a pool of connections for each database.
 *
 * node-redis reconnects by itself and holds commands back meanwhile, for as long as it takes; a cache wants the opposite.
 * Both are off here: a connection lives until it is lost or gives no answer in time, and the next send opens another,
 * after a pause where attempts fail. No timer and no open socket keeps the process alive: whoever waits for a send does.
 * A socket that still connects, to an address that drops packets, holds Node and Bun for `connectTimeout` at the most.
 *
 * @module
 */

import { createClient, ErrorReply } from "redis";
import { type Address, readAddress, readHost } from "../src/base/address.ts";
import { checkOptions, defined, fields, type Rules, whole } from "../src/base/options.ts";
import { LONGEST_TIMER, parseTimeout, type Timeout } from "../src/base/ttl.ts";
import {
  type Command,
  type Connection,
  type Driver,
  errorReply,
  isDenial,
  isOfCluster,
  type RawCommand,
  type Reply,
  type SendOptions,
  StoreError,
  type Tracker,
  type Tracking,
} from "./driver.ts";
import { withoutArguments } from "./node_redis/resp.ts";
import { type Dial, leftError, lostError, openConnection, reason } from "./node_redis/resp_connection.ts";

/** TLS settings, named as in Node's `tls.connect`; files are given by their contents. */
export interface NodeRedisTls {
  /** Certificates to trust instead of the well-known ones, as PEM. */
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[];
  /** The client's certificate, as PEM. */
  readonly cert?: string | Uint8Array;
  /** The client's private key, as PEM. */
  readonly key?: string | Uint8Array;
  /** The passphrase of the private key. */
  readonly passphrase?: string;
  /** The name that the server's certificate must carry. @default the host */
  readonly servername?: string;
  /** Whether a certificate that cannot be verified ends the connection. @default true */
  readonly rejectUnauthorized?: boolean;
}

/** What the driver uses of a ready client: node-redis 4, 5 and 6 all have it. */
export interface NodeRedisClient {
  /** Whether commands can be sent now. */
  readonly isReady: boolean;
  /** The options that the client was created with. */
  readonly options?: object | undefined;
  /** Sends one command. */
  sendCommand(args: string[], options?: object): Promise<unknown>;
  /** Creates a client like this one, not yet connected. */
  duplicate(overrides?: object): unknown;
  /** Listens to an event. */
  on(event: "error", listener: (error: Error) => void): unknown;
}

/** Options of {@linkcode nodeRedis}. */
export interface NodeRedisOptions {
  /**
   * `redis://[[username]:password@]host[:port][/database]`, `rediss://` for TLS, or `unix:/path`; `valkey://` and
   * `valkeys://` are the same. The options below win over its parts.
   */
  readonly url?: string;
  /** The server's name or address. @default "localhost" */
  readonly host?: string;
  /** The server's port. @default 6379 */
  readonly port?: number;
  /** The path of a Unix socket, in the place of host and port. */
  readonly path?: string;
  /** The ACL user. @default the server's default user */
  readonly username?: string;
  /** The password of the user. */
  readonly password?: string;
  /** Whether the connection is encrypted, or how. @default true for `rediss://`, otherwise false */
  readonly tls?: boolean | NodeRedisTls;
  /** `size`: the most connections for each database, each opened when all others are busy. @default { size: 1 } */
  readonly pool?: { readonly size?: number };
  /** How long opening a connection may take, log-in included: milliseconds, or `"5s"`. @default 5000 */
  readonly connectTimeout?: Timeout;
  /**
   * How long a connection is silent before a PING keeps it alive: milliseconds, or `"1m"`. @default no PING; 10 s on
   * the connection that tells of changes
   */
  readonly pingInterval?: Timeout;
  /**
   * A connected client of node-redis 4, 5 or 6, in the place of everything above but `connectTimeout` and `pingInterval`.
   * It serves its own database and is never closed by the driver; other databases are served by duplicates of it, which
   * the driver closes. It may reconnect by itself, but nothing is sent to it while it is not ready.
   */
  readonly client?: NodeRedisClient;
  /**
   * The database, 0-15, that a cache client takes where nothing else names one; that which `client` has selected. Each
   * send names its own.
   * @default the URL's, or the one in the client's options, otherwise 0
   */
  readonly database?: number;
}

/** A Buffer, of which only its text is used. */
interface Text {
  toString(): string;
}

/** What the driver uses of a client that it creates itself. */
interface OwnClient extends NodeRedisClient {
  connect(): Promise<unknown>;
  disconnect(): Promise<unknown>;
  subscribe(
    channels: string | readonly string[],
    listener: (keys: readonly Text[] | null) => void,
    bytes: true,
  ): Promise<unknown>;
  unref(): void;
  on(event: "error", listener: (error: Error) => void): unknown;
}

/** The shape of a client's options, as far as the driver reads and writes them. */
interface ClientOptions extends Credentials {
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
interface Target {
  readonly place: string;
  readonly size: number;
  readonly connectTimeout: number;
  readonly pingInterval: number | undefined;
  create(database: number, signal: AbortSignal): OwnClient;
  /** How to open a connection without node-redis: the options of its socket, and who logs in. */
  readonly raw?: { readonly socket: object; readonly credentials: () => Credentials | Promise<Credentials> };
}

/** The URLs that are accepted. */
const URLS = "redis://host:6379/0 rediss://host:6379/0 or unix:/path";
const STRING: Rules[string] = ["a string", (value) => typeof value === "string"];
/** Times are looked at where they are read. */
const TIME: Rules[string] = ["", () => true];
/** What options must be. */
const OPTIONS: Rules = {
  url: STRING,
  host: STRING,
  port: whole(1, 65535),
  path: STRING,
  username: STRING,
  password: STRING,
  tls: fields(
    ["ca", "cert", "key", "passphrase", "servername", "rejectUnauthorized"],
    "true, false or ",
    (tls) => typeof tls === "boolean",
  ),
  pool: fields(["size"]),
  connectTimeout: TIME,
  pingInterval: TIME,
  client: ["a connected client of node-redis", (client) => Object(client) === client],
  database: whole(0, 15),
};

const SHORTEST_PAUSE = 50;
const LONGEST_PAUSE = 2000;
/** The longest that connections stay with a server that is not the primary, while it is written to. */
const LONGEST_STAY = 1000;
/** For how long a server may load before it is left. */
const LOADING = 1000;
/** After how long what a server said before is of no matter. */
const FORGETTING = 10_000;
/** How much longer than its callers a connection waits where they tell whether they do. */
const GRACE = 1000;
/** How often a server in use is asked whether it is the primary still. */
const ROLES = 10_000;
/** The most milliseconds that closing waits for the replies to what was sent before. */
const CLOSING = 1000;
/** The channel that the server tells of changes on. */
const INVALIDATIONS = "__redis__:invalidate";
/** Redict has renamed it, and up to 7.3.6 cuts the name that it sends to the length of Redis's. */
const REDICT_INVALIDATIONS = ["__redict__:invalidate", "__redict__:invalidat"];
/** How often the connection that tells of changes is asked whether it is alive, in milliseconds. */
const PINGS = 10_000;

/**
 * Makes a driver over TCP or a Unix socket. Nothing is opened before the first send.
 *
 * A send does not keep the process alive, and waits for its replies for as long as the connection lives: a connection
 * that gives no answer within the longest `timeout` of the sends that it holds is dropped, and those sends fail.
 *
 * @param options Where the server is and how to log in, or a ready client.
 * @throws {TypeError} For an option that is unknown or of another form, a URL that cannot be honoured, and options of a
 * connection beside a ready client.
 * @throws {RangeError} For a number out of range.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 * import { nodeRedis } from "@foodfast/larder/drivers/node-redis";
 *
 * const driver = nodeRedis({ url: "redis://127.0.0.1:6379", pool: { size: 2 } }); // nothing is opened yet
 * const client = createCacheClient({ driver });
 * console.log(client.driver); // "node-redis"
 * await driver.close();
 * ```
 */
export function nodeRedis(options: NodeRedisOptions): Driver {
  checkOptions("nodeRedis", options, OPTIONS);
  checkOptions("the pool of nodeRedis", options.pool ?? {}, { size: whole(1) });
  const size = options.pool?.size ?? 1;
  const limits = {
    connectTimeout: time("connectTimeout", options.connectTimeout ?? 5000),
    pingInterval: (options.pingInterval ?? 0) === 0 ? undefined : time("pingInterval", options.pingInterval as Timeout),
  };
  const pools: (Pool | Lent)[] = [];
  const address = options.client ? (options.client.options as ClientOptions | undefined) : addressOf(options);
  const named = options.database ?? address?.database;
  const target: Target = options.client
    ? { ...limits, size: 1, ...likeClient(options.client) }
    : { ...limits, size, ...atAddress(address as NodeRedisOptions, limits.connectTimeout) };
  if (options.client) {
    for (const name of ["url", "host", "port", "path", "username", "password", "tls", "pool"] as const) {
      if (options[name] !== undefined)
        throw new TypeError(`Cannot use "${name}" with a ready client: it is connected already`);
    }
    pools[named ?? 0] = new Lent(options.client, target.place, ({ code }) => primary.denied(code));
  }
  const watch = new Watch(target);
  const primary = new Primary(() => {
    for (const pool of pools) pool?.leave();
    watch.leave();
  });
  const own = new Set<Connection>();
  let closed: Promise<unknown> | undefined;
  return {
    name: "node-redis",
    ...(named !== undefined && { database: named }),
    capabilities: {
      numbered: true,
      scripts: true,
      ordered: target.size === 1,
      // A ready client may lose its connection within a send, reconnect, and send the rest outside of MULTI.
      ...(options.client ? {} : { transactions: "multi" }),
    },
    send(database, commands, sendOptions) {
      if (closed) return Promise.reject(closedError());
      pools[database] ??= new Pool(target, database, primary);
      return pools[database].send(commands, sendOptions);
    },
    track: (_database, prefix, tracker) => watch.add(prefix, tracker),
    ...(target.raw && {
      async connect(database: number, sendOptions?: SendOptions) {
        if (closed) throw closedError();
        const opened = performance.now();
        const connection = await connect(target, database, sendOptions, {
          denied: ({ code }) => primary.denied(code, opened),
          begun: (connection) => (closed ? connection.close() : own.add(connection)),
          gone: (connection) => own.delete(connection),
        });
        if (primary.doubted) connection.send([["ROLE"]]).then(([role]) => primary.see(role), ignore);
        return connection;
      },
    }),
    async close() {
      watch.close();
      closed ??= Promise.all([...pools.map((pool) => pool.close()), ...[...own].map((each) => each.close())]);
      await closed;
    },
  };
}

/** Opens a connection of the caller's own. */
async function connect(
  { place, connectTimeout, raw }: Target,
  database: number,
  options: SendOptions | undefined,
  told: Pick<Dial, "begun" | "gone" | "denied">,
): Promise<Connection> {
  if (!raw) throw new TypeError("Cannot connect without knowing where to");
  try {
    const { username, password } = await raw.credentials();
    const login: RawCommand[] = [["PING"]];
    if (database !== 0) login.unshift(["SELECT", database]);
    if (username || password) login.unshift(["AUTH", ...(username ? [username] : []), password ?? ""]);
    return await openConnection({
      place,
      // A copy for each: sockets write into their options.
      socket: { ...raw.socket },
      login,
      timeout: options?.timeout ?? connectTimeout,
      ...told,
    });
  } catch (error) {
    throw connectError(error, place, database);
  }
}

/**
 * What to do about a server that answers, but not as the primary: after a failover its connections stay, while the name
 * leads elsewhere. All connections that sends share are replaced by one that asks the name anew. Where it still leads
 * to such a server, as for whoever reads from a replica on purpose, connections stay for a pause, which grows to a
 * second.
 */
class Primary {
  /** Whether a server was left, and no other one has said since that it is the primary. */
  doubted = false;
  readonly #leave: () => void;
  /** When all were left. */
  #left = Number.NEGATIVE_INFINITY;
  #pause = SHORTEST_PAUSE;
  /** Since when, and when last, a server said that it loads. */
  #loading = 0;
  #loads = Number.NEGATIVE_INFINITY;

  constructor(leave: () => void) {
    this.#leave = leave;
  }

  /** Takes note of a denial on a connection whose opening began then. Answers whether that one is to be left. */
  denied(code: string, opened: number = Number.POSITIVE_INFINITY): boolean {
    const now = performance.now();
    if (code === "LOADING") {
      if (now - this.#loads > FORGETTING) this.#loading = now;
      this.#loads = now;
      if (now - this.#loading < LOADING) return false;
    }
    // The others were left meanwhile.
    if (opened < this.#left) return true;
    const since = now - this.#left;
    if (this.doubted && since < this.#pause) return false;
    this.#pause = !this.doubted || since > FORGETTING ? SHORTEST_PAUSE : Math.min(this.#pause * 2, LONGEST_STAY);
    this.#left = now;
    this.doubted = true;
    this.#leave();
    return true;
  }

  /** Takes note of what a new connection was answered to ROLE, which it is only asked in doubt. */
  see(reply: unknown): void {
    const role = Array.isArray(reply) ? reply[0] : undefined;
    const word = role instanceof Uint8Array ? new TextDecoder().decode(role) : role;
    if (word === "master") this.doubted = false;
  }
}

/** What is told by its callers alone is given up later: the answer may stand in a socket that nobody could read yet. */
function patience({ timeout }: SendOptions): number | undefined {
  return timeout && Math.min(timeout + GRACE, LONGEST_TIMER);
}

/** The connections to one database. */
class Pool {
  readonly #target: Target;
  readonly #database: number;
  readonly #primary: Primary;
  /** When a server was last asked for its role, or was opened. */
  #asked = 0;
  /** The attempt to put another connection in the place of those that are open. */
  #replacing: Promise<void> | undefined;
  #connections: readonly Shared[] = [];
  /** The one attempt to connect that every send shares. */
  #attempt: Promise<Shared> | undefined;
  #abort: AbortController | undefined;
  #failures = 0;
  #pausedUntil = 0;
  #failure: StoreError | undefined;
  #closed = false;

  constructor(target: Target, database: number, primary: Primary) {
    this.#target = target;
    this.#database = database;
    this.#primary = primary;
  }

  send(commands: readonly Command[], options: SendOptions | undefined): Promise<Reply[]> {
    const now = performance.now();
    const timeout = options?.waiting ? patience(options) : options?.timeout;
    if (this.#replacing) return this.#sendAfter(this.#replacing, commands, options, now);
    let best: Shared | undefined;
    // Losing a connection replaces the list, so the loop goes on over the one it started with.
    for (const connection of this.#connections) {
      if (connection.overdue(now)) connection.giveUp();
      else if (!best || connection.pending < best.pending) best = connection;
    }
    if (best) {
      const grow = best.pending > 0 && this.#connections.length < this.#target.size && now >= this.#pausedUntil;
      if (grow && !this.#closed) this.#open();
      if (now - this.#asked > ROLES) this.#askRole(best, timeout, now);
      return best.send(commands, timeout, now);
    }
    if (now < this.#pausedUntil && this.#failure) return Promise.reject(this.#failure);
    return this.#sendAfter(this.#open(), commands, options, now);
  }

  #sendAfter(
    opened: Promise<unknown>,
    commands: readonly Command[],
    options: SendOptions | undefined,
    now: number,
  ): Promise<Reply[]> {
    return opened.then(() => {
      // Its caller was told that it failed: executing it now would be a surprise.
      const { timeout, waiting } = options ?? {};
      if (waiting ? !waiting() : timeout !== undefined && performance.now() - now >= timeout) {
        throw new StoreError(
          "timeout",
          `Redis at ${this.#target.place} could not be reached within ${Math.round(timeout ?? 0)} ms`,
        );
      }
      return this.send(commands, options);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#abort?.abort(closedError());
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }

  /** Puts a new connection in the place of those that are open; where none can be opened, they stay. */
  leave(): void {
    const old = this.#connections;
    if (this.#replacing || old.length === 0) return;
    this.#replacing = this.#open()
      .then(() => {
        this.#connections = this.#connections.filter((connection) => !old.includes(connection));
        for (const connection of old) connection.close(leftError(this.#target.place));
      }, ignore)
      .finally(() => {
        this.#replacing = undefined;
      });
  }

  /**
   * Who only reads is never told that the server was demoted. Rides along with a send; where it is not allowed, that
   * was the last time.
   */
  #askRole(connection: Shared, timeout: number | undefined, now: number): void {
    this.#asked = now;
    connection.send([["ROLE"]], timeout, now).then(([reply]) => {
      const role = Array.isArray(reply) ? reply[0] : undefined;
      if (role === undefined) this.#asked = Number.POSITIVE_INFINITY;
      else if (role === "master") connection.primary = true;
      else if (connection.primary) this.#deny(connection, "READONLY");
    }, ignore);
  }

  #deny(connection: Shared, code: string): void {
    if (this.#primary.denied(code, connection.opened)) this.leave();
  }

  #open(): Promise<Shared> {
    if (this.#attempt) return this.#attempt;
    if (this.#closed) return Promise.reject(closedError());
    const attempt = this.#connect();
    this.#attempt = attempt;
    // The first reaction: whoever waits for the attempt finds the connection in the list, before any later send does.
    attempt.then(
      (connection) => {
        this.#attempt = undefined;
        this.#failures = 0;
        this.#connections = [...this.#connections, connection];
        if (this.#closed) connection.close();
      },
      (error: StoreError) => {
        this.#attempt = undefined;
        this.#failure = error;
        this.#pausedUntil = performance.now() + Math.min(SHORTEST_PAUSE * 2 ** this.#failures++, LONGEST_PAUSE);
      },
    );
    return attempt;
  }

  async #connect(): Promise<Shared> {
    const { place, connectTimeout, pingInterval } = this.#target;
    let lost: ((error: Error) => void) | undefined;
    const opened = performance.now();
    this.#abort = new AbortController();
    const client = await dial(
      this.#target,
      this.#database,
      this.#abort,
      (error) => lost?.(error),
      // An answer, whichever: some proxies accept for servers that are gone, and a full server says so only now.
      async (client) => {
        const role = this.#primary.doubted && client.sendCommand(["ROLE"]).catch(ignore);
        await client.sendCommand(["PING"]).catch(refusal);
        if (role) this.#primary.see(await role);
      },
    ).finally(() => {
      this.#abort = undefined;
    });
    const connection = new Shared(
      client,
      place,
      ({ code }) => this.#deny(connection, code),
      () => {
        this.#connections = this.#connections.filter((other) => other !== connection);
        disconnect(client);
      },
    );
    connection.opened = this.#asked = opened;
    lost = (error) => connection.lose(lostError(place, error));
    if (pingInterval) connection.keepAlive(pingInterval, connectTimeout);
    return connection;
  }
}

/** Opens a connection and makes it ready, within the time that it may take. */
async function dial(
  { place, connectTimeout, create }: Target,
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

/** Who is told of changes, of which keys, and whether that is so now. */
interface Watcher {
  readonly prefix: string;
  readonly tracker: Tracker;
  up: boolean;
}

/**
 * The one connection of a driver that the server tells of changes on. It is not said in which database they are, so one
 * serves all. It redirects what it is told to itself, where it arrives as messages to a subscriber: RESP2 has no other way.
 * A subscriber can ask for nothing more, so a prefix that is not covered takes a new connection.
 */
class Watch {
  readonly #target: Target;
  readonly #watchers = new Set<Watcher>();
  #attempt: AbortController | undefined;
  #client: OwnClient | undefined;
  /** What the server tells of on the connection. */
  #prefixes: readonly string[] = [];
  #failures = 0;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #pings: ReturnType<typeof setInterval> | undefined;
  #closed = false;

  constructor(target: Target) {
    this.#target = target;
  }

  add(prefix: string, tracker: Tracker): Tracking {
    const watcher = { prefix, tracker, up: false };
    if (!this.#closed) {
      this.#watchers.add(watcher);
      this.#serve();
    }
    return {
      close: async () => {
        if (this.#watchers.delete(watcher) && this.#watchers.size === 0) this.#leave();
      },
    };
  }

  close(): void {
    this.#closed = true;
    this.#leave();
    this.#watchers.clear();
  }

  /** Opens another connection in the place of the one that is open. */
  leave(): void {
    this.#lose(this.#client);
  }

  /** Brings up those that the connection serves, and opens another one where that is not all. */
  #serve(): void {
    for (const watcher of this.#watchers) {
      if (watcher.up || !this.#client || !this.#prefixes.some((prefix) => watcher.prefix.startsWith(prefix))) continue;
      watcher.up = true;
      watcher.tracker.up();
    }
    if (this.#attempt || this.#pause || [...this.#watchers].every(({ up }) => up)) return;
    this.#leave();
    this.#open();
  }

  async #open(): Promise<void> {
    const attempt = new AbortController();
    this.#attempt = attempt;
    let client: OwnClient | undefined;
    let prefixes: readonly string[] = [];
    let pause: number | undefined;
    let refused: StoreError | undefined;
    try {
      client = await dial(
        this.#target,
        0,
        attempt,
        () => this.#lose(client),
        async (client) => {
          prefixes = shortest([...this.#watchers].map(({ prefix }) => prefix));
          try {
            const id = await client.sendCommand(["CLIENT", "ID"]);
            const names = prefixes.flatMap((prefix) => ["PREFIX", prefix]);
            await client.sendCommand(["CLIENT", "TRACKING", "ON", "REDIRECT", `${id}`, "BCAST", ...names]);
            const channels = (await isRedict(client)) ? REDICT_INVALIDATIONS : INVALIDATIONS;
            // As bytes: of names that it does not know, node-redis would make one text of all keys.
            await client.subscribe(channels, (keys) => this.#tell(keys), true);
          } catch (error) {
            refused = isErrorReply(error) ? untoldError(error, this.#target.place) : undefined;
            throw refused ?? error;
          }
        },
      );
    } catch (error) {
      // What the server refuses now it is likely to refuse for long.
      pause = (error as StoreError).code ? LONGEST_PAUSE : this.#nextPause();
    }
    // It was left meanwhile.
    if (this.#attempt !== attempt) {
      if (client) disconnect(client);
      return;
    }
    this.#attempt = undefined;
    // While it loads it refuses everything.
    if (refused?.repeat === "none") for (const { tracker } of this.#watchers) tracker.refused?.(refused);
    if (!client?.isReady) {
      this.#retry(pause ?? this.#nextPause());
      return;
    }
    this.#client = client;
    this.#prefixes = prefixes;
    this.#failures = 0;
    this.#keepAlive(client);
    this.#serve();
  }

  #tell(bytes: readonly Text[] | null): void {
    const keys = bytes?.map(String);
    for (const { up, prefix, tracker } of this.#watchers) {
      if (!up) continue;
      const own = keys?.filter((key) => key.startsWith(prefix));
      if (own?.length !== 0) tracker.invalidate(own ?? null);
    }
  }

  /** A connection that has fallen silent looks like one that has nothing to tell. */
  #keepAlive(client: OwnClient): void {
    const { pingInterval, connectTimeout } = this.#target;
    const lose = () => this.#lose(client);
    this.#pings = setInterval(() => {
      const late = setTimeout(lose, connectTimeout);
      unref(late);
      const answered = () => clearTimeout(late);
      client.sendCommand(["PING"]).then(answered, (error) => (isErrorReply(error) ? answered() : lose()));
    }, pingInterval || PINGS);
    unref(this.#pings);
  }

  #lose(client: OwnClient | undefined): void {
    if (!client || client !== this.#client) return;
    this.#leave();
    this.#retry(this.#nextPause());
  }

  #nextPause(): number {
    return Math.min(SHORTEST_PAUSE * 2 ** this.#failures++, LONGEST_PAUSE);
  }

  #retry(pause: number): void {
    this.#pause ??= setTimeout(() => {
      this.#pause = undefined;
      this.#serve();
    }, pause);
    unref(this.#pause);
  }

  /** Ends the connection, or the attempt at one. */
  #leave(): void {
    const client = this.#client;
    this.#client = undefined;
    this.#attempt?.abort(closedError());
    this.#attempt = undefined;
    clearTimeout(this.#pause);
    this.#pause = undefined;
    clearInterval(this.#pings);
    if (client) disconnect(client);
    for (const watcher of this.#watchers) {
      if (!watcher.up) continue;
      watcher.up = false;
      watcher.tracker.down();
    }
  }
}

/** Whether the server calls itself Redict. One that refuses to say what it is is none. */
async function isRedict(client: OwnClient): Promise<boolean> {
  try {
    return String(await client.sendCommand(["HELLO"])).includes("server,redict");
  } catch (error) {
    if (isErrorReply(error)) return false;
    throw error;
  }
}

/** Leaves out the prefixes that start with another one: the server refuses them on one connection. */
function shortest(prefixes: readonly string[]): readonly string[] {
  const shorter = (prefix: string, other: string) => prefix !== other && prefix.startsWith(other);
  return [...new Set(prefixes)].filter((prefix, _, all) => !all.some((other) => shorter(prefix, other)));
}

/** Ready clients that have an error listener of ours: without any, an error would end the process. */
const heard = new WeakSet<object>();

/** A client that belongs to the caller: used while it is ready, never closed. */
class Lent {
  readonly #client: NodeRedisClient;
  readonly #place: string;
  readonly #connection: Shared;

  constructor(client: NodeRedisClient, place: string, denied: (error: StoreError) => void) {
    this.#client = client;
    this.#place = place;
    this.#connection = new Shared(client, place, denied);
    if (!heard.has(client)) client.on("error", ignore);
    heard.add(client);
  }

  send(commands: readonly Command[], options: SendOptions | undefined): Promise<Reply[]> {
    const now = performance.now();
    if (!this.#client.isReady) {
      return Promise.reject(new StoreError("connection", `The client of Redis at ${this.#place} is not connected`));
    }
    // Its connection is not ours to drop, but what it would only hold need not be added to.
    if (this.#connection.overdue(now)) return Promise.reject(this.#connection.overdueError());
    return this.#connection.send(commands, options?.timeout, now);
  }

  async close(): Promise<void> {}

  leave(): void {}
}

/** One connection: sends, and notices when answers stay away. */
class Shared {
  /** How many commands wait for their reply. */
  pending = 0;
  /** When its opening began. */
  opened = 0;
  /** Whether the server has said that it is the primary. */
  primary = false;
  readonly #client: NodeRedisClient;
  readonly #place: string;
  /** Told that the server is not the one to ask. */
  readonly #denied: (error: StoreError) => void;
  /** Called once, when the connection is lost; absent where it is not ours. */
  readonly #onLost: (() => void) | undefined;
  #lost: StoreError | undefined;
  /** When the last reply came, or when the oldest command was sent if that is later. */
  #since = 0;
  /** The longest timeout of the sends that wait. */
  #patience = 0;
  #watch: ReturnType<typeof setTimeout> | undefined;
  #pings: ReturnType<typeof setInterval> | undefined;

  constructor(client: NodeRedisClient, place: string, denied: (error: StoreError) => void, onLost?: () => void) {
    this.#client = client;
    this.#place = place;
    this.#denied = denied;
    this.#onLost = onLost;
  }

  send(commands: readonly Command[], timeout = Number.POSITIVE_INFINITY, now: number): Promise<Reply[]> {
    if (this.pending === 0) {
      this.#since = now;
      this.#patience = timeout;
    } else if (timeout > this.#patience) this.#patience = timeout;
    if (this.#watch === undefined) this.#arm(this.#patience);
    this.pending += commands.length;
    const only = commands.length === 1 ? commands[0] : undefined;
    if (only) return this.#dispatch(only).then(this.#onlyReply, this.#onlyError);
    return this.#sendMany(commands);
  }

  /** Whether the answer to what was sent is later than all who wait for it accept. */
  overdue(now: number): boolean {
    return this.pending > 0 && now - this.#since >= this.#patience;
  }

  overdueError(): StoreError {
    return new StoreError("timeout", `Redis at ${this.#place} gave no answer within ${Math.round(this.#patience)} ms`, {
      repeat: "idempotent",
    });
  }

  giveUp(): void {
    this.lose(this.overdueError());
  }

  lose(error: StoreError): void {
    if (this.#lost || !this.#onLost) return;
    this.#lost = error;
    clearTimeout(this.#watch);
    clearInterval(this.#pings);
    this.#onLost();
  }

  keepAlive(interval: number, timeout: number): void {
    this.#pings = setInterval(() => {
      const now = performance.now();
      if (this.pending === 0 && now - this.#since >= interval) this.send([["PING"]], timeout, now).catch(ignore);
    }, interval);
    unref(this.#pings);
  }

  /** Waits for what was sent, then ends it for this reason. */
  async close(why: StoreError = closedError()): Promise<void> {
    if (this.pending > 0) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      // Replies come in order: when this one is here, all others are.
      await Promise.race([
        this.#client.sendCommand(["PING"]).catch(ignore),
        new Promise((done) => {
          timer = setTimeout(done, Math.min(this.#patience, CLOSING));
        }),
      ]);
      clearTimeout(timer);
    }
    this.lose(why);
  }

  #arm(delay: number): void {
    if (!this.#onLost || delay === Number.POSITIVE_INFINITY) return;
    this.#watch = setTimeout(
      () => {
        this.#watch = undefined;
        const now = performance.now();
        if (this.overdue(now)) this.giveUp();
        else if (this.pending > 0) this.#arm(this.#patience - (now - this.#since));
      },
      Math.min(delay, LONGEST_TIMER),
    );
    unref(this.#watch);
  }

  #dispatch(command: Command): Promise<unknown> {
    return this.#onLost
      ? this.#client.sendCommand(strings(command))
      : this.#client.sendCommand(strings(command), RESP2_TYPES).then((reply) => fold(command[0], reply));
  }

  async #sendMany(commands: readonly Command[]): Promise<Reply[]> {
    const replies = await Promise.all(
      commands.map((command) => this.#dispatch(command).then(this.#reply, this.#error)),
    );
    if (replies.every(isUnanswered)) throw replies[0];
    return replies;
  }

  // The same functions for every send: a send makes no closures.
  readonly #reply = (reply: unknown): Reply => {
    // With nothing left to wait for, when it was is of no use.
    if (--this.pending > 0) this.#since = performance.now();
    return reply as Reply;
  };

  readonly #error = (error: unknown): StoreError => {
    this.pending--;
    if (isErrorReply(error)) {
      this.#since = performance.now();
      return this.#refused(errorReply(withoutArguments(error.message)));
    }
    const lost = this.#lost ?? lostError(this.#place, error);
    this.lose(lost);
    return lost;
  };

  /** A command's own error; where it tells of the server, it is acted upon and explained. */
  #refused(error: StoreError): StoreError {
    if (!isDenial(error)) return explained(error, this.#place);
    this.#denied(error);
    if (this.#onLost || error.code === "LOADING") return error;
    const { kind, code, repeat, message } = error;
    const advice =
      "reconnect the ready client, whose connection is its owner's, or give the server's address in its place";
    return new StoreError(kind, `${message}: ${advice}`, { code, repeat });
  }

  readonly #onlyReply = (reply: unknown): Reply[] => [this.#reply(reply)];

  readonly #onlyError = (error: unknown): Reply[] => {
    const failure = this.#error(error);
    if (isUnanswered(failure)) throw failure;
    return [failure];
  };
}

function atAddress(options: NodeRedisOptions, connectTimeout: number): Pick<Target, "place" | "create" | "raw"> {
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

/** What a client is that only looks like one of node-redis, by what it alone has. */
const OTHERS: Readonly<Record<string, string>> = {
  isCluster: "a client of ioredis",
  slots: "a cluster client of node-redis",
  acquire: "a Sentinel client of node-redis",
  execute: "a pool of clients of node-redis",
};

/** @throws {TypeError} For what is no client of a single server, with what it is. */
function checkClient(client: unknown): void {
  const given = (typeof client === "object" && client !== null ? client : {}) as Partial<NodeRedisClient>;
  const other = Object.keys(OTHERS).find((name) => name in given);
  const fits = typeof given.isReady === "boolean" && given.sendCommand && given.duplicate && given.on;
  if (fits && !other) return;
  const what = other
    ? OTHERS[other]
    : client === given
      ? `an object of type ${given.constructor?.name}`
      : typeof client;
  const accepted = "a client of node-redis 4, 5 or 6 for a single server, made by createClient of redis";
  throw new TypeError(`Cannot use ${what} as "client": accepted is ${accepted}`);
}

function likeClient(client: NodeRedisClient): Pick<Target, "place" | "create" | "raw"> {
  checkClient(client);
  const { socket, username, password, credentialsProvider: provider } = (client.options ?? {}) as ClientOptions;
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

/** The options over what the URL says. @throws {TypeError} For what cannot be honoured; it shows nothing of the URL. */
function addressOf({ url, ...options }: NodeRedisOptions): NodeRedisOptions {
  try {
    const { driver = "node-redis", ...said }: Partial<Address> = url === undefined ? {} : readAddress(url, URLS);
    if (driver !== "node-redis") throw new TypeError(`expected ${URLS}`);
    const { host, ...rest } = { ...said, ...defined(options) };
    return { ...rest, ...(host !== undefined && { host: readHost(host) }) };
  } catch (error) {
    throw new TypeError(`Cannot use the address of nodeRedis: ${(error as Error).message}`);
  }
}

/** A time in whole milliseconds. */
function time(name: string, value: Timeout): number {
  const milliseconds = parseTimeout(value, name);
  checkOptions("nodeRedis", { [name]: milliseconds }, { [name]: whole(1) });
  return milliseconds;
}

function strings(command: Command): string[] {
  for (let index = 1; index < command.length; index++) {
    if (typeof command[index] !== "string") return command.map(String);
  }
  return command as unknown as string[];
}

/** For node-redis 5 and 6: RESP3 doubles and big numbers as strings, maps and sets as flat lists. */
const RESP2_TYPES = { typeMapping: { 44: String, 40: String, 37: Array, 126: Array } };
/** Commands whose scores or values RESP3 puts into a pair with each member. */
const PAIRS = /^(Z(?!SCAN|MPOP)|HRANDFIELD)/i;

/** Folds a reply of RESP3 into its RESP2 shape. */
function fold(name: string, reply: unknown): unknown {
  if (reply === true) return 1;
  if (reply === false) return 0;
  if (!Array.isArray(reply)) return reply;
  return (PAIRS.test(name) ? reply.flat() : reply).map((item) => fold("", item));
}

/** Each version of node-redis has classes of its own; error replies start with a code, other errors do not. */
function isErrorReply(error: unknown): error is Error {
  if (error instanceof ErrorReply) return true;
  return error instanceof Error && !("code" in error) && /^[A-Z][A-Z0-9_-]+( |$)/.test(error.message);
}

function isUnanswered(reply: Reply): boolean {
  return reply instanceof StoreError && /^(connection|timeout|closed)$/.test(reply.kind);
}

/** Whether an error reply to PING means that the connection is refused; any other shows that it works. */
function refusal(error: unknown): void {
  if (!isErrorReply(error) || /^(NOAUTH|DENIED|ERR max)/.test(error.message)) throw error;
}

function connectError(error: unknown, place: string, database: number): StoreError {
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
function explained(error: StoreError, place: string): StoreError {
  const { kind, code, repeat, message } = error;
  const why = isOfCluster(error)
    ? `Redis at ${place} is a node of a cluster, which this driver does not serve yet: ` +
      "give the address of a single server"
    : NEEDED.test(message) && `the cache needs this command; ${SENTINEL}`;
  return why ? new StoreError(kind, `${message}: ${why}`, { code, repeat }) : error;
}

/** The error of a server that does not let a connection hear of changes. */
function untoldError(error: Error, place: string): StoreError {
  const { kind, code, repeat, message } = errorReply(withoutArguments(error.message));
  const needs = kind === "auth" ? `; the user needs +client, +subscribe and the channel &${INVALIDATIONS}` : "";
  const text = `Redis at ${place} does not tell of changes, so that near caches keep nothing: ${message}${needs}`;
  return new StoreError(kind, text, { code: code || "ERR", repeat });
}

function closedError(): StoreError {
  return new StoreError("closed", "The Redis driver is closed");
}

/** Ends a connection at once; what it still held fails. */
function disconnect(client: OwnClient): void {
  // Version 4 rejects, 5 and 6 throw, when it is closed already.
  try {
    client.disconnect().catch(ignore);
  } catch {}
}

function unref(timer: unknown): void {
  (timer as { unref?(): void }).unref?.();
}

function ignore(): void {}
