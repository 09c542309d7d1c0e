/** The connection that the server tells of changes on. */

import { INVALIDATION_CHANNEL, REDICT_CHANNELS } from "../../src/base/channels.ts";
import { unref } from "../../src/base/timers.ts";
import { errorReply, StoreError, type Tracker, type Tracking } from "../driver.ts";
import { closedError, isErrorReply } from "./errors.ts";
import { withoutArguments } from "./resp.ts";
import {
  dial,
  disconnect,
  LONGEST_PAUSE,
  type OwnClient,
  type RedisAddress,
  type ReplyText,
  SHORTEST_PAUSE,
} from "./target.ts";

/** How often the connection that tells of changes is asked whether it is alive, in milliseconds. */
const PINGS = 10_000;

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
export class TrackingConnection {
  readonly #target: RedisAddress;
  readonly #watchers = new Set<Watcher>();
  #attempt: AbortController | undefined;
  #client: OwnClient | undefined;
  /** What the server tells of on the connection. */
  #prefixes: readonly string[] = [];
  #failures = 0;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #pings: ReturnType<typeof setInterval> | undefined;
  #closed = false;

  constructor(target: RedisAddress) {
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
            const channels = (await isRedict(client)) ? REDICT_CHANNELS : INVALIDATION_CHANNEL;
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

  #tell(bytes: readonly ReplyText[] | null): void {
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

/** The error of a server that does not let a connection hear of changes. */
function untoldError(error: Error, place: string): StoreError {
  const { kind, code, repeat, message } = errorReply(withoutArguments(error.message));
  const needs = kind === "auth" ? `; the user needs +client, +subscribe and the channel &${INVALIDATION_CHANNEL}` : "";
  const text = `Redis at ${place} does not tell of changes, so that near caches keep nothing: ${message}${needs}`;
  return new StoreError(kind, text, { code: code || "ERR", repeat });
}
