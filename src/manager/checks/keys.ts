import { formatBytes } from "../../base/format.ts";
import { OWN } from "../../base/own_keys.ts";
import { isRefusal } from "../../base/store_error.ts";
import { displayText, type ManagedConnection, wholeOf, word } from "../connection.ts";
import type { InspectedClient } from "../inspect.ts";
import { entryReader } from "../list.ts";
import type { Info } from "../nodes.ts";
import type { Bulk, StepOptions } from "../target.ts";
import { type Finding, HIDDEN, PAGE, unknown, usable, warning } from "./finding.ts";

/** Matches the library's own keys of any service or database; with shards, the tag stands before their names. */
const OWN_ANYWHERE = new RegExp(`(^|:)(\\{\\w+\\})?${OWN}`);

/** The keys of services whose values should be encrypted. */
const SECRETS = { auth: ["session:*", "token:*"], payment: ["payment_methods:*", "transaction:*"] } as const;

/** The maximum number of keys of a pattern that are read. */
const LOOKED_AT = 20;

/**
 * Checks that the values of services with secrets are encrypted. It reads the heads of stored values, because only the
 * applications know the encryption keys.
 */
export async function encryption(
  client: InspectedClient,
  { sample, ...options }: StepOptions & { readonly sample: number },
): Promise<Finding> {
  const check = "encryption";
  const plain: string[] = [];
  let seen = 0;
  let hidden = false;
  for (const [service, patterns] of Object.entries(SECRETS)) {
    let connection: ManagedConnection | undefined;
    try {
      connection = await usable(client, { service, ...options });
    } catch (error) {
      // This build lacks the service.
      if (!(error instanceof TypeError)) throw error;
      continue;
    }
    hidden ||= connection === undefined;
    if (!connection) continue;
    try {
      for (const pattern of patterns) {
        const keys: Bulk[] = [];
        let left = sample;
        for await (const page of connection.scan(pattern, PAGE)) {
          keys.push(...page);
          left -= PAGE;
          if (keys.length >= LOOKED_AT || left <= 0) break;
        }
        const heads = await connection.send(keys.slice(0, LOOKED_AT).map((key) => ["GETRANGE", key, 0, 1023]));
        hidden ||= heads.some((head) => head instanceof Error);
        const texts = heads.map(word).filter((text) => text.startsWith("{"));
        seen += texts.length;
        if (texts.some((text) => !/^\{[^{}]*?"sealed":/.test(text))) plain.push(`${service} (${pattern})`);
      }
    } finally {
      await connection.close();
    }
  }
  if (seen === 0) return unknown(check, hidden ? HIDDEN : "auth and payment have no values yet");
  if (plain.length === 0)
    return { check, level: "ok", evidence: "the checked values of auth and payment are encrypted" };
  const advice = "set CACHE_ENCRYPTION_KEYS in the applications, or restrict access to the store and its backups";
  return { check, level: "info", evidence: `stored in plain text: ${plain.join(", ")}`, advice };
}

/** Returns the databases of the store that have keys. */
async function databasesInUse(client: InspectedClient, info: Info): Promise<number[]> {
  if (client.databases === "prefixed") return [0];
  const named = [...info.keys()].flatMap((name) => /^db(\d+)$/.exec(name)?.[1] ?? []).map(Number);
  return info.size > 0 ? named.filter((number) => number < 16) : Array.from({ length: 16 }, (_, number) => number);
}

/** Checks for keys without TTL, and for big keys. */
export async function* keys(
  client: InspectedClient,
  info: Info,
  { sample, bigKey, ...options }: StepOptions & { readonly sample: number; readonly bigKey: number },
): AsyncGenerator<Finding, void, void> {
  let seen = 0;
  let lasting = 0;
  let opened = 0;
  let hidden = false;
  const examples: string[] = [];
  const big: { name: string; size: number }[] = [];
  const databases = await databasesInUse(client, info);
  for (const database of databases) {
    // All keys, those of other programs included, because they share the memory.
    const connection = await usable(wholeOf(await client.locate({ database })), { database, ...options });
    if (!connection) continue;
    opened++;
    const readEntries = entryReader(connection);
    try {
      let left = sample;
      for await (const page of connection.scan("*", PAGE)) {
        const part = page.filter((key) => !OWN_ANYWHERE.test(displayText(key))).slice(0, left);
        for (const { key, ttl, size, unreadable } of await readEntries(part)) {
          if (unreadable) continue;
          seen++;
          const name = `${JSON.stringify(key)} of database ${database}`;
          if (ttl === null) {
            lasting++;
            if (examples.length < 3) examples.push(name);
          }
          if (size !== null && size >= bigKey) big.push({ name, size });
        }
        left -= part.length;
        if (left <= 0) break;
      }
    } catch (error) {
      // This user may not read the keys.
      if (!isRefusal(error)) throw error;
      hidden = true;
    } finally {
      await connection.close();
    }
  }
  if (seen === 0) {
    const why = hidden || opened < databases.length ? HIDDEN : "the store has no keys";
    yield unknown("expiry", why);
    yield unknown("big keys", why);
    return;
  }
  const share = lasting / seen;
  const evidence = `${lasting} of ${seen} keys have no TTL${lasting > 0 ? `, such as ${examples.join(", ")}` : ""}`;
  yield lasting === 0
    ? { check: "expiry", level: "ok", evidence }
    : share < 0.1
      ? { check: "expiry", level: "info", evidence }
      : warning("expiry", evidence, "give them a TTL: otherwise they stay until they are evicted");
  big.sort((a, b) => b.size - a.size);
  const largest = big.slice(0, 3).map(({ name, size }) => `${name} (${formatBytes(size)})`);
  yield big.length === 0
    ? { check: "big keys", level: "ok", evidence: `none of ${seen} keys has ${formatBytes(bigKey)} or more` }
    : warning(
        "big keys",
        `${big.length} of ${seen} keys have ${formatBytes(bigKey)} or more: ${largest.join(", ")}`,
        "split or compress them (compressAbove): each read of one delays all other commands",
      );
}
