/**
 * A connection to a server at an address, which carries the commands of all databases.
 *
 * **One write.** What the databases of a process send in one tick leaves in one write. The tick ends as that of a batch
 * does: when nothing came for a turn of the microtask queue.
 *
 * **Databases.** A part, the commands of one send, goes behind the SELECT of its database, which is left out if the
 * connection stands there already. Its commands must never run in another database. So the first SELECT of a database
 * leaves without commands, and all parts wait for its reply. If it is refused, the connection stays in its database,
 * and the parts fail. A database that was selected once is selected along with its commands. If such a SELECT is
 * refused after all, the connection is dropped at once.
 */
import { type Command, isDenial, type Reply, StoreError } from "../driver.ts";
import { NodeRedisSocket } from "./client.ts";
import { type ConnectionHooks, SharedConnection } from "./connection.ts";
import { ignore, selectError } from "./errors.ts";
import type { Credentials } from "./own_client.ts";
import { encodeCommand, ReplyReader } from "./resp.ts";
import { lostError, REFUSED } from "./resp_connection.ts";

/**
 * The length of text that leaves before the tick ends. Smaller writes cost Bun more, and larger ones Node: from 64 KiB
 * on, which is 32,768 characters if one of them takes two bytes, V8 keeps a text among its large objects.
 */
const PIECE = 32_768;
/** The number of turns of the microtask queue after which a tick ends, even if commands keep coming. */
const MAX_TURNS = 100;
/** The milliseconds for which a refused database is not asked for again. */
const REFUSAL = 1000;
/** Its reactions run in the microtask queue. */
const RESOLVED = Promise.resolve();

/** The commands of one send, until all replies have come. */
interface Part {
  readonly database: number | undefined;
  readonly commands: readonly Command[];
  readonly replies: Reply[];
  readonly resolve: (replies: Reply[]) => void;
  readonly reject: (error: StoreError) => void;
  /** True while the reply to its SELECT has not come. */
  selecting: boolean;
  /** True for commands of the connection itself, whose errors are left as they are. */
  readonly own?: boolean;
}

/** A connection over a socket of node-redis. */
export class SocketConnection extends SharedConnection {
  readonly #socket: NodeRedisSocket;
  /** The parts that wait for replies, the oldest first. */
  readonly #parts: Part[] = [];
  /** The parts that wait until their database was selected for the first time. */
  #held: Part[] = [];
  /** True while those SELECTs are on their way. */
  #asking = false;
  /** The database after all that was sent. */
  #standing = 0;
  /** The databases that were selected once. */
  readonly #usable = new Set<number>();
  /** The databases that were refused, and until when they count as refused. */
  readonly #refusals = new Map<number, { readonly error: StoreError; readonly until: number }>();
  /** The text that was not written yet. */
  #text = "";
  /** True while a turn of the microtask queue is awaited. */
  #scheduled = false;
  #quiet = false;
  #turns = 0;
  #login: () => Promise<void> = async () => {};

  /** @param socket The options of the socket; it writes into them. */
  constructor(endpoint: string, socket: object, hooks: ConnectionHooks) {
    super(endpoint, hooks);
    const reader = new ReplyReader((reply) => this.#take(reply as Reply), true);
    this.#socket = new NodeRedisSocket(() => this.#login(), socket);
    this.#socket.on("error", (error) => this.lose(lostError(endpoint, error)));
    this.#socket.on("data", (chunk: Uint8Array) => {
      if (this.gone) return;
      try {
        reader.read(chunk);
        this.heard();
      } catch (error) {
        this.lose(lostError(endpoint, new Error((error as Error).message)));
      }
    });
    this.#socket.unref();
  }

  /**
   * Connects, logs in, and selects the database that is needed first.
   *
   * @param onRole Receives the reply to ROLE, if it is to be asked for.
   * @throws {Error} With the words of the socket or of the server.
   */
  async open(login: Credentials, database: number, onRole?: (role: unknown) => void): Promise<void> {
    this.#login = async () => {
      const { username, password } = login;
      // Any reply to PING will do. Without one, some proxies accept for servers that are gone, and a full server stays
      // unnoticed.
      const commands: Command[] = [["PING"]];
      if (onRole) commands.unshift(["ROLE"]);
      if (database !== 0) commands.unshift(["SELECT", database]);
      if (username || password) commands.unshift(["AUTH", ...(username ? [username] : []), password ?? ""]);
      const replies = await this.#ask(commands);
      for (const [index, reply] of replies.entries()) {
        const name = commands[index]?.[0];
        const error = reply instanceof StoreError ? reply : undefined;
        if (error?.kind === "connection") throw error;
        if (error && (name === "AUTH" || REFUSED.test(error.message))) throw new Error(error.message);
        // If it is refused, the first part asks again, and gets the error.
        if (name === "SELECT" && !error) this.#enter(database);
        if (name === "ROLE") onRole?.(reply);
      }
    };
    try {
      await this.#socket.connect();
    } catch (error) {
      // If the connection was lost, the socket throws an error of its own clean-up.
      throw this.gone?.cause ?? error;
    }
  }

  override send(
    database: number | undefined,
    commands: readonly Command[],
    timeout: number | undefined,
    now: number,
  ): Promise<Reply[]> {
    if (this.gone) return Promise.reject(this.gone);
    // A part without commands would take the replies of the next one.
    if (commands.length === 0) return Promise.resolve([]);
    this.begin(commands.length, timeout, now);
    return new Promise((resolve, reject) => {
      this.#place({ database, commands, replies: [], resolve, reject, selecting: false }, now);
    });
  }

  protected override end(): void {
    try {
      this.#socket.disconnect();
    } catch {
      // It is closed already.
    }
    this.#text = "";
    const error = this.gone as StoreError;
    for (const { commands, replies, resolve, reject } of [...this.#parts.splice(0), ...this.#held.splice(0)]) {
      if (replies.length === 0) reject(error);
      else resolve([...replies, ...commands.slice(replies.length).map(() => error)]);
    }
  }

  /** Sends commands of the connection itself, for which it waits as long as for others. */
  #ask(commands: readonly Command[]): Promise<Reply[]> {
    if (this.gone) return Promise.reject(this.gone);
    this.begin(commands.length, this.pending === 0 ? undefined : 0, performance.now());
    return new Promise((resolve, reject) => {
      this.#write({ database: undefined, commands, replies: [], resolve, reject, selecting: false, own: true });
    });
  }

  /** Writes a part, or lets it wait for its database. */
  #place(part: Part, now: number): void {
    const { database, commands, reject } = part;
    if (database === undefined || (!this.#asking && (database === this.#standing || this.#usable.has(database)))) {
      this.#write(part);
      return;
    }
    const refusal = this.#refusals.get(database);
    if (refusal && now <= refusal.until) {
      this.answered(commands.length);
      reject(refusal.error);
      return;
    }
    this.#held.push(part);
    this.#schedule();
  }

  #write(part: Part): void {
    const { database, commands } = part;
    this.#parts.push(part);
    try {
      if (database !== undefined && database !== this.#standing) {
        part.selecting = true;
        this.#standing = database;
        this.#text += encodeCommand(["SELECT", database]);
      }
      for (const command of commands) {
        this.#text += encodeCommand(command);
        if (this.#text.length >= PIECE) this.#flush();
      }
    } catch (error) {
      // The server may have got a part of the part.
      this.lose(lostError(this.endpoint, error));
    }
    if (this.#text !== "") this.#schedule();
  }

  #schedule(): void {
    this.#quiet = false;
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#turns = 0;
    RESOLVED.then(this.#turn);
  }

  /** Ends the tick if nothing came since the last turn. A property, because it is called as a reaction. */
  readonly #turn = (): void => {
    if (!this.#quiet && this.#turns++ < MAX_TURNS) {
      this.#quiet = true;
      RESOLVED.then(this.#turn);
      return;
    }
    this.#scheduled = false;
    if (this.gone) return;
    if (this.#held.length > 0 && !this.#asking) this.#askForDatabases();
    this.#flush();
  };

  #flush(): void {
    const text = this.#text;
    if (text === "") return;
    this.#text = "";
    try {
      this.#socket.writeCommand([text]);
    } catch (error) {
      this.lose(lostError(this.endpoint, error));
    }
  }

  /** Selects the databases of the held parts, which wait for the replies. */
  #askForDatabases(): void {
    this.#asking = true;
    const wanted = new Set(this.#held.map(({ database }) => database as number));
    // The one that it leaves is soon needed again, and was never selected if it is that of the login.
    if (!this.#usable.has(this.#standing)) wanted.add(this.#standing);
    const databases = [...wanted].reverse();
    this.#ask(databases.map((database) => ["SELECT", database])).then((replies) => {
      if (this.gone) return;
      this.#asking = false;
      const now = performance.now();
      for (const [index, reply] of replies.entries()) {
        const database = databases[index] as number;
        if (reply instanceof StoreError) this.#refuse(database, reply, now);
        else this.#enter(database);
      }
      for (const part of this.#held.splice(0)) this.#place(part, now);
    }, ignore);
  }

  /** Notes that the connection stands in a database, and may be sent there again. */
  #enter(database: number): void {
    this.#usable.add(database);
    this.#standing = database;
  }

  /** Notes that a database was refused: its held parts fail and, unless the error passes, for a while later ones. */
  #refuse(database: number, reply: StoreError, now: number): void {
    if (isDenial(reply)) this.hooks.denied(reply);
    const passing = reply.repeat === "all";
    const error = passing ? reply : selectError(reply, this.endpoint, database);
    this.#refusals.set(database, { error, until: passing ? now : now + REFUSAL });
  }

  #take(reply: Reply): void {
    if (this.gone) return;
    if (this.hooks.message && Array.isArray(reply) && reply[0] === "message") {
      this.hooks.message(reply);
      return;
    }
    const part = this.#parts[0];
    const error = reply instanceof StoreError ? reply : undefined;
    // A full server refuses a connection before it has read anything.
    if (!part) throw error ?? new StoreError("protocol", "it sent a reply without a command");
    if (part.selecting) {
      if (error) this.#dropAt(part, error);
      else part.selecting = false;
      return;
    }
    part.replies.push(error && !part.own ? this.refused(error) : reply);
    if (part.replies.length < part.commands.length) return;
    this.#parts.shift();
    this.answered(part.commands.length);
    part.resolve(part.replies);
  }

  /** Drops the connection: the commands of a part ran in another database, because the SELECT before them failed. */
  #dropAt(part: Part, error: StoreError): void {
    if (error.repeat !== "all") {
      this.#parts.shift();
      part.reject(selectError(error, this.endpoint, part.database as number));
    }
    this.lose(lostError(this.endpoint, new Error("the server refused a database that it had allowed before")));
  }
}
