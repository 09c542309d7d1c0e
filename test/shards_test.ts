import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { globMatch } from "../drivers/glob.ts";
import { memory } from "../drivers/memory.ts";
import { crc16, hashSlot, SLOTS } from "../src/base/crc16.ts";
import { createCacheClient } from "../src/core.ts";
import { type Keyspace, rawKeys } from "../src/entry/keyspace.ts";
import { shards, tagOf } from "../src/entry/shards.ts";
import { product } from "../src/services/product.ts";

const COUNTS = [1, 4, 16, 64, 256];

const logical = fc
  .array(fc.oneof(fc.constantFrom(..."{}*?[]%:#é日🍜", "{a}", "db1:"), fc.string({ unit: "grapheme" })), {
    maxLength: 6,
  })
  .map((parts) => parts.join(""))
  .filter((text) => text !== "" && text.isWellFormed());

const tagsOf = (count: number): string[] => Array.from({ length: count }, (_, i) => tagOf(i, count));

/** Returns the keys of a memory driver. */
async function keysOf(driver: ReturnType<typeof memory>, database = 0): Promise<string[]> {
  const [reply] = await driver.send(database, [["SCAN", "0", "COUNT", 10_000]], { timeout: 1000 });
  return [...(reply as unknown as [string, string[]])[1]].sort();
}

/** Returns what a generator yields. */
async function listed<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

describe("tagOf", () => {
  it("tagOf gives each shard a tag of its own when the numbers of shards differ too", () => {
    const all = COUNTS.flatMap(tagsOf);
    assert.equal(new Set(all).size, 341);
    for (const tag of all) assert.match(tag, /^[0-9a-z]{3,4}$/);
  });

  it("tagOf puts one shard into each of the equal parts of a cluster's slots", () => {
    for (const count of COUNTS) {
      const parts = tagsOf(count).map((tag) => Math.floor((crc16(tag) % SLOTS) / (SLOTS / count)));
      assert.equal(new Set(parts).size, count, `${count}`);
    }
    const off = tagsOf(64).map((tag, i) => (crc16(tag) % SLOTS) - 128 - 256 * i);
    assert.deepEqual([...new Set(off)], [0, 1]);
    assert.equal(off[38], 1);
  });

  it("tagOf gives masters an even share of 64 shards", () => {
    const slots = tagsOf(64).map((tag) => crc16(tag) % SLOTS);
    for (const [masters, least, most] of [
      [3, 21, 22],
      [6, 10, 11],
      [10, 6, 7],
      [16, 4, 4],
      [30, 2, 3],
    ] as const) {
      const sizes = new Map<number, number>();
      for (const slot of slots) {
        const master = Math.floor((slot * masters) / SLOTS);
        sizes.set(master, (sizes.get(master) ?? 0) + 1);
      }
      assert.equal(sizes.size, masters);
      assert.deepEqual([Math.min(...sizes.values()), Math.max(...sizes.values())], [least, most], `${masters}`);
    }
  });
});

describe("shards", () => {
  const space = (prefix: string, count = 64) => shards(count)(0, prefix) as Keyspace;

  it("shards gives the keys of the layout", () => {
    const db1 = space("db1:");
    assert.equal(db1.key("product:123"), "db1:{c9q}product:123");
    assert.equal(db1.of("product:123").lock("product:123"), "db1:{c9q}#larder:lock:product:123");
    assert.equal(db1.key("product:124"), "db1:{jc0}product:124");
    assert.equal(space("shop:db4:").key("cart:u1"), "shop:db4:{gqt}cart:u1");
    assert.equal(db1.shards[0]?.epochKey, "db1:{53t}#larder:clock");
    assert.equal(`${db1.shards[0]?.marksPrefix}chef%3Alinh`, "db1:{53t}#larder:tag:chef%3Alinh");
    assert.equal(space("a{b}:", 4).prefix, "a%7Bb%7D:");
  });

  it("shards keeps everything about a key in its slot when prefix and key have braces", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("", "db1:", "{x}:", "a{:", "}b:"),
        fc.constantFrom(...COUNTS),
        logical,
        (start, count, key) => {
          const keys = space(start, count);
          const shard = keys.of(key);
          const all = [
            keys.key(key),
            shard.lock(key),
            shard.own(`held:${key}`),
            shard.epochKey,
            `${shard.marksPrefix}a`,
          ];
          assert.deepEqual([...new Set(all.map(hashSlot))], [hashSlot(shard.epochKey)]);
          assert.equal(shard.key(key), keys.key(key));
          assert.equal(keys.strip(keys.key(key)), key);
          assert.ok(keys.key(key).startsWith(keys.prefix));
          assert.ok(globMatch(keys.match("*"), keys.key(key)));
          assert.ok(keys.shards.includes(shard));
          assert.equal(keys.own("stats:a"), keys.key("#larder:stats:a"));
        },
      ),
    );
  });

  it("shards throws when the number is another one", () => {
    for (const bad of [0, 2, 63, 128, 1.5, "64", undefined]) {
      assert.throws(
        () => shards(bad as number),
        /Cannot spread keys over shards: .* expected one of 1, 4, 16, 64, 256/,
      );
    }
  });

  it("clients share nothing when their numbers of shards differ", async () => {
    const driver = memory();
    const clients = [...COUNTS.map((count) => shards(count)), undefined].map((made) =>
      createCacheClient({ driver, ...(made && { shards: made }) }).cache(),
    );
    for (const [i, cache] of clients.entries()) {
      for (let id = 0; id < 20; id++) assert.ok(await cache.set(`k${id}`, i, { tags: ["all"] }));
    }
    assert.equal((await keysOf(driver)).filter((key) => !key.includes("#larder:")).length, 6 * 20);
    for (const [i, cache] of clients.entries()) {
      for (let id = 0; id < 20; id++) assert.equal(await cache.get(`k${id}`), i);
      assert.ok(await cache.invalidateTags("all"));
      assert.equal(await cache.get("k1"), undefined);
    }
    const [one, four] = clients;
    await four?.set("mine", 1);
    assert.equal(await one?.clear(), 20);
    assert.equal(await four?.get("mine"), 1);
  });

  it("verbs work across shards when keys are many", async () => {
    const driver = memory();
    await using client = createCacheClient({ driver, shards: shards(16), prefix: "sh{o}p" });
    const { products } = client.service(product);
    const ids = Array.from({ length: 60 }, (_, i) => `p${i}`);
    const dish = (id: string) => ({ id, name: id, price: 1 });
    assert.equal(await products.setMany(ids.map((id) => [id, dish(id)])), 60);
    assert.equal((await products.getMany(ids)).size, 60);
    assert.equal((await listed(products.keys())).length, 60);
    assert.equal(await products.delete(ids.slice(0, 30)), 30);
    const loaded = await products.getOrSetMany(ids, (missing) => new Map(missing.map((id) => [id, dish(id)])));
    assert.equal(loaded.size, 60);
    assert.equal(await products.deletePattern("p1*"), 11);
    assert.ok(await products.invalidateAll());
    assert.equal((await products.getMany(ids)).size, 0);
    const keys = await keysOf(driver, 1);
    assert.equal(keys.filter((key) => key.endsWith("#larder:clock")).length, 16);
    for (const key of keys) assert.match(key, /^sh%7Bo%7Dp:(db1:)?\{g[0-9a-z]{3}\}/);
  });

  it("invalidateTags reaches the entries of every shard when other clients read them", async () => {
    const driver = memory();
    const open = () => createCacheClient({ driver, shards: shards(4) }).cache();
    const [writer, reader] = [open(), open()];
    const ids = Array.from({ length: 40 }, (_, i) => `k${i}`);
    await writer.setMany(
      ids.map((id) => [id, id]),
      { tags: ["odd"] },
    );
    assert.equal((await reader.getMany(ids)).size, 40);
    assert.ok(await writer.invalidateTags("odd"));
    assert.equal((await reader.getMany(ids)).size, 0);
  });

  it("a hostile id stays in its shard and its keyspace", async () => {
    const driver = memory();
    await using client = createCacheClient({ driver, shards: shards(4) });
    const cache = client.cache();
    const tag = tagOf(0, 4);
    for (const id of [`{${tag}}x`, `}{${tag}}`, "{", "}", "{}", `db0:{${tag}}x`]) {
      assert.ok(await cache.set(id, id));
      assert.equal(await cache.get(id), id);
      assert.equal(hashSlot(rawKeys.encode(id)) >= 0, true);
    }
    assert.equal((await listed(cache.keys())).length, 6);
    assert.equal(await cache.clear(), 6);
  });
});
