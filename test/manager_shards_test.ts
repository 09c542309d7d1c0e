/** Tools on keys that are spread over shards, in one store and between layouts. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { type CacheClient, type ClientOptions, createCacheClient, defineService } from "../mod.ts";
import {
  backup,
  clear,
  copy,
  diagnose,
  finish,
  get,
  inspect,
  type KeyEntry,
  list,
  restore,
} from "../src/manager/mod.ts";
import { product } from "./fixtures/product.ts";
import { BackupFile } from "./helpers/backup_file.ts";
import { type RedisServer, startRedis } from "./helpers/redis_server.ts";

let redis: RedisServer;
const clients: CacheClient[] = [];

/** Makes a client of a store: a part of Redis by its number, or a new store in memory. */
function make(store: number | "memory", shards: number | undefined, options: ClientOptions = {}): CacheClient {
  const env = shards === undefined ? {} : { CACHE_SHARDS: `${shards}` };
  const place = store === "memory" ? { driver: memory() } : { url: redis.url, prefix: `part${store}` };
  const client = createCacheClient({ env, timeout: 5000, databases: "prefixed", ...place, ...options });
  clients.push(client);
  return client;
}

async function keysOf(client: CacheClient, options: Parameters<typeof list>[1]): Promise<string[]> {
  const found: KeyEntry[] = [];
  for await (const entry of list(client, options)) found.push(entry);
  return found.map(({ key }) => key).sort();
}

const ALL = Array.from({ length: 60 }, (_, id) => id);
const service = "product";

/** Writes products, of which every third is invalidated by its tag afterwards, and products 50 to 59 by all of them. */
async function fill(client: CacheClient): Promise<void> {
  const { products } = client.service(service);
  await products.set(50, product(50));
  await client.service(service).invalidateAll();
  for (const id of ALL.slice(0, 50)) await products.set(id, product(id), { tags: [`third:${id % 3}`] });
  await client.service(service).invalidateTags("third:0");
  // Written after the invalidation, so valid.
  await products.set(3, product(3), { tags: ["third:0"] });
}

const VALID = ALL.slice(0, 50).filter((id) => id % 3 !== 0 || id === 3);

async function hits(client: CacheClient): Promise<number[]> {
  return [...(await client.service(service).products.getMany(ALL)).keys()]
    .sort((a, b) => Number(a) - Number(b))
    .map(Number);
}

describe("tools on shards", () => {
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis?.stop());
  afterEach(async () => {
    const open = clients.splice(0);
    await Promise.all(open.map((client) => client.close()));
    const client = createCacheClient({ env: {}, url: redis.url });
    const { driver } = await client.locate({ database: 0 });
    await driver.send(0, [["FLUSHALL"]]);
    await client.close();
  });

  for (const store of [0, "memory"] as const) {
    it(`list, get and clear find the keys of all shards over ${store === 0 ? "Redis" : "memory"}`, async () => {
      const client = make(store, 4, { prefix: "shop" });
      await client.service(service).products.setMany(ALL.map((id) => [id, product(id)]));
      await client.service("user").cache.set("a", 1);
      await client.service(service).invalidateTags("x");
      const names = ALL.map((id) => `product:${id}`).sort();
      assert.deepEqual(await keysOf(client, { service }), names);
      assert.deepEqual(await keysOf(client, { database: 1 }), names);
      assert.deepEqual(
        await keysOf(client, { service, pattern: "product:1?" }),
        names.filter((key) => /:1\d/.test(key)),
      );
      assert.deepEqual((await get(client, { service, key: "product:7" }))?.value, product(7));
      const found = (await inspect(client)).services.find((one) => one.service === service);
      assert.equal(found?.keys, ALL.length);
      assert.equal((await finish(clear(client, { service, pattern: "product:1?" }))).keys, 10);
      const { keys, refused } = await finish(clear(client, { service }));
      assert.deepEqual([keys, refused === null || store === "memory"], [ALL.length - 10, true]);
      assert.deepEqual(await keysOf(client, { service }), []);
      assert.deepEqual(await keysOf(client, { service: "user" }), ["a"]);
    });
  }

  const LAYOUTS = [undefined, 1, 4, 64];
  for (const from of LAYOUTS) {
    for (const to of LAYOUTS) {
      it(`restore and copy judge entries by shards, from ${from ?? "no"} of them to ${to ?? "none"}`, async () => {
        const source = make(0, from);
        await fill(source);
        assert.deepEqual(await hits(source), VALID);
        const file = new BackupFile();
        const { unreadable } = await finish(backup(source, { service, write: file.write }));
        assert.equal(unreadable, 0);
        assert.deepEqual([file.lines[0].format, file.lines[0].shards], from === undefined ? [1, undefined] : [2, from]);
        const restored = make("memory", to);
        await finish(restore(restored, { service, read: file.read }));
        assert.deepEqual(await hits(restored), VALID, "restored");
        const copied = make(1, to);
        await finish(copy(source, copied, { service }));
        assert.deepEqual(await hits(copied), VALID, "copied");
        // The marks came along: an invalidation after it finds the entries.
        for (const client of [restored, copied]) {
          await client.service(service).invalidateTags("third:1");
          assert.deepEqual(
            await hits(client),
            VALID.filter((id) => id % 3 !== 1),
          );
        }
      });
    }
  }

  it("restore builds collections in the shard of their key", async () => {
    const source = make(0, undefined);
    const { driver, prefix } = await source.locate({ service });
    const lists = ALL.flatMap((id) => [["RPUSH", `${prefix}list:${id}`, "a", "b"]] as const);
    await driver.send(0, lists);
    const file = new BackupFile();
    await finish(backup(source, { service, write: file.write }));
    const target = make(1, 4);
    const { written } = await finish(restore(target, { service, read: file.read }));
    assert.equal(written, ALL.length);
    assert.deepEqual((await get(target, { service, key: "list:7" }))?.value, ["a", "b"]);
    assert.equal((await keysOf(target, { service })).length, ALL.length);
  });

  it("diagnose finds keys of another number of shards", async () => {
    const layoutOf = async (client: CacheClient) => {
      for await (const finding of diagnose(client)) if (finding.check === "layout") return finding;
      return undefined;
    };
    const client = make(0, 4);
    await client.service(service).invalidateTags("x");
    assert.deepEqual(await layoutOf(client), { check: "layout", level: "ok", evidence: "all keys are of 4 shards" });
    for (const shards of [undefined, 16]) {
      const other = make(0, shards);
      await other.service("user").invalidateTags("x");
      const wrong = await layoutOf(other);
      assert.equal(wrong?.level, "warning");
      assert.match(
        wrong?.evidence ?? "",
        new RegExp(`^this client has ${shards ?? "no"} shards, but product has keys of 4`),
      );
    }
    assert.equal(await layoutOf(make("memory", undefined)), undefined);
  });

  it("copy refuses a store whose keys are of another number of shards than its client has", async () => {
    const written = make(7, 4);
    await fill(written);
    const to = make(8, 64);
    for (const shards of [undefined, 16]) {
      const steps = finish(copy(make(7, shards), to, { service }));
      await assert.rejects(steps, /Cannot copy product: its client has (no|16) shards, but .* of 4 shards/);
    }
    assert.deepEqual(await keysOf(to, { service }), []);
    await finish(copy(written, to, { service }));
    assert.deepEqual(await hits(to), VALID);
  });

  it("a database that services share is listed, cleared and copied with their keys", async () => {
    const menu = defineService({ name: "menu", collections: {} });
    const source = make(0, 4);
    await source.service(menu).cache.set("dish:1", 1, { tags: ["x"] });
    await source.service(menu).invalidateTags("y");
    await source.cache({ database: 8 }).set("plain", 2);
    const names = await keysOf(source, { database: 8 });
    assert.equal(names.length, 2);
    assert.ok(names.includes("plain"));
    const [dish = ""] = names.filter((name) => name !== "plain");
    assert.match(dish, /^menu:\{\w+\}dish:1$/);
    assert.equal((await get(source, { database: 8, key: dish }))?.value, 1);
    for (const shards of [undefined, 4, 16]) {
      const target = make("memory", shards);
      await finish(copy(source, target, { database: 8 }));
      assert.equal(await target.service(menu).cache.get("dish:1"), 1);
      assert.equal(await target.cache({ database: 8 }).get("plain"), 2);
    }
    assert.equal((await finish(clear(source, { database: 8 }))).keys, 2);
    assert.deepEqual(await keysOf(source, { database: 8 }), []);
  });
});
