import { INVALIDATION_CHANNEL, REDICT_CHANNELS } from "../../src/base/channels.ts";
import { unref } from "../../src/base/timers.ts";
import { errorReply, StoreError, type Tracker, type Tracking } from "../driver.ts";
import { closedError, isErrorReply } from "./errors.ts";
import { disconnect, type OwnClient, type ReplyText } from "./own_client.ts";
import { dial, LONGEST_PAUSE, type RedisAddress, SHORTEST_PAUSE } from "./redis_address.ts";
import { withoutArguments } from "./resp.ts";

/** The interval in milliseconds between PINGs on the connection for invalidation messages. */
const PINGS = 10_000;

/** A subscriber to key changes: its key prefix, and whether tracking is active. */
interface Watcher {
  readonly prefix: string;
  readonly tracker: Tracker;
  up: boolean;
}

/**
 * The one connection of a driver for invalidation messages. They do not name the database of a key, so one connection
 * serves all databases. It redirects the messages to itself, where they arrive as those of a channel, because RESP2 has
 * no other way. A subscriber can send no further commands, so a prefix that is not covered needs a new connection.
 */
export class TrackingConnection {
  readonly #address: RedisAddress;
  readonly #watchers = new Set<Watcher>();
  #attempt: AbortController | undefined;
  #client: OwnClient | undefined;
  /** The key prefixes that the connection covers. */
  #prefixes: readonly string[] = [];
  #failures = 0;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #pings: ReturnType<typeof setInterval> | undefined;
  #closed = false;

  constructor(address: RedisAddress) {
    this.#address = address;
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

  /** Replaces the open connection. */
  leave(): void {
    this.#lose(this.#client);
  }

  /** Activates the trackers that the connection covers. Opens another connection if some are left. */
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
        this.#address,
        0,
        attempt,
        () => this.#lose(client),
        async (client) => {
          prefixes = shortest([...this.#watchers].map(({ prefix }) => prefix));
          let redict = false;
          try {
            const id = await client.sendCommand(["CLIENT", "ID"]);
            const names = prefixes.flatMap((prefix) => ["PREFIX", prefix]);
            await client.sendCommand(["CLIENT", "TRACKING", "ON", "REDIRECT", `${id}`, "BCAST", ...names]);
            redict = await isRedict(client);
            const channels = redict ? REDICT_CHANNELS : INVALIDATION_CHANNEL;
            // As bytes, because node-redis would join all keys to one text on channels that it does not know.
            await client.subscribe(channels, (keys) => this.#notify(keys), true);
          } catch (error) {
            refused = isErrorReply(error) ? trackingError(error, this.#address.endpoint, redict) : undefined;
            throw refused ?? error;
          }
        },
      );
    } catch (error) {
      // A server that refuses now is likely to refuse for long.
      pause = (error as StoreError).code ? LONGEST_PAUSE : this.#nextPause();
    }
    // The attempt was abandoned in between.
    if (this.#attempt !== attempt) {
      if (client) disconnect(client);
      return;
    }
    this.#attempt = undefined;
    // A server that loads its data refuses everything, so its refusal is not reported.
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

  #notify(bytes: readonly ReplyText[] | null): void {
    const keys = bytes?.map(String);
    for (const { up, prefix, tracker } of this.#watchers) {
      if (!up) continue;
      const own = keys?.filter((key) => key.startsWith(prefix));
      if (own?.length !== 0) tracker.invalidate(own ?? null);
    }
  }

  /** Sends PINGs, because a dead connection looks like one without messages. */
  #keepAlive(client: OwnClient): void {
    const { pingInterval, connectTimeout } = this.#address;
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

  /** Ends the connection, or the attempt to open one. */
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

/** Returns whether the server calls itself Redict. A server that refuses to answer is not Redict. */
async function isRedict(client: OwnClient): Promise<boolean> {
  try {
    return String(await client.sendCommand(["HELLO"])).includes("server,redict");
  } catch (error) {
    if (isErrorReply(error)) return false;
    throw error;
  }
}

/** Leaves out the prefixes that start with another one, because the server refuses both on one connection. */
function shortest(prefixes: readonly string[]): readonly string[] {
  const shorter = (prefix: string, other: string) => prefix !== other && prefix.startsWith(other);
  return [...new Set(prefixes)].filter((prefix, _, all) => !all.some((other) => shorter(prefix, other)));
}

/** Makes the error of a server that refuses tracking. Names the channel, which Redict calls otherwise. */
function trackingError(error: Error, endpoint: string, redict: boolean): StoreError {
  const { kind, code, repeat, message } = errorReply(withoutArguments(error.message));
  const channel = redict ? `${REDICT_CHANNELS[1]}*` : INVALIDATION_CHANNEL;
  const needs = kind === "auth" ? `; the user needs +client, +subscribe and the channel &${channel}` : "";
  const text = `Redis at ${endpoint} does not report changes, so near caches keep nothing: ${message}${needs}`;
  return new StoreError(kind, text, { code: code || "ERR", repeat });
}
