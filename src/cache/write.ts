/** How a value becomes an entry of the store. */
import type { Command, Reply } from "../../drivers/driver.ts";
import { checkTags } from "../base/check.ts";
import { CacheSchemaError } from "../base/errors.ts";
import type { Policy } from "../config/policy.ts";
import { encode, sealingOf } from "../entry/codec.ts";
import { encodeTag, type Id } from "../entry/keyspace.ts";
import { fits, type SchemaResult, schemaIssues } from "../entry/schema.ts";
import { store } from "../lua/entries.ts";
import type { CacheContext } from "./context.ts";

/** What is known of a value beside its policy. */
export interface Origin {
  /** The clock from before it was loaded. @default the store's at the write */
  readonly born?: number;
  /** How long its load took, in milliseconds. */
  readonly load?: number;
  /** The token of the load's lock, which the write gives up; without it nothing is written. */
  readonly token?: string;
  /** The text that must stand there still; `null` for no entry. */
  readonly expected?: string | null;
  /** Tags beside the policy's. */
  readonly tags?: readonly string[];
}

/** A value that may be written: checked, and as text. */
export interface Entry {
  readonly text: string;
  /** How long the store keeps it, in milliseconds; 0 for ever. */
  readonly keep: number;
  /** Its tags as they stand in the document, without the brackets. */
  readonly tags: string;
}

/**
 * Checks a value. What is stored is the value as it was given, so that the schema takes it again at each read.
 *
 * @param context What the cache stands on.
 * @param value The value; not `undefined`.
 * @param stored Whether it is to be stored.
 * @returns What a read of it would give, the schema's output; a promise only where the schema gives one.
 * @throws {CacheSchemaError} For a value that the schema rejects.
 */
export function outputOf({ schema, refuse, target }: CacheContext, value: unknown, stored = true): unknown {
  if (stored) refuse?.(value);
  if (!schema || fits(schema, value)) return value;
  const judge = (result: SchemaResult<unknown>): unknown => {
    if (result.issues) throw new CacheSchemaError(`${target.service}.${target.collection}`, schemaIssues(result));
    return result.value;
  };
  const result = schema["~standard"].validate(value);
  return result instanceof Promise ? result.then(judge) : judge(result);
}

/**
 * Checks a value and makes its entry.
 *
 * @param context What the cache stands on.
 * @param id Its id, for the function that gives the tags.
 * @param key Its logical key.
 * @param value The value; `undefined` for one that is known not to be there.
 * @param policy How it lives.
 * @param origin What else is known of it.
 * @param checked Whether {@linkcode outputOf} was asked. @default false
 * @returns The entry.
 * @throws {TypeError | CacheSchemaError} For a value or tags that cannot be stored.
 */
export function entryOf(
  context: CacheContext,
  id: Id,
  key: string,
  value: unknown,
  policy: Policy,
  origin: Origin,
  checked = false,
): Entry | Promise<Entry> {
  const none = value === undefined;
  const { sealing, sliding, version = 1, target } = context;
  const ttl = none ? policy.negativeTtl : Math.max(1, Math.round(policy.ttl * (1 - policy.jitter * Math.random())));
  // A sliding entry begins anew with each read: it has no age.
  const kept = none || sliding ? 0 : Math.max(policy.staleFor, policy.failSafeFor);
  const timed = ttl < Number.POSITIVE_INFINITY && !none && !sliding && (kept > 0 || policy.earlyRefresh > 0);
  const keep = ttl + kept;
  let head = timed ? `"at":${Math.floor(context.now())},"ttl":${ttl},` : "";
  if (timed && origin.load !== undefined) head += `"load":${Math.ceil(origin.load)},`;
  if (version !== 1) head += `"version":${version},`;
  if (none) head += '"none":1,';
  const make = (): Entry | Promise<Entry> => {
    const tags = tagsOf(policy, id, value, origin);
    const finish = (body: string): Entry => ({
      text: head ? `{${head}${body.slice(1)}` : body,
      keep: keep < Number.POSITIVE_INFINITY ? keep : 0,
      tags,
    });
    const document = none ? NOTHING : encode(value, context.known);
    const sealed = sealing && sealingOf(context.known).seal(document, sealing, `${target.service}:${key}`);
    return sealed ? sealed.then((body) => finish(body ? `{${body}}` : document)) : finish(document);
  };
  const output = none || checked ? undefined : outputOf(context, value);
  return output instanceof Promise ? output.then(make) : make();
}

/** superjson's document of `undefined`. */
const NOTHING = '{"json":null,"meta":{"values":["undefined"]}}';

function tagsOf({ tags: source }: Policy, id: Id, value: unknown, { tags = [] }: Origin): string {
  let all = source;
  if (typeof all === "function") all = value === undefined ? [] : (all(value, id) ?? []);
  checkTags(all);
  checkTags(tags);
  if (tags.length > 0) all = [...all, ...tags];
  return all.length === 0 ? "" : [...new Set(all)].map((tag) => `"${encodeTag(tag)}"`).join();
}

/**
 * Calls a function with an entry: at once, or when it is ready, after those of the same cache that were begun before.
 *
 * @param context What the cache stands on.
 * @param entry The entry.
 * @param use What to do with it.
 * @returns What the function answers.
 */
export function withEntry<T>(
  context: CacheContext,
  entry: Entry | Promise<Entry>,
  use: (entry: Entry) => Promise<T>,
): Promise<T> {
  if (!(entry instanceof Promise)) return use(entry);
  const ready = Promise.resolve(context.preparing).then(() => entry);
  context.preparing = ready.catch(() => {});
  return ready.then(use);
}

/**
 * Writes an entry.
 *
 * @param context What the cache stands on.
 * @param key Its logical key.
 * @param entry The entry.
 * @param policy How it lives.
 * @param origin What is known of it.
 * @param timeout Milliseconds until the promise rejects.
 * @returns Whether it was written: `false` when its lock was lost, or something else stands there than was expected.
 */
export async function save(
  context: CacheContext,
  key: string,
  { text, keep, tags }: Entry,
  policy: Policy,
  { born, token, expected }: Origin,
  timeout: number,
): Promise<boolean> {
  const { space, batch } = context;
  const physical = space.key(key);
  let sent: Promise<Reply>;
  if (born !== undefined && tags === "" && token === undefined) {
    const whole = born > 0 ? `{"born":${born},${text.slice(1)}` : text;
    const command: Command = keep > 0 ? ["SET", physical, whole, "PX", keep] : ["SET", physical, whole];
    sent = batch.send(command, [physical], timeout, true);
  } else {
    // Whoever writes where loads take locks breaks the lock, so that no load of another process undoes it.
    const locks = token !== undefined || policy.lock !== undefined;
    const also = locks ? [space.epochKey, space.lock(key)] : [space.epochKey];
    const args: (string | number)[] = [text, keep, born ?? "", token ?? "*", space.marksPrefix, tags];
    if (expected !== undefined) args.push(expected === null ? "0" : "1", expected ?? "");
    sent = batch.run(store, [physical], args, timeout, expected === undefined && token === undefined, also);
  }
  try {
    return (await sent) !== 0;
  } finally {
    // A near cache may have read the old value meanwhile.
    for (const near of context.nears) near.forget(physical);
  }
}
