import { Cache, type CacheContext, type CallOptions } from "./cache.ts";
import { collectionKeys, type Id, rawKeys } from "./keyspace.ts";
import type { Schema } from "./schema.ts";
import { type CacheStats, Counters } from "./stats.ts";
import { describe, parseTtl, type Ttl } from "./ttl.ts";

/** The databases of the Food Fast services; 8-15 are what custom services may take. */
export const SERVICE_DATABASES: Readonly<Record<string, number>> = {
  gateway: 0,
  product: 1,
  auth: 2,
  user: 3,
  order: 4,
  analytics: 5,
  payment: 6,
  notification: 7,
};

/** The ids of collections that do not hash them. */
export type PlainId = string | number | bigint;

/** How a collection is declared. */
export interface CollectionOptions<Out = unknown, In = Out, Hashed extends boolean = boolean> {
  /** The key pattern: a name, a colon and a placeholder, such as `"product:{id}"`. */
  readonly key: string;
  /** The TTL where neither the call nor the variable gives one. @default CACHE_TTL_DEFAULT, 1 hour */
  readonly ttl?: Ttl;
  /** The environment variable that sets the TTL, such as `"CACHE_TTL_PRODUCTS"`. */
  readonly variable?: string;
  /** Checks values on write (what it rejects is an error) and on read (a miss): a valibot schema or any Standard Schema. */
  readonly schema?: Schema<In, Out>;
  /** Whether each read begins the TTL anew. @default false */
  readonly sliding?: boolean;
  /** Whether ids are hashed: for ids that are objects, long or secret. @default false */
  readonly hashed?: Hashed;
}

/** A declared collection. */
export interface CollectionDefinition<K extends Id = Id, Out = unknown, In = Out> extends CollectionOptions<Out, In> {
  /** Types only: what ids may be. */
  readonly id?: K;
}

/** What a declaration's collection becomes. */
export type CollectionOf<D> = D extends CollectionDefinition<infer K, infer Out, infer In> ? Cache<K, Out, In> : never;

/** The collections of a service, by name. */
// biome-ignore lint/suspicious/noExplicitAny: stands for collections of every type
export type Collections = Readonly<Record<string, CollectionDefinition<any, any, any>>>;

/** What every service has beside its collections and verbs. Each verb touches this service's keys and no other's. */
export interface ServiceBase {
  /** The service's name. */
  readonly name: string;
  /** The number of its database. */
  readonly database: number;
  /** The generic verbs over all of the service's keys. */
  readonly cache: Cache;
  /** Deletes all of the service's keys, and answers how many. */
  clear(options?: CallOptions): Promise<number>;
  /** The service's logical keys, such as `"product:123"`. */
  keys(pattern?: string, options?: CallOptions): AsyncGenerator<string, void, undefined>;
  /** Deletes the logical keys that match a glob, and answers how many. */
  deletePattern(pattern: string, options?: CallOptions): Promise<number>;
  /** What the service and its collections did since this client was made. */
  stats(): CacheStats;
}

/** A service as its own verbs see it. */
export type ServiceCore<C extends Collections> = ServiceBase & { readonly [N in keyof C]: CollectionOf<C[N]> };

/** A declared service. */
export interface ServiceDefinition<C extends Collections = Collections, V extends object = object> {
  /** The name: letters, digits, `_` and `-`. */
  readonly name: string;
  /** The database: 8-15 for a custom service. */
  readonly database: number;
  /** The collections by name. */
  readonly collections: C;
  /** Makes the verbs that need domain knowledge. */
  readonly verbs?: (service: ServiceCore<C>) => V;
  /** Throws for values that no collection of the service may store. */
  readonly refuse?: (value: unknown) => void;
}

/** What a declaration's service becomes. */
export type ServiceOf<D> = D extends ServiceDefinition<infer C, infer V> ? ServiceCore<C> & V : never;

/**
 * Declares a collection: one kind of value, its keys, its schema and its TTL.
 *
 * @param options Key pattern, TTL, variable, schema, and whether reads slide the TTL and ids are hashed.
 * @returns The declaration, for {@linkcode defineService}.
 * @throws {TypeError} For a key pattern of another form.
 * @throws {TypeError | RangeError} For a bad TTL.
 *
 * @example
 * ```ts
 * import { collection } from "@foodfast/larder";
 *
 * const points = collection<{ balance: number }>({ key: "points:{userId}", ttl: "10m" });
 * ```
 */
export function collection<Out = unknown, In = Out, Hashed extends boolean = false>(
  options: CollectionOptions<Out, In, Hashed>,
): CollectionDefinition<Hashed extends true ? Id : PlainId, NoInfer<Out>, NoInfer<In>> {
  collectionKeys(options.key);
  if (options.ttl !== undefined) parseTtl(options.ttl, `ttl of ${options.key}`);
  return options;
}

const RESERVED = ["name", "database", "cache", "clear", "keys", "deletePattern", "stats", "then"];

/**
 * Declares a service: the collections of one domain, and its verbs.
 *
 * @param definition Name, database, collections and verbs.
 * @returns The declaration, for `client.service(...)`.
 * @throws {TypeError} For a bad name, a collection that is named like a verb of every service, or two collections with one key pattern.
 * @throws {RangeError} For a database outside 0-15.
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
  const { name, database, collections } = definition;
  if (!/^[\w-]+$/.test(name)) {
    throw new TypeError(`cannot define the service ${describe(name)}: accepted are letters, digits, _ and -`);
  }
  if (!(Number.isInteger(database) && database >= 0 && database <= 15)) {
    throw new RangeError(`cannot define the service ${name} in database ${describe(database)}: accepted are 0 to 15`);
  }
  const taken = new Map<string, string>();
  for (const [collection, { key }] of Object.entries(collections)) {
    if (RESERVED.includes(collection)) {
      throw new TypeError(`cannot name a collection of ${name} ${collection}: every service has that already`);
    }
    const prefix = key.slice(0, key.indexOf(":"));
    const other = taken.get(prefix);
    if (other) throw new TypeError(`cannot define ${name}: ${other} and ${collection} have the same keys, ${prefix}:`);
    taken.set(prefix, collection);
  }
  return definition;
}

/**
 * A service with schemas of the application's own in the place of some collections'.
 *
 * @param definition The service, such as `product`.
 * @param schemas The schemas by collection.
 * @returns The declaration, with the schemas' types.
 * @throws {TypeError} For a name that is no collection of the service.
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
      ? CollectionDefinition<IdOf<C[N]>, Out, In>
      : C[N];
  },
  V
> {
  const collections: Record<string, CollectionDefinition> = { ...definition.collections };
  for (const [name, schema] of Object.entries(schemas)) {
    const known = collections[name];
    if (!known) {
      const accepted = Object.keys(collections).join(", ");
      throw new TypeError(`cannot give ${definition.name}.${name} a schema: its collections are ${accepted}`);
    }
    collections[name] = { ...known, schema: schema as Schema };
  }
  return { ...definition, collections } as never;
}

/** The ids of a declared collection. */
export type IdOf<D> = D extends CollectionDefinition<infer K, infer _Out, infer _In> ? K : never;

/**
 * Makes a service of its declaration.
 *
 * @param definition The declaration.
 * @param context What its caches stand on: all but what a collection declares itself.
 * @param ttls The TTLs that variables set, in milliseconds.
 * @param counters Takes the counters of the service and of each collection.
 * @returns The service.
 */
export function createService<C extends Collections, V extends object>(
  definition: ServiceDefinition<C, V>,
  context: Omit<CacheContext, "target" | "shape" | "counters">,
  ttls: ReadonlyMap<string, number | undefined>,
  counters: Counters[],
): ServiceCore<C> & V {
  const { name, database, collections, refuse } = definition;
  const rest = new Counters();
  counters.push(rest);
  const cache = new Cache<string>({
    ...context,
    refuse,
    target: { service: name, collection: "" },
    shape: rawKeys,
    counters: rest,
  });
  const core: ServiceBase & Record<string, unknown> = {
    name,
    database,
    cache,
    clear: (options) => cache.clear(options),
    keys: (pattern, options) => cache.keys(pattern, options),
    deletePattern: (pattern, options) => cache.deletePattern(pattern, options),
    stats: () => Counters.total(counters),
  };
  for (const [collection, { key, ttl, variable = "", schema, sliding, hashed }] of Object.entries(collections)) {
    const own = new Counters();
    counters.push(own);
    core[collection] = new Cache({
      ...context,
      refuse,
      schema,
      sliding: sliding ?? false,
      target: { service: name, collection },
      shape: collectionKeys(key, hashed),
      counters: own,
      ttl: ttls.has(variable) ? ttls.get(variable) : ttl === undefined ? context.ttl : parseTtl(ttl),
    });
  }
  const service = core as unknown as ServiceCore<C>;
  return Object.assign(service, definition.verbs?.(service));
}
