/**
 * The store as the manager speaks to it: over a connection of its own, where keys and values are bytes as they are; where the wire has none,
 * by text. Then what is not UTF-8 cannot be had: over REST it arrives with U+FFFD in it, and is taken for unreadable.
 */
import { type Command, type Connection, type RawCommand, type RawReply, StoreError } from "../../drivers/driver.ts";
import { escapeGlob } from "../../drivers/glob.ts";
import { describe } from "../base/check.ts";
import { isOwnKey, OWN } from "../base/own_keys.ts";
import { showsLife } from "../base/store_error.ts";
import { parseTimeout, type Timeout } from "../base/ttl.ts";
import type { Signal } from "../base/web_types.ts";
import type { Location, LocationOf } from "../client/types.ts";
import type { Bulk, ManagedClient, StepOptions } from "./target.ts";

const encoder = new TextEncoder();
// A byte order mark is a part of the text.
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

const OWN_BYTES = encoder.encode(OWN);

/** The longest text of one send over a wire with limits: none of its characters takes more than 6 bytes of JSON. */
const BYTES_A_CHARACTER = 6;

/** Text as it is; bytes as text where they are UTF-8, otherwise `undefined`. */
export function asText(bulk: Bulk): string | undefined {
  if (typeof bulk === "string") return bulk;
  try {
    return strict.decode(bulk);
  } catch {
    return undefined;
  }
}

/** Whether a logical key is one of the library's own. */
export function isOwnBulk(logical: Bulk): boolean {
  return typeof logical === "string" ? isOwnKey(logical) : OWN_BYTES.every((byte, i) => logical[i] === byte);
}

/** Text for people: what is not UTF-8 is replaced. */
export function displayText(bulk: Bulk): string {
  return typeof bulk === "string" ? bulk : lenient.decode(bulk);
}

/** The text of a reply that is words of the server, never a user's bytes. */
export function word(reply: RawReply | undefined): string {
  return reply instanceof Uint8Array ? lenient.decode(reply) : String(reply ?? "");
}

/** An argument as text. */
function plain(arg: string | number | Uint8Array): string | number {
  if (!(arg instanceof Uint8Array)) return arg;
  const text = asText(arg);
  if (text === undefined) throw new TypeError("cannot send bytes that are not UTF-8 over this wire");
  return text;
}

/** A location and a connection to it. */
export class ManagedConnection {
  readonly location: Location;
  /** Whether all that comes is what is stored: bytes, or the embedded store's text. */
  readonly exact: boolean;
  /** Whether it comes as bytes, and bytes can be sent. */
  readonly bytes: boolean;
  readonly #connection: Connection | undefined;
  readonly #prefix: Uint8Array;
  readonly #signal: Signal | undefined;
  /** Milliseconds that one step may take. */
  readonly timeout: number;

  constructor(location: Location, connection: Connection | undefined, signal: Signal | undefined, timeout: Timeout) {
    this.location = location;
    this.bytes = connection !== undefined;
    this.exact = connection !== undefined || location.driver.name === "memory";
    this.#connection = connection;
    this.#prefix = encoder.encode(location.prefix);
    this.#signal = signal;
    this.timeout = parseTimeout(timeout, "timeout");
  }

  /** What to call the location in messages. */
  get name(): string {
    return this.location.service ?? `database ${this.location.number}`;
  }

  /** Sends the commands in order, in as few round trips as the wire allows. The error of a command stands where its reply would. */
  async send(commands: readonly RawCommand[]): Promise<RawReply[]> {
    this.#signal?.throwIfAborted();
    if (commands.length === 0) return [];
    // A connection of one's own keeps the deadline itself.
    if (this.#connection) return this.#wait(this.#connection.send(commands, { timeout: this.timeout }));
    const { driver, database } = this.location;
    const { maxCommands = commands.length, maxBytes = Number.POSITIVE_INFINITY } = driver.capabilities;
    const replies: RawReply[] = [];
    for (let from = 0, to = 0; from < commands.length; from = to) {
      for (let room = maxBytes / BYTES_A_CHARACTER; to < commands.length && to - from < maxCommands; to++) {
        for (const arg of commands[to] as RawCommand) room -= String(arg).length + 4;
        if (room < 0 && to > from) break;
      }
      const part = commands.slice(from, to).map((command) => command.map(plain)) as unknown as Command[];
      replies.push(...(await this.#wait(driver.send(database, part, { timeout: this.timeout }), this.timeout)));
    }
    return replies;
  }

  /** Sends the commands. @throws {StoreError} The first error of one of them, too. */
  async must(commands: readonly RawCommand[]): Promise<RawReply[]> {
    const replies = await this.send(commands);
    for (const reply of replies) if (reply instanceof StoreError) throw reply;
    return replies;
  }

  /**
   * Waits for a sign of life. @throws {StoreError} For a server that does not answer, or refuses everything: not for a
   * user who may not ask.
   */
  async ping(): Promise<void> {
    const [reply] = await this.send([["PING"]]);
    if (reply instanceof StoreError && !showsLife(reply)) throw reply;
  }

  /** Waits for replies, but not after the signal, and not beyond a deadline where one is given. */
  #wait<T>(sent: Promise<T>, deadline?: number): Promise<T> {
    const signal = this.#signal;
    if (!signal && deadline === undefined) return sent;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
      };
      const late = (): void => {
        end();
        const { name } = this.location.driver;
        reject(new StoreError("timeout", `the store (${name}) did not answer within ${deadline} ms`));
      };
      const abort = (): void => {
        end();
        reject(signal?.reason);
      };
      const timer = deadline === undefined ? undefined : setTimeout(late, deadline);
      signal?.addEventListener("abort", abort);
      sent.finally(end).then(resolve, reject);
    });
  }

  /** The physical key of a logical one. */
  physical(logical: Bulk): Bulk {
    if (typeof logical === "string") return this.location.prefix + logical;
    const key = new Uint8Array(this.#prefix.length + logical.length);
    key.set(this.#prefix);
    key.set(logical, this.#prefix.length);
    return key;
  }

  /** The logical key of a physical one. */
  logical(physical: Bulk): Bulk {
    return typeof physical === "string"
      ? physical.slice(this.location.prefix.length)
      : physical.subarray(this.#prefix.length);
  }

  /** Whether a physical key is one of the library's own. */
  isOwn(physical: Bulk): boolean {
    return isOwnBulk(this.logical(physical));
  }

  /** Whether the wire can carry it. */
  carries(bulk: Bulk): boolean {
    return this.bytes || asText(bulk) !== undefined;
  }

  /** The physical key of one of the library's own. */
  own(name: string): string {
    return `${this.location.prefix}${OWN}${name}`;
  }

  /** Whether a text that came may be what bytes that are no UTF-8 were made into. */
  doubtful(text: Bulk): boolean {
    if (typeof text !== "string") return false;
    return this.exact ? !text.isWellFormed() : text.includes("\ufffd");
  }

  /** The command for a page of physical keys that match a logical glob. */
  scanCommand(cursor: string, pattern: string, count: number): RawCommand {
    return ["SCAN", cursor, "MATCH", escapeGlob(this.location.prefix) + pattern, "COUNT", count];
  }

  /**
   * Pages of physical keys that match a logical glob, the library's own included. Pages may be empty and keys may come twice. The next page is
   * asked for when one is handed out.
   */
  async *scan(pattern: string, count: number): AsyncGenerator<Bulk[], void, void> {
    const ask = (cursor: string): Promise<RawReply[]> => {
      const page = this.must([this.scanCommand(cursor, pattern, count)]);
      page.catch(() => {});
      return page;
    };
    let next: Promise<RawReply[]> | undefined = ask("0");
    while (next) {
      const [cursor, keys] = (await next)[0] as [RawReply, Bulk[]];
      next = word(cursor) === "0" ? undefined : ask(word(cursor));
      yield keys;
    }
  }

  /** Closes the connection. */
  async close(): Promise<void> {
    await this.#connection?.close();
  }
}

/** How long one step may take by default, in milliseconds. */
export const TIMEOUT_MS = 10_000;

/**
 * Opens a connection to a location.
 *
 * @param client The client.
 * @param options Whose location; how steps are taken.
 * @returns The connection, to be closed.
 */
export async function openManagedConnection(
  client: ManagedClient,
  options: LocationOf & StepOptions,
): Promise<ManagedConnection> {
  const { service, database, signal } = options;
  if (service === undefined && database === undefined) {
    throw new TypeError("cannot tell whose keys are meant: accepted are a service or a database");
  }
  if (service !== undefined && database !== undefined) {
    throw new TypeError("cannot take both a service and a database: accepted is one of them");
  }
  const timeout = parseTimeout(options.timeout ?? TIMEOUT_MS, "timeout");
  signal?.throwIfAborted();
  const location = await client.locate({ service, database });
  const connection = await location.driver.connect?.(location.database, { timeout });
  return new ManagedConnection(location, connection, signal, timeout);
}

/** A glob, checked. @throws {TypeError} For an empty one. */
export function checkPattern(pattern: unknown): string {
  if (typeof pattern === "string" && pattern !== "" && pattern.isWellFormed()) return pattern;
  throw new TypeError(
    `cannot use ${describe(pattern)} as a pattern: accepted is a glob that is not empty, such as "search:*"`,
  );
}
