/** The queries of the key browser. */
import { escapeGlob } from "../../drivers/glob.ts";
import { toBase64 } from "../base/base64.ts";
import { OWN } from "../base/own_keys.ts";
import { asText, openManagedConnection } from "../manager/connection.ts";
import { bytesOf, shownBytes, valueToJson } from "../manager/json.ts";
import { entryReader } from "../manager/list.ts";
import { get, type KeyDetails, type ManagedClient, type Target } from "../manager/mod.ts";
import { slowLog } from "../manager/slow_log.ts";
import type { Bulk } from "../manager/target.ts";
import type { Deleted, KeyPage, KeyRow, KeyView, SlowCommands } from "./messages.ts";

/** Options of {@linkcode findKeys}. */
export type FindOptions = Target & {
  /** The text that keys contain, or a glob if it has one of `*?[`; empty for all keys. */
  readonly match: string;
  /** The cursor of the last page; `"0"` for the first page. */
  readonly cursor: string;
  /** The number of keys of a page. */
  readonly limit: number;
  /** The deadline of a step, in milliseconds. */
  readonly timeout: number;
};

/** The time to look for a page, in milliseconds. Then the browser shows the progress, and asks for more. */
const BUDGET_MS = 200;
/** The maximum number of keys that one command scans, because other clients wait for it. */
const MOST = 5000;

/**
 * Finds a page of keys.
 *
 * @param client The client.
 * @param options The keys to find, and the page.
 * @returns The page. It may hold a few more keys than the limit, or none before the end.
 * @throws {TypeError | RangeError} If the service or database does not exist.
 * @throws {StoreError} If the store is away.
 */
export async function findKeys(client: ManagedClient, options: FindOptions): Promise<KeyPage> {
  const { match, limit } = options;
  const connection = await openManagedConnection(client, options);
  try {
    const look = entryReader(connection);
    const keys: KeyRow[] = [];
    const add = async (physical: readonly Bulk[]): Promise<void> => {
      for (const { key, bytes, unreadable, type, ttl, size } of await look(physical)) {
        keys.push({
          key,
          ...(bytes && { key64: toBase64(bytes) }),
          ...(unreadable && { unreadable }),
          type,
          ttl,
          size,
        });
      }
    };
    const glob = /[*?[]/.test(match);
    // A key that is given in full is found at once, however many keys there are.
    const whole = connection.physical(match);
    if (match !== "" && options.cursor === "0" && connection.isEntry(whole)) await add([whole]);
    const pattern = match === "" ? "*" : glob ? match : `*${escapeGlob(match)}*`;
    const start = performance.now();
    let { cursor } = options;
    let [count, scanned] = [limit, 0];
    do {
      const page = await connection.page(cursor, pattern, count);
      await add(page.keys.filter((key) => connection.isEntry(key)));
      scanned += count;
      cursor = page.cursor;
      count = Math.min(count * 2, MOST);
    } while (cursor !== "0" && keys.length < limit && performance.now() - start < BUDGET_MS);
    return { keys, cursor: cursor === "0" ? null : cursor, scanned };
  } finally {
    await connection.close();
  }
}

/** The maximum number of bytes of a string that are read, because longer reads hold up other clients. */
const MOST_BYTES = 2 ** 21;
/** The maximum number of characters of a value that are shown. */
const MOST_CHARACTERS = 200_000;

/**
 * Reads a key for display.
 *
 * @param client The client.
 * @param options The service or database, and the key.
 * @returns The key and its value; `undefined` if it does not exist.
 * @throws {TypeError | RangeError} If the service or database does not exist, or the key is empty.
 * @throws {StoreError} If the store is away.
 */
export async function viewKey(
  client: ManagedClient,
  options: Target & { readonly key: Bulk; readonly timeout: number },
): Promise<KeyView | undefined> {
  const found = await get(client, { ...options, maxBytes: MOST_BYTES });
  if (!found) return undefined;
  const { value: _, length, ...about } = found;
  const [kind, whole] = textOf(found);
  const long = whole.length > MOST_CHARACTERS;
  const isString = found.type === "string";
  return {
    ...about,
    ...(length !== undefined && (isString ? { bytes: length } : { length })),
    kind,
    text: long ? whole.slice(0, MOST_CHARACTERS).toWellFormed() : whole,
    ...(long && !(isString && length !== undefined) && { characters: whole.length }),
  };
}

/** Returns a value as text, and the kind of the text. */
function textOf({ type, entry, value }: KeyDetails): [kind: KeyView["kind"], text: string] {
  if (entry?.sealed !== undefined || (value === undefined && !entry)) return ["none", ""];
  if (value instanceof Uint8Array) return ["bytes", shownBytes(value)];
  if (type !== "string" || entry || typeof value !== "string") {
    const json = valueToJson(value).value;
    if (type === "string" || !Array.isArray(json) || json.length === 0) return ["json", JSON.stringify(json, null, 2)];
    // One line for each element.
    return ["json", `[\n${json.map((element) => `  ${JSON.stringify(element)}`).join(",\n")}\n]`];
  }
  try {
    const parsed: unknown = JSON.parse(value);
    // Numbers with too many digits and repeated names must not be lost, so the text must come back equal.
    if (Object(parsed) === parsed && JSON.stringify(parsed) === value) return ["json", JSON.stringify(parsed, null, 2)];
  } catch {
    // Not JSON.
  }
  return ["text", value];
}

/**
 * Deletes a key. The library's own keys are refused.
 *
 * @param client The client.
 * @param options The service or database, and the key.
 * @returns Whether the key existed.
 * @throws {TypeError | RangeError} If the service or database does not exist, or the key is empty or one of
 *   the library's own.
 * @throws {StoreError} If the store is away.
 */
export async function deleteKey(
  client: ManagedClient,
  options: Target & { readonly key: Bulk; readonly timeout: number },
): Promise<Deleted> {
  const { key } = options;
  const connection = await openManagedConnection(client, options);
  try {
    if (key.length === 0 || !connection.isEntry(connection.physical(key))) {
      throw new TypeError(`Cannot delete this key: expected one that is not empty and does not start with ${OWN}`);
    }
    if (!connection.carries(key)) {
      const { name } = connection.location.driver;
      throw new TypeError(`Cannot delete a key of bytes over ${name}: expected a key of text`);
    }
    const [deleted] = await connection.must([["UNLINK", connection.physical(key)]]);
    return { deleted: Number(deleted) > 0 };
  } finally {
    await connection.close();
  }
}

/** The maximum numbers of slow commands, of arguments of each, and of characters of an argument that are shown. */
const SLOW = 32;
const ARGUMENTS = 4;
const CHARACTERS = 80;

/**
 * Reads the slow log of the store.
 *
 * @param client The client.
 * @param timeout The deadline, in milliseconds.
 * @returns The slow commands; `null` as `queries` if the store has no slow log.
 * @throws {StoreError} If the store is away.
 */
export async function slowCommands(client: ManagedClient, timeout: number): Promise<SlowCommands> {
  const connection = await openManagedConnection(client, { database: 0, timeout });
  try {
    const all = (await slowLog(connection, SLOW))?.filter(({ ofTools }) => !ofTools);
    const queries = all?.slice(0, SLOW).map(({ at, took, args, node }) => {
      const words = args.slice(0, ARGUMENTS).map((arg) => {
        const text = asText(arg) ?? shownBytes(arg as Uint8Array);
        return text.length > CHARACTERS ? `${text.slice(0, CHARACTERS).toWellFormed()}...` : text;
      });
      return {
        at,
        took,
        ...(node !== undefined && { node }),
        command: [...words, ...(args.length > ARGUMENTS ? ["..."] : [])].join(" "),
      };
    });
    return { queries: queries ?? null };
  } finally {
    await connection.close();
  }
}

/** Returns the key that a request names: `key` as text, or `key64` in base64. */
export function requestedKey(query: URLSearchParams): Bulk | undefined {
  const [key, key64] = [query.get("key"), query.get("key64")];
  return key64 === null ? (key ?? undefined) : bytesOf(key64);
}
