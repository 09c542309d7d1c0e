import type { RawCommand, RawReply } from "../../drivers/driver.ts";
import { checkWhole, invalid } from "../base/check.ts";
import { checkPattern } from "../entry/keyspace.ts";
import { asText, displayText, type ManagedConnection, openManagedConnection, word } from "./connection.ts";
import { type Bulk, checkStepNames, type ManagedClient, type StepOptions, type Target } from "./target.ts";

/** The number of keys that one step reads. */
const PAGE = 500;

/** Options of {@linkcode list}. */
export type ListOptions = Target &
  StepOptions & {
    /** A glob over the keys, without the prefix. @default "*" */
    readonly pattern?: string | undefined;
    /** The maximum number of keys that are returned. @default all */
    readonly limit?: number | undefined;
    /**
     * The order: by name, by size from the largest, or by TTL from the shortest. Sorting keeps `limit` keys in memory.
     * @default the store's own order
     */
    readonly sort?: "key" | "size" | "ttl" | undefined;
  };

/** A key with its type, TTL and size. */
export interface KeyEntry {
  /** The key, without the prefix. Bytes that are not UTF-8 are replaced by U+FFFD. */
  readonly key: string;
  /** The bytes of a key that is not UTF-8. */
  readonly bytes?: Uint8Array;
  /** Set if the driver cannot read the key: over REST, if it is not UTF-8. Nothing else of it is known then. */
  readonly unreadable?: true;
  /** `"string"`, `"hash"`, `"list"`, `"set"`, `"zset"`, `"stream"`, or the type of a module. */
  readonly type: string;
  /** Milliseconds to live; `null` without an expiry. */
  readonly ttl: number | null;
  /** Bytes of memory, or of the value if the store does not report memory; `null` if it reports neither. */
  readonly size: number | null;
}

/**
 * Lists the keys of a service or a database.
 *
 * @param client The client.
 * @param options The service or database, the glob, the order and the limit.
 * @returns The keys. Keys that expire while they are listed are left out.
 * @throws {TypeError | RangeError} For a service or database that does not exist, an empty pattern, or a bad limit or
 * order.
 * @throws {StoreError} When the store does not answer.
 */
export async function* list(client: ManagedClient, options: ListOptions): AsyncGenerator<KeyEntry, void, void> {
  checkStepNames(options, ["pattern", "limit", "sort"], "list");
  const { limit = Number.POSITIVE_INFINITY, sort } = options;
  const pattern = checkPattern(options.pattern ?? "*");
  if (limit !== Number.POSITIVE_INFINITY) checkWhole(limit, "limit", 1);
  const order = sort === undefined ? undefined : Object.hasOwn(ORDERS, sort) && ORDERS[sort];
  if (order === false) throw invalid("sort keys", sort, "key, size or ttl", TypeError);
  const connection = await openManagedConnection(client, options);
  const readEntries = entryReader(connection);
  // A scan may return a key twice. Duplicates are dropped if the number of keys in memory is limited anyway.
  const seen = order || limit < Number.POSITIVE_INFINITY ? new Set<string>() : undefined;
  let kept: KeyEntry[] = [];
  try {
    let yielded = 0;
    for await (const page of connection.scan(pattern, PAGE)) {
      for (const entry of await readEntries(page.filter((key) => connection.isEntry(key)))) {
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

/** Compares numbers; `null` comes last. */
const compare = (a: number | null, b: number | null): number =>
  (a ?? Number.POSITIVE_INFINITY) === (b ?? Number.POSITIVE_INFINITY)
    ? 0
    : (a ?? Number.POSITIVE_INFINITY) - (b ?? Number.POSITIVE_INFINITY);
const negative = (size: number | null): number | null => (size === null ? null : -size);

const ORDERS: Readonly<Record<string, (a: KeyEntry, b: KeyEntry) => number>> = {
  key: (a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0),
  size: (a, b) => compare(negative(a.size), negative(b.size)),
  ttl: (a, b) => compare(a.ttl, b.ttl),
};

/**
 * Makes a function that reads the type, TTL and size of keys.
 *
 * @param connection The connection.
 * @returns The function. It takes physical keys, and returns an entry for each that exists.
 */
export function entryReader(connection: ManagedConnection): (keys: readonly Bulk[]) => Promise<KeyEntry[]> {
  // If the store refuses MEMORY, later steps do not send it again.
  let size = (key: Bulk): RawCommand => ["MEMORY", "USAGE", key];
  return async (keys) => {
    const known = keys.filter((key) => connection.exact || !connection.doubtful(key));
    const ask = (): Promise<RawReply[]> =>
      connection.send(known.flatMap((key) => [["TYPE", key], ["PTTL", key], size(key)] as RawCommand[]));
    let replies = await ask();
    const refused = known.findIndex((_, i) => replies[3 * i + 2] instanceof Error) >= 0;
    if (refused && size("")[0] === "MEMORY") {
      size = (key) => ["STRLEN", key];
      replies = await ask();
    }
    const entries: KeyEntry[] = [];
    known.forEach((physical, i) => {
      const [kind, left, bytes] = replies.slice(3 * i, 3 * i + 3);
      if (kind instanceof Error) throw kind;
      if (left instanceof Error) throw left;
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
