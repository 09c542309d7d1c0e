/** A real redis-server with products in it, our product service and node-redis on it. */
import assert from "node:assert/strict";
import { createClient } from "redis";
import { type Cache, createCacheClient, type PlainId } from "../../mod.ts";
import type { Product } from "../../src/services/product.ts";
import { product } from "../../test/fixtures/product.ts";
import { startRedis } from "../../test/helpers/redis_server.ts";

/** Two ways to the same products. */
export interface Products {
  /** Through the product service, with its schema. */
  readonly ours: Cache<PlainId, Product>;
  /** Through node-redis: GET and JSON.parse. */
  readonly theirs: (id: number) => Promise<unknown>;
  close(): Promise<void>;
}

/** Starts the server and stores `count` products, ids from 1, for each side. */
export async function openProducts(count: number): Promise<Products> {
  const redis = await startRedis();
  const products = Array.from({ length: count }, (_, i) => product(i + 1));
  await fill(redis.url, products);
  const client = createCacheClient({ env: {}, url: redis.url });
  const ours = client.service("product").products;
  const peer = createClient({ url: redis.url });
  await peer.connect();
  const theirs = async (id: number): Promise<unknown> => {
    const text = await peer.get(`product:${id}`);
    return text === null ? undefined : JSON.parse(text);
  };
  assert.deepEqual(await ours.get(count), product(count));
  assert.deepEqual(await theirs(count), product(count));
  return {
    ours,
    theirs,
    async close() {
      await client.close();
      await peer.disconnect();
      await redis.stop();
    },
  };
}

/**
 * Stores the products over connections of its own, which it closes. On Node, a connection of node-redis that once
 * carried hundreds of commands at a time leaves garbage behind with later commands, which only a full collection finds.
 */
async function fill(url: string, products: readonly Product[]): Promise<void> {
  const client = createCacheClient({ env: {}, url, timeout: 5000 });
  const written = await client.service("product").products.setMany(products.map((one) => [one.id as number, one]));
  assert.equal(written, products.length);
  await client.close();
  const peer = createClient({ url });
  await peer.connect();
  await Promise.all(products.map((one) => peer.set(`product:${one.id}`, JSON.stringify(one))));
  await peer.disconnect();
}
