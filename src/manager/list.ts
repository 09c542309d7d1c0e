import { type RawCommand, type RawReply, StoreError } from "../../drivers/driver.ts";
import { describe } from "../base/check.ts";
import {
  asText,
  checkPattern,
  displayText,
  type ManagedConnection,
  openManagedConnection,
  word,
} from "./connection.ts";
import type { Bulk, ManagedClient, StepOptions, Target } from "./target.ts";

/** How many keys a step looks at. */
const PAGE = 500;

/** Options of {@linkcode list}. */
export type ListOptions = Target &
  StepOptions & {
    /** A glob over the keys below the prefix. @default "*" */
    readonly pattern?: string | undefined;
    /** The most keys. @default all */
    readonly limit?: number | undefined;
    /**
     * By what they are sorted: names from A on, sizes from the largest on, TTLs from the shortest on. Sorting holds `limit` keys in memory.
     * @default the store's own order
     */
    readonly sort?: "key" | "size" | "ttl" | undefined;
  };

/** A key and what the store says of it. */
export interface KeyEntry {
  /** The key, below the prefix; what is not UTF-8 in it is replaced by U+FFFD. */
  readonly key: string;
  /** The key where it is not UTF-8. */
  readonly bytes?: Uint8Array;
  /** Whether the connection cannot say what the key is: over REST, where it is not UTF-8. Then nothing else is known. */
  readonly unreadable?: true;
  /** `"string"`, `"hash"`, `"list"`, `"set"`, `"zset"`, `"stream"`, or what a module calls its own. */
  readonly type: string;
  /** Milliseconds to live; `null` without expiry. */
  readonly ttl: number | null;
  /** Bytes of memory; where the store cannot tell, of the value; `null` where it cannot tell either. */
  readonly size: number | null;
}

/**
 * Lists the keys of a service or a database.
 *
 * @param client The client.
 * @param options Whose keys, which, and in what order.
 * @returns The keys. Those that are gone before they were looked at are left out.
 * @throws {TypeError | RangeError} For a service or database that there is none of, an empty pattern, or a bad limit or order.
 * @throws {StoreError} When the store goes away.
 */
export async function* list(client: ManagedClient, options: ListOptions): AsyncGenerator<KeyEntry, void, void> {
  const { limit = Number.POSITIVE_INFINITY, sort } = options;
  const pattern = checkPattern(options.pattern ?? "*");
  if (!(limit === Number.POSITIVE_INFINITY || (Number.isSafeInteger(limit) && limit > 0))) {
    throw new RangeError(`cannot use limit ${describe(limit)}: accepted are whole numbers from 1 on`);
  }
  const order = sort === undefined ? undefined : Object.hasOwn(ORDERS, sort) && ORDERS[sort];
  if (order === false) throw new TypeError(`cannot sort by ${describe(sort)}: accepted are key, size and ttl`);
  const connection = await openManagedConnection(client, options);
  const look = looker(connection);
  // A scan may give a key twice; what is bounded anyway can tell.
  const seen = order || limit < Number.POSITIVE_INFINITY ? new Set<string>() : undefined;
  let kept: KeyEntry[] = [];
  try {
    let yielded = 0;
    for await (const page of connection.scan(pattern, PAGE)) {
      for (const entry of await look(page.filter((key) => !connection.isOwn(key)))) {
        const id = entry.bytes ? `${entry.bytes}` : `=${entry.key}`;
        if (seen?.has(id)) continue;
        if (order) {
          seen?.add(id);
          kept.push(entry);
        } else {
          if (yielded === limit) return;
          seen?.add(id);
          yield entry;
          yielded++;
        }
      }
      if (order && kept.length >= 2 * limit + PAGE) kept = kept.sort(order).slice(0, limit);
    }
    if (order) yield* kept.sort(order).slice(0, limit);
  } finally {
    await connection.close();
  }
}

/** `null` comes last. */
const number = (a: number | null, b: number | null): number =>
  (a ?? Number.POSITIVE_INFINITY) === (b ?? Number.POSITIVE_INFINITY)
    ? 0
    : (a ?? Number.POSITIVE_INFINITY) - (b ?? Number.POSITIVE_INFINITY);
const negative = (size: number | null): number | null => (size === null ? null : -size);

const ORDERS: Readonly<Record<string, (a: KeyEntry, b: KeyEntry) => number>> = {
  key: (a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0),
  size: (a, b) => number(negative(a.size), negative(b.size)),
  ttl: (a, b) => number(a.ttl, b.ttl),
};

/**
 * Answers a function that looks at keys.
 *
 * @param connection The connection.
 * @returns Takes physical keys, and answers what is known of those that are there.
 */
export function looker(connection: ManagedConnection): (keys: readonly Bulk[]) => Promise<KeyEntry[]> {
  // Stores without MEMORY say so once.
  let size = (key: Bulk): RawCommand => ["MEMORY", "USAGE", key];
  return async (keys) => {
    const known = keys.filter((key) => connection.exact || !connection.doubtful(key));
    const ask = (): Promise<RawReply[]> =>
      connection.send(known.flatMap((key) => [["TYPE", key], ["PTTL", key], size(key)] as RawCommand[]));
    let replies = await ask();
    const refused = known.findIndex((_, i) => replies[3 * i + 2] instanceof StoreError) >= 0;
    if (refused && size("")[0] === "MEMORY") {
      size = (key) => ["STRLEN", key];
      replies = await ask();
    }
    const entries: KeyEntry[] = [];
    known.forEach((physical, i) => {
      const [kind, left, bytes] = replies.slice(3 * i, 3 * i + 3);
      if (kind instanceof StoreError) throw kind;
      if (left instanceof StoreError) throw left;
      const type = word(kind);
      if (type === "none") return;
      const key = connection.logical(physical);
      const text = asText(key);
      entries.push({
        key: text ?? displayText(key),
        ...(text === undefined && { bytes: Uint8Array.from(key as Uint8Array) }),
        type,
        ttl: typeof left === "number" && left >= 0 ? left : null,
        size: typeof bytes === "number" ? bytes : null,
      });
    });
    for (const key of known.length < keys.length ? keys : []) {
      if (!connection.doubtful(key)) continue;
      entries.push({
        key: displayText(connection.logical(key)),
        unreadable: true,
        type: "unknown",
        ttl: null,
        size: null,
      });
    }
    return entries;
  };
}
