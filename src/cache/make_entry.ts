/** An entry, from a value: checked, and as text. */
import { checkTags } from "../base/check.ts";
import { CacheSchemaError } from "../base/errors.ts";
import type { Policy } from "../config/policy.ts";
import { encode, sealingOf } from "../entry/codec.ts";
import { encodeTag, type Id, type KeyShape } from "../entry/keyspace.ts";
import { matchesSchema, type SchemaResult, schemaIssues } from "../entry/schema.ts";
import type { CacheContext, CacheTelemetry, EntryRules } from "./context.ts";

/** Facts about a value besides its policy. */
export interface Origin {
  /** The epoch that was read before it was loaded. @default the store's at the write */
  readonly born?: number;
  /** `true` if so much time has passed since that read that marks from after it may be gone. */
  readonly long?: boolean;
  /** The milliseconds that its load took. */
  readonly load?: number;
  /** The token of the load's lock, which the write gives up. If the token no longer holds it, nothing is written. */
  readonly token?: string | undefined;
  /** The text that must still be stored; `null` for no entry. */
  readonly expected?: string | null;
  /** Tags besides the policy's. */
  readonly tags?: readonly string[];
}

/** A value that may be written: checked, and as text. */
export interface Entry {
  readonly text: string;
  /** The milliseconds that the store keeps it; 0 for ever. */
  readonly keep: number;
  /** Its tags as the document has them, without the brackets. */
  readonly tags: string;
}

/**
 * Checks a value. The value itself is stored, not the schema's output, so that the schema accepts it again at each
 * read.
 *
 * @param context The parts of the cache.
 * @param value The value; not `undefined`.
 * @param stored Whether it is to be stored.
 * @returns What a read of it would return, the schema's output; a promise only if the schema returns one.
 * @throws {CacheSchemaError} For a value that the schema rejects.
 */
export function outputOf(
  { schema, refuse, target }: EntryRules & CacheTelemetry,
  value: unknown,
  stored = true,
): unknown {
  if (stored) refuse?.(value);
  if (!schema || matchesSchema(schema, value)) return value;
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
 * @param context The parts of the cache.
 * @param id Its id, for the function that gives the tags.
 * @param key Its logical key.
 * @param value The value; `undefined` for one that is known not to exist.
 * @param policy The policy for it, such as TTL and tags.
 * @param origin Further facts about it.
 * @param checked Whether {@linkcode outputOf} has checked it. @default false
 * @returns The entry.
 * @throws {TypeError | CacheSchemaError} For a value or tags that cannot be stored.
 */
export function entryOf(
  context: CacheContext,
  id: Id,
  key: string,
  value: unknown,
  policy: Policy,
  origin: Origin = {},
  checked = false,
): Entry | Promise<Entry> {
  const none = value === undefined;
  const { sealing, sliding, version = 1, known } = context;
  const ttl = none ? policy.negativeTtl : Math.max(1, Math.round(policy.ttl * (1 - policy.jitter * Math.random())));
  // A sliding entry has no age, because each read starts its TTL again.
  const kept = none || sliding ? 0 : Math.max(policy.staleFor, policy.failSafeFor);
  const timed = ttl < Number.POSITIVE_INFINITY && !none && !sliding && (kept > 0 || policy.earlyRefresh > 0);
  const keep = ttl + kept;
  let head = timed ? `"at":${Math.floor(context.now())},"ttl":${ttl},` : "";
  if (timed && origin.load !== undefined) head += `"load":${Math.ceil(origin.load)},`;
  if (version !== 1) head += `"version":${version},`;
  if (none) head += '"none":1,';
  const output = none || checked ? undefined : outputOf(context, value);
  const make = (): Entry | Promise<Entry> => {
    const tags = tagsOf(context.shape, policy, id, value, origin);
    const document = none ? NOTHING : encode(value, known);
    const sealed = sealing && sealingOf(known).seal(document, sealing, `${context.target.service}:${key}`);
    if (!sealed) return finished(head, document, keep, tags);
    return sealed.then((body) => finished(head, body ? `{${body}}` : document, keep, tags));
  };
  return output instanceof Promise ? output.then(make) : make();
}

function finished(head: string, body: string, keep: number, tags: string): Entry {
  const text = head ? `{${head}${body.slice(1)}` : body;
  return { text, keep: keep < Number.POSITIVE_INFINITY ? keep : 0, tags };
}

/** superjson's document of `undefined`. */
const NOTHING = '{"json":null,"meta":{"values":["undefined"]}}';

function tagsOf(shape: KeyShape, { tags: source }: Policy, id: Id, value: unknown, { tags = [] }: Origin): string {
  let all = source;
  // A function that reads the parts of an id by name gives a tuple and an object the same tags.
  if (all.length === 0 && tags.length === 0 && typeof all !== "function") return "";
  if (typeof all === "function") all = value === undefined ? [] : (all(value, shape.named?.(id) ?? id) ?? []);
  checkTags(all);
  checkTags(tags);
  if (tags.length > 0) all = [...all, ...tags];
  return all.length === 0 ? "" : [...new Set(all)].map((tag) => `"${encodeTag(tag)}"`).join();
}
