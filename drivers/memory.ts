/**
 * The embedded store: a small Redis in this process, with the commands that the library uses. It has no server and no
 * timers.
 *
 * - Replies, error texts and expiry are those of Redis 7. Values are text.
 * - The commands of one send run without a pause in between. Sends run in the order in which they were issued.
 * - An expired entry is never seen. Its memory is freed when the entry is asked for, or when one of the writes finds
 *   it: each write looks at the next few entries.
 * - TTLs are measured by elapsed time, so setting the system clock changes none. If an injected clock is set back by
 *   more than a second, the elapsed time is unknown: texts and windows that expire end at once. Other hashes, which
 *   count for sliding limits and token buckets, go on as if no time had passed.
 * - Entries and bytes of all databases are bounded. Beyond a bound, the least recently used entry is evicted.
 * - SCAN walks from the newest entry to the oldest. Entries are numbered at their birth, and the cursor is the number
 *   of the last entry seen. So a scan ends however many keys are added, returns each lasting entry exactly once, can
 *   repeat a page, and leaves nothing behind when it is abandoned.
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
   * Returns the time in milliseconds since 1970. A step forward is elapsed time. After a step back by more than a
   * second, everything with a TTL has expired.
   * @default Date.now with a monotonic clock: setting it back changes no TTL, and the sleep of the machine has elapsed
   */
  readonly clock?: () => number;
  /** The most entries, all databases together. @default 100_000 */
  readonly maxEntries?: number;
  /**
   * The most bytes, all databases together: keys and values in UTF-8, 128 for each entry and 64 for each hash field.
   * @default 64 MiB
   */
  readonly maxBytes?: number;
  /** Scripts of the application that EVAL runs, next to those of the library: the store has no Lua. @default [] */
  readonly scripts?: readonly TwinnedScript[];
}

/** Makes a function that returns the error of a failing command as its reply. */
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
 * Makes an embedded store: 16 databases in this process, bounded by entries and bytes. Two stores share nothing.
 *
 * @param options The clock, the bounds and scripts.
 * @returns The driver.
 * @throws {TypeError} For an unknown option, or a value of another type.
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
  /** Returns the replies to MULTI, the commands and EXEC. If one of the commands cannot run, none does. */
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
      store.readClock();
      const multi = commands[0]?.[0] === "MULTI" && commands.at(-1)?.[0] === "EXEC";
      const replies = multi ? transaction(commands.slice(1, -1)) : commands.map(answer);
      const { changed } = store;
      if (changed === undefined) return replies;
      // Notifies after all commands have run, because a tracker may send commands itself.
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
