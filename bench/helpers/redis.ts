/** A real redis-server with products in it, our product service and node-redis on it. */
import assert from "node:assert/strict";
import { createClient } from "redis";
import { type Cache, createCacheClient, type PlainId } from "../../mod.ts";
import type { Product } from "../../src/services/product.ts";
import { product } from "../../test/fixtures/product.ts";
import { type RedisServer, startRedis } from "../../test/helpers/redis_server.ts";

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

/** Two ways to write the same products: `times` writes of each of `callers` at a time. */
export interface Sets {
  readonly redis: RedisServer;
  readonly ours: (times: number, callers: number) => Promise<unknown>;
  readonly theirs: (times: number, callers: number) => Promise<unknown>;
  close(): Promise<void>;
}

/** The TTL of the peer's writes, that of the product service. */
const TTL_MS = 3_600_000;

/** Starts a server, with the product service and node-redis's SET PX and JSON.stringify on it. */
export async function openSets(): Promise<Sets> {
  const redis = await startRedis();
  const products = Array.from({ length: 500 }, (_, i) => smallProduct(i + 1));
  const client = createCacheClient({ env: {}, url: redis.url, timeout: 5000 });
  const { products: cache } = client.service("product");
  const peer = createClient({ url: redis.url });
  await peer.connect();
  const each = (set: (id: number, one: Product) => Promise<unknown>) => async (times: number, callers: number) => {
    for (let time = 0; time < times; time++) {
      const sent: Promise<unknown>[] = [];
      for (let i = 0; i < callers; i++) sent.push(set(i + 1, products[i] as Product));
      await Promise.all(sent);
    }
  };
  const ours = each((id, one) => cache.set(id, one));
  const theirs = each((id, one) => peer.set(`product:${id}`, JSON.stringify(one), { PX: TTL_MS }));
  await ours(1, 500);
  await theirs(1, 500);
  assert.deepEqual(await cache.get(500), smallProduct(500));
  assert.equal(await peer.get("product:500"), JSON.stringify(smallProduct(500)));
  return {
    redis,
    ours,
    theirs,
    async close() {
      await client.close();
      await peer.disconnect();
      await redis.stop();
    },
  };
}

/** A product of 1.1 KB as text. */
function smallProduct(id: number): Product {
  const { images: _, ...small } = product(id);
  return small as Product;
}
