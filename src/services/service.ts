import { checkFunction, checkNames, describe, invalid, invalidType } from "../base/check.ts";
import { parseTtl, type Ttl } from "../base/ttl.ts";
import type { Cache } from "../cache/cache.ts";
import type { CallOptions } from "../cache/call.ts";
import type { Migrations } from "../cache/context.ts";
import type { FleetStats } from "../cache/fleet.ts";
import type { InvalidateOptions } from "../cache/invalidate.ts";
import type { RateLimits } from "../cache/rate_limits.ts";
import { type CacheDefaults, checkDefaults, DEFAULT_NAMES, type TagSource } from "../config/policy.ts";
import { collectionKeys, encodeTag, type Id } from "../entry/keyspace.ts";
import { checkSchema, type Schema } from "../entry/schema.ts";
import { severalParts } from "../entry/several_parts.ts";
import type { CacheStats } from "../telemetry/stats.ts";

/** The ids of collections that do not hash them. */
export type PlainId = string | number | bigint;

/** Key patterns of several placeholders. */
export type SeveralParts = `${string}:{${string}}:{${string}}`;

/** The names of the placeholders in a key pattern. */
export type PlaceholdersOf<Key extends string> = Key extends `${string}{${infer Name}}${infer Rest}`
  ? [Name, ...PlaceholdersOf<Rest>]
  : [];

/**
 * The ids of a key pattern: text or a number; if it has several placeholders, an object of them or a tuple.
 *
 * @typeParam Key The pattern.
 * @typeParam Names The names in it.
 */
export type IdOf<Key extends string, Names extends readonly string[] = PlaceholdersOf<Key>> = string extends Key
  ? PlainId
  : SeveralParts extends Key
    ? Readonly<Record<string, PlainId>> | readonly PlainId[]
    : Key extends SeveralParts
      ? { readonly [Name in Names[number]]: PlainId } | { readonly [I in keyof Names]: PlainId }
      : PlainId;

/**
 * The form of ids that functions of tags get: objects, not tuples.
 *
 * @typeParam K The ids.
 */
export type NamedParts<K> = Exclude<K, readonly unknown[]>;

/** The declaration of a collection. */
export interface CollectionOptions<
  Out = unknown,
  In = Out,
  Hashed extends boolean = boolean,
  Key extends string = string,
> extends Omit<CacheDefaults, "tags"> {
  /** The key pattern: a name and placeholders, such as `"product:{id}"` or `"order:{tenant}:{id}"`. */
  readonly key: Key;
  /** The TTL if neither the call nor the variable gives one. @default CACHE_TTL_DEFAULT, 1 hour */
  readonly ttl?: Ttl;
  /** The environment variable that sets the TTL, such as `"CACHE_TTL_PRODUCTS"`. */
  readonly variable?: string;
  /**
   * A valibot schema, or any Standard Schema, that checks values. A value that it rejects is an error on a write and a
   * miss on a read. Reads, `getOrSet` and `update` return its output. The stored value is its input, so that it takes
   * that again.
   */
  readonly schema?: Schema<In, Out>;
  /**
   * Restarts the TTL at each read. Then `staleFor`, `failSafeFor` and `earlyRefresh` have no effect.
   * @default false
   */
  readonly sliding?: boolean;
  /**
   * The version of the schema: a whole number from 1. `migrate` upgrades values of older versions; without it they are
   * misses. @default 1
   */
  readonly version?: number;
  /** The steps from older versions: step n takes a value of version n and returns one of version n + 1. */
  readonly migrate?: Migrations;
  /** Hashes ids, for those that are objects, long or secret. @default false */
  readonly hashed?: Hashed;
  /**
   * The tags by which `invalidateTags` finds an entry: a list, or a function of the value that is written and its id.
   * If the id has several parts, the function gets it as an object, also if the caller gave a tuple.
   * @default none
   */
  readonly tags?:
    | TagSource<NoInfer<Exclude<In, undefined>>, Hashed extends false ? NamedParts<IdOf<Key>> : Id>
    | undefined;
}

/** A declared collection. */
export interface CollectionDefinition<K extends Id = Id, Out = unknown, In = Out> extends CollectionOptions<Out, In> {
  /** The type of ids; no value. */
  readonly id?: K;
  /** The functions that turn ids into keys, if the pattern has several placeholders. `collection` makes them. */
  readonly keys?: object;
}

/** The collection that a declaration becomes. */
export type CollectionOf<D> = D extends CollectionDefinition<infer K, infer Out, infer In> ? Cache<K, Out, In> : never;

/** The collections of a service, by name. */
// biome-ignore lint/suspicious/noExplicitAny: stands for collections of every type
export type Collections = Readonly<Record<string, CollectionDefinition<any, any, any>>>;

/** Returns the variables that set the TTLs of collections. */
export function variablesOf(collections: Collections): string[] {
  return Object.values(collections).flatMap(({ variable }) => variable ?? []);
}

/** The verbs of every service, besides those of its own. Each touches this service's keys and no other's. */
export interface ServiceBase extends RateLimits<PlainId> {
  /** The service's name. */
  readonly name: string;
  /** The number of its database. */
  readonly database: number;
  /** The generic verbs over all of the service's keys. */
  readonly cache: Cache;
  /** Deletes all of the service's keys, and returns their number. */
  clear(options?: CallOptions): Promise<number>;
  /** Lists the service's logical keys, such as `"product:123"`. */
  keys(pattern?: string, options?: CallOptions): AsyncGenerator<string, void, undefined>;
  /** Deletes the logical keys that match a glob, and returns their number. */
  deletePattern(pattern: string, options?: CallOptions): Promise<number>;
  /**
   * Makes every entry that carries one of the tags a miss, and returns whether the store took it: see
   * `Cache.invalidateTags`.
   */
  readonly invalidateTags: Cache["invalidateTags"];
  /** Makes every entry a miss, and returns whether the store took it. Counters, locks and rate limits stay. */
  invalidateAll(options?: InvalidateOptions): Promise<boolean>;
  /** Returns the counts of the service and its collections since this client was made. */
  stats(): CacheStats;
  /** Reads their counts in all processes whose clients have `fleetStats` on; `undefined` if the store is away. */
  fleetStats(options?: CallOptions): Promise<FleetStats | undefined>;
}

/** A service as its own verbs see it. */
export type ServiceCore<C extends Collections> = ServiceBase & { readonly [N in keyof C]: CollectionOf<C[N]> };

/**
 * A declared service. Without type arguments, any service.
 *
 * @typeParam C Its collections.
 * @typeParam V Its verbs.
 */
// biome-ignore lint/suspicious/noExplicitAny: stands for services of every type
export interface ServiceDefinition<C extends Collections = any, V extends object = object> extends CacheDefaults {
  /** The name: letters, digits, `_` and `-`. */
  readonly name: string;
  /**
   * The database, 8-15, which the service then has alone.
   * @default none: it shares database 8 with others, its name in front of its keys
   */
  readonly database?: number | undefined;
  /** The collections by name. */
  readonly collections: C;
  /** Makes the verbs that need domain knowledge; `defaults` are the client's options of calls. */
  readonly verbs?: (
    service: ServiceBase & { readonly [N in keyof C]: CollectionOf<C[N]> },
    defaults: Required<CallOptions>,
  ) => V;
  /** Throws for values that no collection of the service may store. */
  readonly refuse?: (value: unknown) => void;
  /**
   * Encrypts its values, not its ids and tags, by the client's `encryption` keys. A client without keys refuses the
   * service.
   * @default false
   */
  readonly encrypted?: boolean;
}

/** The service that a declaration becomes. */
export type ServiceOf<D> =
  D extends ServiceDefinition<infer C, infer V>
    ? ServiceBase & { readonly [N in keyof C]: CollectionOf<C[N]> } & V
    : never;

/**
 * Declares a collection: one kind of value, its keys, its schema and its TTL.
 *
 * @param options Key pattern, TTL, variable, schema, and whether reads slide the TTL and ids are hashed.
 * @returns The declaration, for {@linkcode defineService}.
 * @throws {TypeError} For a key pattern of another form.
 * @throws {TypeError | RangeError} For an unknown option, and for a bad one.
 *
 * @example
 * ```ts
 * import { collection } from "@foodfast/larder";
 *
 * const points = collection<{ balance: number }>({ key: "points:{userId}", ttl: "10m" });
 * ```
 */
export function collection<Out = unknown, In = Out, const Key extends SeveralParts = SeveralParts>(
  options: CollectionOptions<Out, In, false, Key>,
): CollectionDefinition<IdOf<Key>, NoInfer<Out>, NoInfer<In>>;
/**
 * Declares a collection whose ids are hashed.
 *
 * @param options As above.
 * @returns The declaration, for {@linkcode defineService}.
 */
export function collection<Out = unknown, In = Out>(
  options: CollectionOptions<Out, In, true> & { readonly hashed: true },
): CollectionDefinition<Id, NoInfer<Out>, NoInfer<In>>;
/**
 * Declares a collection of one placeholder, whose ids are not hashed.
 *
 * @param options As above.
 * @returns The declaration, for {@linkcode defineService}.
 */
export function collection<Out = unknown, In = Out, Hashed extends boolean = false>(
  options: CollectionOptions<Out, In, Hashed>,
): CollectionDefinition<Hashed extends true ? Id : PlainId, NoInfer<Out>, NoInfer<In>>;
export function collection(options: CollectionOptions): CollectionDefinition {
  checkCollection(options ?? {});
  const keys = severalParts(options.key, options.hashed);
  return keys ? { ...options, keys } : options;
}

/** The options of a collection, and of a service, besides the defaults of entries. */
const OF_COLLECTIONS = ["key", "variable", "schema", "sliding", "version", "migrate", "hashed", "id", "keys"];
const OF_SERVICES = ["name", "database", "collections", "verbs", "refuse", "encrypted"];
/** A service has no TTL of its own; a collection has one. */
const SERVICE_DEFAULTS = DEFAULT_NAMES.filter((name) => name !== "ttl");

function checkCollection(options: CollectionOptions): void {
  const { key, ttl, schema, version = 1, migrate = {} } = options;
  if (!severalParts(key)) collectionKeys(key);
  if (ttl !== undefined) parseTtl(ttl, `ttl of ${key}`);
  checkDeclared(options, [...OF_COLLECTIONS, ...DEFAULT_NAMES], key);
  if (schema !== undefined) checkSchema(schema, key);
  if (!(Number.isInteger(version) && version > 0)) {
    throw invalid(`set version of ${key}`, version, "a whole number of 1 or more", RangeError);
  }
  if (typeof migrate !== "object" || Object.values({ ...migrate }).some((step) => typeof step !== "function")) {
    throw invalidType(`set migrate of ${key}`, migrate, "functions by version");
  }
}

/** Throws for bad defaults of entries, and for unknown names. */
function checkDeclared(options: CacheDefaults, known: readonly string[], what: string): void {
  checkNames(options, known, what);
  checkDefaults(options);
  if (Array.isArray(options.tags)) options.tags.forEach(encodeTag);
}

/** The verbs of a service's generic cache that the service has too. */
export const OF_CACHES = [
  "incrementRateLimit",
  "decrementRateLimit",
  "checkRateLimit",
  "resetRateLimit",
  "clear",
  "keys",
  "deletePattern",
  "invalidateTags",
  "invalidateAll",
] as const;

const RESERVED: readonly string[] = [...OF_CACHES, "name", "database", "cache", "stats", "fleetStats", "then"];

/**
 * Declares a service: the collections of one domain, and its verbs.
 *
 * @param definition Name, database, collections and verbs.
 * @returns The declaration, for `client.service(...)`.
 * @throws {TypeError} For a bad name, a collection that is named like a verb of every service, or two collections with
 * one key pattern.
 * @throws {RangeError} For a database outside 0-15.
 * @throws {TypeError | RangeError} For an unknown option of the service or of a collection, and for a bad one.
 *
 * @example
 * ```ts
 * import { collection, createCacheClient, defineService } from "@foodfast/larder";
 *
 * const loyalty = defineService({
 *   name: "loyalty",
 *   database: 8,
 *   collections: { points: collection<{ balance: number }>({ key: "points:{userId}", ttl: "10m" }) },
 * });
 * await using client = createCacheClient({ driver: "memory" });
 * await client.service(loyalty).points.set("u1", { balance: 120 });
 * console.log(await client.service(loyalty).points.get("u1")); // { balance: 120 }
 * ```
 */
export function defineService<const C extends Collections, V extends object = Record<never, never>>(
  definition: ServiceDefinition<C, V>,
): ServiceDefinition<C, V> {
  const { name, database, collections } = definition ?? {};
  if (!/^[\w-]+$/.test(name ?? "")) {
    throw invalid("name a service", name, "letters, digits, _ and -", TypeError);
  }
  if (database !== undefined && !(Number.isInteger(database) && database >= 0 && database <= 15)) {
    throw invalid(
      `define the service ${name} in a database`,
      database,
      "0 to 15, of which 8 to 15 are free",
      RangeError,
    );
  }
  checkDeclared(definition, [...OF_SERVICES, ...SERVICE_DEFAULTS], name);
  if (Object(collections) !== collections) {
    throw invalidType(`set collections of the service ${name}`, collections, "{ name: collection({ key, ... }) }");
  }
  if (definition.verbs !== undefined) checkFunction(definition.verbs, `verbs of ${name}`);
  const taken = new Map<string, string>();
  for (const [collection, declared] of Object.entries(collections)) {
    const { key } = declared;
    checkCollection(declared);
    if (RESERVED.includes(collection)) {
      throw invalid(`name a collection of ${name}`, collection, "a name that no verb of services has");
    }
    const prefix = key.slice(0, key.indexOf(":"));
    const other = taken.get(prefix);
    if (other)
      throw invalid(
        `declare ${name}.${collection}`,
        key,
        `a pattern that does not start with ${prefix}:, as that of ${other} does`,
      );
    taken.set(prefix, collection);
  }
  return definition;
}

/**
 * Declares a service again, with the application's own schemas for some collections.
 *
 * @param definition The service, such as `product`.
 * @param schemas The schemas by collection.
 * @returns The declaration, with the schemas' types.
 * @throws {TypeError} For a name that is not a collection of the service.
 *
 * @example
 * ```ts
 * import { createCacheClient, withSchemas } from "@foodfast/larder";
 * import { product } from "@foodfast/larder/services/product";
 * import * as v from "valibot";
 *
 * const Dish = v.object({ id: v.number(), name: v.string(), spicy: v.boolean() });
 * const shop = withSchemas(product, { products: Dish });
 * await using client = createCacheClient({ driver: "memory" });
 * await client.service(shop).products.set(1, { id: 1, name: "Pho", spicy: false });
 * ```
 */
export function withSchemas<
  C extends Collections,
  V extends object,
  // biome-ignore lint/suspicious/noExplicitAny: stands for schemas of every type
  const S extends { readonly [N in keyof C]?: Schema<any, any> },
>(
  definition: ServiceDefinition<C, V>,
  schemas: S,
): ServiceDefinition<
  {
    readonly [N in keyof C]: S[N] extends Schema<infer In, infer Out>
      ? C[N] extends CollectionDefinition<infer K, infer _Out, infer _In>
        ? CollectionDefinition<K, Out, In>
        : never
      : C[N];
  },
  V
> {
  const collections: Record<string, CollectionDefinition> = { ...definition.collections };
  for (const [name, schema] of Object.entries(schemas)) {
    const known = collections[name];
    if (!known) {
      throw invalid(`give ${definition.name} schemas`, name, `its collections: ${Object.keys(collections).join(", ")}`);
    }
    checkSchema(schema, `${definition.name}.${name}`);
    collections[name] = { ...known, schema: schema as Schema };
  }
  return { ...definition, collections } as never;
}

/** The defaults that a declared collection may be given. */
export interface DefaultsOf<D> extends Omit<CacheDefaults, "tags"> {
  /** The TTL if neither the call nor the variable gives one. */
  readonly ttl?: Ttl;
  /** The tags: a list, or a function of the value that is written and its id. */
  readonly tags?: D extends CollectionDefinition<infer K, infer _Out, infer In>
    ? TagSource<Exclude<In, undefined>, NamedParts<K>> | undefined
    : TagSource | undefined;
}

/**
 * Compares two declarations of one service. Schemas and functions do not count, because a module that is evaluated
 * again makes new ones.
 *
 * @param first A declaration, or a part of it.
 * @param second The other.
 * @param path The path of the parts.
 * @returns The first difference, in words; `undefined` if they are equal.
 */
export function difference(first: unknown, second: unknown, path = ""): string | undefined {
  if (Object.is(first, second)) return undefined;
  const [one, other] = [first, second] as Record<string, unknown>[];
  if (typeof one === "function" && typeof other === "function") return undefined;
  if (typeof one !== "object" || typeof other !== "object" || !one || !other) {
    return `${path.slice(1)} is ${describe(one)} in the first, ${describe(other)} in the second`;
  }
  if ("~standard" in one && "~standard" in other) return undefined;
  for (const name in { ...one, ...other }) {
    const found = difference(one[name], other[name], `${path}.${name}`);
    if (found) return found;
  }
  return undefined;
}

/**
 * Declares a service again, with the application's own defaults for the entries of all its collections, or of some.
 * They beat those of the original declaration and of the client; options of a call beat them. A client takes this
 * declaration or the original one, not both.
 *
 * @param definition The service, such as `product`.
 * @param options The defaults of all its collections and, in `collections`, of single ones.
 * @returns The declaration.
 * @throws {TypeError} For a name that is not a collection of the service.
 * @throws {TypeError | RangeError} For an unknown option, and for a bad one.
 *
 * @example
 * ```ts
 * import { createCacheClient, withOptions } from "@foodfast/larder";
 * import { product } from "@foodfast/larder/services/product";
 *
 * const shop = withOptions(product, { staleFor: "5m", collections: { products: { near: true } } });
 * await using client = createCacheClient({ driver: "memory" });
 * await client.service(shop).products.set(1, { id: 1, name: "Pho" });
 * ```
 */
export function withOptions<D extends ServiceDefinition>(
  definition: D,
  options: CacheDefaults & {
    readonly collections?: { readonly [N in keyof D["collections"]]?: DefaultsOf<D["collections"][N]> };
  },
): D {
  if (typeof definition !== "object") throw invalid("give a service options", definition, "a declared service");
  const { collections: own = {}, ...all } = options;
  checkDeclared(all, SERVICE_DEFAULTS, definition.name);
  const collections: Record<string, CollectionDefinition> = { ...definition.collections };
  for (const [name, chosen] of Object.entries(own) as [string, CacheDefaults][]) {
    const known = collections[name];
    if (!known) {
      throw invalid(`give ${definition.name} options`, name, `its collections: ${Object.keys(collections).join(", ")}`);
    }
    checkDeclared(chosen, DEFAULT_NAMES, `${definition.name}.${name}`);
    collections[name] = { ...known, ...chosen };
  }
  return { ...definition, ...all, collections };
}
