/**
 * A cache client for Bun, Deno, Node and edge functions, over an embedded store, Redis or Upstash.
 *
 * @example The same code over every store
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 *
 * await using client = createCacheClient(); // the store that the environment names, otherwise memory
 * const product = client.service("product");
 * const pho = await product.products.getOrSet(123, () => ({ id: 123, name: "Pho" }));
 * console.log(pho?.name); // "Pho"
 * ```
 *
 * @module
 */
export * from "./src/client/public.ts";
export { createCacheClient, getCacheClient, getCacheService } from "./src/main.ts";
