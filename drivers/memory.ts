/**
 * The embedded store: a small honest Redis in this process, for the commands that the library uses. No server, no timers.
 *
 * - Replies, error texts and expiry are those of Redis 7; values are text.
 * - Commands of one send run without a pause in between; sends run in the order in which they were issued.
 * - An expired entry is never seen. Its memory is given back when it is asked for, or when the hand that each write moves
 *   on by a few entries comes to it.
 * - Lives are measured by the time that went by, not by a clock that is set. Where an injected clock is set back by
 *   more than a second nobody knows how much did: texts and windows that expire are over then, whatever is left of
 *   them; other hashes, by which sliding limits and buckets count, have lost no time.
 * - Bounded by entries and by bytes over all databases: past a bound, the entry that was used least recently goes.
 * - SCAN walks from the newest entry to the oldest by birth number, and the cursor is the birth number that it has come to.
 *   So a scan ends however many keys come in, an entry that is there all along is seen exactly once, a page can be asked
 *   for again, and a scan that is given up leaves nothing behind.
 *
 * @module
 */

import { checkOptions, FUNCTION, type Rules, whole } from "../src/base/check.ts";
import { twins } from "../src/lua/twins.ts";
import {
  type Command,
  type Driver,
  errorReply,
  type Reply,
  StoreError,
  type Tracker,
  type TwinnedScript,
} from "./driver.ts";
import { enqueue, run } from "./memory/commands.ts";
import { MemoryStore } from "./memory/store.ts";
import { StoreClock } from "./memory/store_clock.ts";

/** Options of {@linkcode memory}. */
export interface MemoryOptions {
  /**
   * The time in milliseconds since 1970. What it goes forward is time that went by; when it is set back by more than a
   * second, what has a TTL is over. @default Date.now, with a monotonic clock beside it: set back, it changes no TTL; a
   * time that the machine slept has gone by
   */
  readonly clock?: () => number;
  /** The most entries, all databases together. @default 100_000 */
  readonly maxEntries?: number;
  /** The most bytes, all databases together: keys and values in UTF-8, and 128 an entry, 64 a hash field. @default 64 MiB */
  readonly maxBytes?: number;
  /** Scripts of the application that EVAL runs, next to those of the library: the store has no Lua. @default [] */
  readonly scripts?: readonly TwinnedScript[];
}

/** Answers commands: a command's own error is its reply. */
function answering(run: (command: Command) => Reply): (command: Command) => Reply {
  return (command) => {
    try {
      return run(command);
    } catch (error) {
      if (error instanceof StoreError) return error;
      throw error;
    }
  };
}

const RULES: Rules = {
  clock: FUNCTION,
  maxEntries: whole(1),
  maxBytes: whole(1),
  scripts: ["a list of scripts with a twin", Array.isArray],
};

/**
 * Makes an embedded store: 16 databases in this process, bounded by entries and bytes. Nothing is shared between two stores.
 *
 * @param options Clock and bounds.
 * @returns The driver.
 * @throws {TypeError} For an option that is unknown or of another form.
 * @throws {RangeError} For a number out of range.
 *
 * @example
 * ```ts
 * import { memory } from "@foodfast/larder/drivers/memory";
 *
 * const driver = memory({ maxEntries: 10_000 });
 * console.log(await driver.send(0, [["SET", "pho", "bo", "PX", 5000], ["GET", "pho"]])); // ["OK", "bo"]
 * await driver.close();
 * ```
 */
export function memory(options: MemoryOptions = {}): Driver {
  checkOptions(options, RULES, "memory");
  const { clock, maxEntries = 100_000, maxBytes = 64 * 2 ** 20, scripts = [] } = options;
  const store = new MemoryStore(maxEntries, maxBytes, new StoreClock(clock), [...twins, ...scripts]);
  const trackers = new Map<object, { readonly prefix: string; readonly tracker: Tracker }>();
  let closed = false;

  const answer = answering((command) => run(store, command));
  const queue = answering((command) => enqueue(store, command));
  /** The replies to MULTI, the commands and EXEC; where one of them cannot run, none does. */
  const transaction = (commands: readonly Command[]): Reply[] => {
    const queued = commands.map(queue);
    const aborted = queued.some((reply) => reply instanceof StoreError);
    const done = aborted
      ? errorReply("EXECABORT Transaction discarded because of previous errors.")
      : commands.map(answer);
    return ["OK", ...queued, done];
  };

  return {
    name: "memory",
    capabilities: { numbered: true, scripts: true, ordered: true, transactions: "atomic" },
    async send(database, commands) {
      if (closed) throw new StoreError("closed", "The memory store was closed");
      const current = store.databases[database];
      if (!current) throw errorReply("ERR DB index is out of range");
      store.current = current;
      store.changed = trackers.size ? [] : undefined;
      store.look();
      const multi = commands[0]?.[0] === "MULTI" && commands.at(-1)?.[0] === "EXEC";
      const replies = multi ? transaction(commands.slice(1, -1)) : commands.map(answer);
      const { changed } = store;
      if (changed === undefined) return replies;
      // After all commands, for who is told may send some.
      for (const { prefix, tracker } of trackers.values()) {
        const keys = changed && [...new Set(changed)].filter((key) => key.startsWith(prefix));
        if (keys === null || keys.length) tracker.invalidate(keys);
      }
      return replies;
    },
    track(_database, prefix, tracker) {
      const tracking = {
        async close() {
          trackers.delete(tracking);
        },
      };
      if (closed) return tracking;
      trackers.set(tracking, { prefix, tracker });
      tracker.up();
      return tracking;
    },
    async close() {
      closed = true;
      store.reset();
      for (const { tracker } of trackers.values()) tracker.down();
      trackers.clear();
    },
  };
}
