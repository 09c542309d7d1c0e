import * as v from "valibot";
import type { CallOptions } from "../cache/call.ts";
import type { Id } from "../entry/keyspace.ts";
import { idSchema } from "./id.ts";
import type { CollectionDefinition, PlainId, ServiceDefinition } from "./service.ts";
import { taken } from "./taken.ts";

/** A product of the catalogue. Further fields are kept. */
export interface Product {
  /** The product's id. */
  id: string | number;
  /** Its name. */
  name: string;
  /** Its price, in the shop's currency. */
  price?: number | undefined;
  /** Its category, which `invalidateProduct` clears with it. */
  categoryId?: string | number | undefined;
  /** Further fields. */
  [field: string]: unknown;
}

/** A category of the catalogue. Further fields are kept. */
export interface Category {
  /** The category's id. */
  id: string | number;
  /** Its name. */
  name: string;
  /** Further fields. */
  [field: string]: unknown;
}

/** The verbs of {@linkcode product}. */
export interface ProductVerbs {
  /**
   * Makes misses of the entries that a change of the product makes wrong: the product, its category and all searches.
   * If the caller does not name the category, the cached product does, which costs a round trip. If neither is known,
   * all categories become misses. The rest is one round trip, however many searches there are.
   *
   * @param id The product.
   * @param options `categoryId`, when the caller knows it; deadline of each step, and error handling.
   * @returns `true` if the store took it; `false` if it is away, or took only a part.
   */
  invalidateProduct(id: PlainId, options?: CallOptions & { readonly categoryId?: PlainId }): Promise<boolean>;
  /**
   * Makes misses of a category and all searches, in one round trip.
   *
   * @param id The category.
   * @param options Deadline and error handling.
   * @returns `true` if the store took it; `false` if it is away, or took only a part.
   */
  invalidateCategory(id: PlainId, options?: CallOptions): Promise<boolean>;
}

/** The product service: catalogue, search results and categories, in database 1. */
export const product: ServiceDefinition<
  {
    readonly products: CollectionDefinition<PlainId, Product>;
    readonly searches: CollectionDefinition<Id, unknown>;
    readonly categories: CollectionDefinition<PlainId, Category>;
  },
  ProductVerbs
> = {
  name: "product",
  database: 1,
  collections: {
    products: {
      key: "product:{id}",
      ttl: "1h",
      variable: "CACHE_TTL_PRODUCTS",
      schema: v.looseObject({
        id: idSchema,
        name: v.string(),
        price: v.optional(v.number()),
        categoryId: v.optional(idSchema),
      }),
    },
    searches: { key: "search:{hash}", ttl: "30m", variable: "CACHE_TTL_SEARCH", hashed: true, tags: ["searches"] },
    categories: {
      key: "category:{id}",
      ttl: "2h",
      variable: "CACHE_TTL_CATEGORIES",
      schema: v.looseObject({ id: idSchema, name: v.string() }),
      tags: ["categories"],
    },
  },
  verbs: ({ cache, products, categories }, defaults): ProductVerbs => ({
    async invalidateProduct(id, options) {
      const category = options?.categoryId ?? (await products.get(id, options))?.categoryId;
      const tags = category === undefined ? ["searches", "categories"] : "searches";
      return taken(defaults, options, (each) => [
        cache.invalidateTags(tags, each),
        products.delete(id, each),
        category === undefined || categories.delete(category, each),
      ]);
    },
    invalidateCategory: (id, options) =>
      taken(defaults, options, (each) => [cache.invalidateTags("searches", each), categories.delete(id, each)]),
  }),
};
