/** The key browser's questions to the store. */
import type { RawReply } from "../../drivers/driver.ts";
import { escapeGlob } from "../../drivers/glob.ts";
import { toBase64 } from "../base/base64.ts";
import { OWN } from "../base/own_keys.ts";
import { asText, isOwnBulk, openManagedConnection, word } from "../manager/connection.ts";
import { bytesOf, shownBytes, valueToJson } from "../manager/json.ts";
import { looker } from "../manager/list.ts";
import { get, type KeyDetails, type ManagedClient, type Target } from "../manager/mod.ts";
import { slowLog } from "../manager/slow_log.ts";
import type { Bulk } from "../manager/target.ts";
import type { Deleted, KeyPage, KeyRow, KeyView, SlowCommands } from "./messages.ts";

/** How a page of keys is asked for. */
export type FindOptions = Target & {
  /** Text that a key contains, or a glob where it has one of `*?[`; empty for all. */
  readonly match: string;
  /** Where the last page ended; `"0"` at the beginning. */
  readonly cursor: string;
  /** How many keys are enough for a page. */
  readonly limit: number;
  /** The deadline of a step, in milliseconds. */
  readonly timeout: number;
};

/** For how long a page is looked for, in milliseconds: then the browser is told how far it is. */
const BUDGET_MS = 200;
/** The most keys that a step looks at: others wait for it. */
const MOST = 5000;

/**
 * Finds a page of keys.
 *
 * @param client The client.
 * @param options Which keys.
 * @returns The page; it may hold a few more keys than asked for, or none before the end.
 * @throws {TypeError | RangeError} For a service or database that there is none of.
 * @throws {StoreError} When the store is away.
 */
export async function findKeys(client: ManagedClient, options: FindOptions): Promise<KeyPage> {
  const { match, limit } = options;
  const wire = await openManagedConnection(client, options);
  try {
    const look = looker(wire);
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
    // A key that is known by its name is found at once, however many there are.
    if (match !== "" && options.cursor === "0" && !isOwnBulk(match)) await add([wire.physical(match)]);
    const pattern = match === "" ? "*" : glob ? match : `*${escapeGlob(match)}*`;
    const start = performance.now();
    let { cursor } = options;
    let [count, scanned] = [limit, 0];
    do {
      const [page] = await wire.must([wire.scanCommand(cursor, pattern, count)]);
      const [next, found] = page as [RawReply, Bulk[]];
      await add(found.filter((key) => !wire.isOwn(key)));
      scanned += count;
      cursor = word(next);
      count = Math.min(count * 2, MOST);
    } while (cursor !== "0" && keys.length < limit && performance.now() - start < BUDGET_MS);
    return { keys, cursor: cursor === "0" ? null : cursor, scanned };
  } finally {
    await wire.close();
  }
}

/** The most bytes of a string that are read: more holds up others. */
const MOST_BYTES = 2 ** 21;
/** The most characters of a value that are shown. */
const MOST_CHARACTERS = 200_000;

/**
 * Reads a key as it is shown.
 *
 * @param client The client.
 * @param options Whose key, and which.
 * @returns The key and its value; `undefined` when there is none.
 * @throws {TypeError | RangeError} For a service or database that there is none of, or an empty key.
 * @throws {StoreError} When the store is away.
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

/** A value as text, and what that is. */
function textOf({ type, entry, value }: KeyDetails): [kind: KeyView["kind"], text: string] {
  if (entry?.sealed !== undefined || (value === undefined && !entry)) return ["none", ""];
  if (value instanceof Uint8Array) return ["bytes", shownBytes(value)];
  if (type !== "string" || entry || typeof value !== "string") {
    const json = valueToJson(value).value;
    if (type === "string" || !Array.isArray(json) || json.length === 0) return ["json", JSON.stringify(json, null, 2)];
    // An element a line.
    return ["json", `[\n${json.map((element) => `  ${JSON.stringify(element)}`).join(",\n")}\n]`];
  }
  try {
    const parsed: unknown = JSON.parse(value);
    // Digits beyond what a number holds, and keys that come twice, must not be lost.
    if (Object(parsed) === parsed && JSON.stringify(parsed) === value) return ["json", JSON.stringify(parsed, null, 2)];
  } catch {
    // It is no JSON.
  }
  return ["text", value];
}

/**
 * Deletes a key, and nothing of the library's own.
 *
 * @param client The client.
 * @param options Whose key, and which.
 * @returns Whether it was there.
 * @throws {TypeError | RangeError} For a service or database that there is none of, an empty key, or one of the library's own.
 * @throws {StoreError} When the store is away.
 */
export async function deleteKey(
  client: ManagedClient,
  options: Target & { readonly key: Bulk; readonly timeout: number },
): Promise<Deleted> {
  const { key } = options;
  if (key.length === 0 || isOwnBulk(key)) {
    throw new TypeError(`cannot delete this key: accepted are keys that are not empty and do not start with ${OWN}`);
  }
  const wire = await openManagedConnection(client, options);
  try {
    if (!wire.carries(key)) throw new TypeError(`cannot delete a key of bytes over ${wire.location.driver.name}`);
    const [deleted] = await wire.must([["UNLINK", wire.physical(key)]]);
    return { deleted: Number(deleted) > 0 };
  } finally {
    await wire.close();
  }
}

/** How many slow commands are shown, how many arguments of each, and how many characters of one. */
const SLOW = 32;
const ARGUMENTS = 4;
const CHARACTERS = 80;

/**
 * The slow commands that the store remembers.
 *
 * @param client The client.
 * @param timeout The deadline, in milliseconds.
 * @returns The commands; none where the store keeps no such list.
 * @throws {StoreError} When the store is away.
 */
export async function slowCommands(client: ManagedClient, timeout: number): Promise<SlowCommands> {
  const wire = await openManagedConnection(client, { database: 0, timeout });
  try {
    const all = (await slowLog(wire, SLOW))?.filter(({ ofTools }) => !ofTools);
    const queries = all?.map(({ at, took, args }) => {
      const words = args.slice(0, ARGUMENTS).map((arg) => {
        const text = asText(arg) ?? shownBytes(arg as Uint8Array);
        return text.length > CHARACTERS ? `${text.slice(0, CHARACTERS).toWellFormed()}...` : text;
      });
      return { at, took, command: [...words, ...(args.length > ARGUMENTS ? ["..."] : [])].join(" ") };
    });
    return { queries: queries ?? null };
  } finally {
    await wire.close();
  }
}

/** A key as a request names it: `key` as text, or `key64` in base64. */
export function requestedKey(query: URLSearchParams): Bulk | undefined {
  const [key, key64] = [query.get("key"), query.get("key64")];
  return key64 === null ? (key ?? undefined) : bytesOf(key64);
}
