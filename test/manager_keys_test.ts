import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { after, before, describe, it } from "node:test";
import type { Connection } from "../drivers/driver.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { type CacheClient, createCacheClient, defineService } from "../mod.ts";
import {
  clear,
  copy,
  finish,
  get,
  type KeyEntry,
  type ListOptions,
  list,
  restore,
  type Target,
} from "../src/manager/mod.ts";
import { AND_SHARDS, gate, onWires } from "./helpers/engine.ts";
import { type RedisServer, startRedis } from "./helpers/redis_server.ts";

async function keysOf(client: CacheClient, options: ListOptions): Promise<KeyEntry[]> {
  const found: KeyEntry[] = [];
  for await (const entry of list(client, options)) found.push(entry);
  return found;
}

const names = async (client: CacheClient, options: ListOptions): Promise<string[]> =>
  (await keysOf(client, options)).map(({ key }) => key).sort();

onWires(
  "manager",
  (onWire, wire) => {
    for (const databases of wire === "REST" ? (["prefixed"] as const) : (["numbered", "prefixed"] as const)) {
      const mode = { databases };

      it(
        `clear (${databases}) deletes the keys of one service only, with any prefix`,
        onWire(async ({ make }) => {
          const prefixes = ["", "a", "a*", "[a]", "a:b", "a\\", "?"];
          const clients = prefixes.map((prefix) => make({ ...mode, prefix }));
          const fill = async (): Promise<void> => {
            for (const client of clients.slice(1)) {
              await client.service("product").products.set("1", { id: "1", name: "x" });
              await client.service("user").cache.set("product:1", 1);
            }
          };
          for (const client of clients.slice(1)) {
            await fill();
            assert.equal((await finish(clear(client, { service: "product" }))).keys, 1);
            for (const other of clients.slice(1)) {
              const left = await names(other, { service: "product" });
              assert.deepEqual(left, other === client ? [] : ["product:1"]);
              assert.deepEqual(await names(other, { service: "user" }), ["product:1"]);
            }
          }
        }),
      );

      it(
        `clear (${databases}) takes a glob, counts with dryRun, and keeps the record of invalidations`,
        onWire(async ({ make }) => {
          const client = make(mode);
          const cache = client.cache({ database: 9 });
          await cache.setMany(
            [1, 2, 3].map((n) => [`search:${n}`, n]),
            { tags: ["t"] },
          );
          await cache.set("other", 1);
          const options = { database: 9, pattern: "search:*" };
          assert.deepEqual(await finish(clear(client, { ...options, dryRun: true })), {
            keys: 3,
            unreadable: 0,
            refused: null,
            done: true,
          });
          assert.equal((await names(client, { database: 9 })).length, 4);
          assert.equal((await finish(clear(client, options))).keys, 3);
          assert.deepEqual(await names(client, { database: 9 }), ["other"]);
          assert.equal((await finish(clear(client, { database: 9 }))).keys, 1);
          await cache.set("again", 1, { tags: ["t"] });
          await cache.invalidateTags("t");
          await finish(clear(client, { database: 9, pattern: "none" }));
          assert.equal(await cache.get("again"), undefined);
        }),
      );

      it(
        `clear (${databases}) of a service is not undone by a load in-flight, in any client`,
        onWire(async ({ make }) => {
          const [one, two] = [make(mode), make(mode)];
          const { products } = one.service("product");
          await products.set("0", { id: "0", name: "there" });
          for (const client of [one, two]) {
            const [source, started] = [gate<{ id: string; name: string }>(), gate()];
            const loading = products.getOrSet("1", () => {
              started.open();
              return source.promise;
            });
            await started.promise;
            await finish(clear(client, { service: "product" }));
            source.open({ id: "1", name: "old" });
            assert.equal((await loading).name, "old");
            assert.equal(await products.get("1"), undefined);
            assert.equal(await two.service("product").products.has("1"), false);
          }
        }),
      );

      it(
        `clear (${databases}) deletes thousands of keys`,
        onWire(async ({ make }) => {
          const client = make(mode);
          const cache = client.cache({ database: 9 });
          for (let from = 0; from < 5000; from += 1000) {
            await cache.setMany(Array.from({ length: 1000 }, (_, i) => [`key:${from + i}`, i]));
          }
          await client.cache({ database: 10 }).set("stays", 1);
          let steps = 0;
          let last = 0;
          for await (const { keys } of clear(client, { database: 9 })) {
            assert.ok(keys >= last);
            last = keys;
            steps++;
          }
          assert.ok(steps > 2);
          assert.equal(last, 5000);
          assert.equal(await client.cache({ database: 10 }).get("stays"), 1);
        }),
      );

      it(
        `list (${databases}) returns type, TTL and size, sorted and limited`,
        onWire(async ({ make }) => {
          const client = make(mode);
          const cache = client.cache({ database: 9 });
          await cache.set("a", "x", { ttl: "1h" });
          await cache.set("b", "x".repeat(5000), { ttl: "forever" });
          await cache.set("c", "x".repeat(100), { ttl: "1m" });
          const all = await keysOf(client, { database: 9, sort: "key" });
          assert.deepEqual(
            all.map(({ key, type }) => [key, type]),
            [
              ["a", "string"],
              ["b", "string"],
              ["c", "string"],
            ],
          );
          const [a, b, c] = all as [KeyEntry, KeyEntry, KeyEntry];
          assert.ok(a.ttl !== null && a.ttl > 3_500_000 && a.ttl <= 3_600_000);
          assert.equal(b.ttl, null);
          assert.ok(b.size !== null && b.size >= 5000 && (c.size ?? 0) >= 100 && (c.size ?? 0) < 1000);
          const order = async (options: Partial<ListOptions>): Promise<string> =>
            (await keysOf(client, { ...options, database: 9 } as ListOptions)).map(({ key }) => key).join("");
          assert.equal(await order({ sort: "size" }), "bca");
          assert.equal(await order({ sort: "ttl" }), "cab");
          assert.equal(await order({ sort: "size", limit: 1 }), "b");
          assert.equal((await order({ limit: 2 })).length, 2);
          assert.equal(await order({ pattern: "[ab]", sort: "key" }), "ab");
        }),
      );
    }

    it(
      "get reads entries with their metadata",
      onWire(async ({ make }) => {
        const key = Buffer.alloc(32, 7).toString("base64");
        const client = make({ encryption: { keys: { k1: key } }, compressAbove: 200 });
        const cache = client.cache({ database: 9 });
        await cache.set("date", { at: new Date(5), list: [1n] }, { tags: ["x"], ttl: "1h" });
        await cache.set("long", "y".repeat(1000));
        await cache.increment("count", { by: 7 });
        const date = await get(client, { database: 9, key: "date" });
        assert.deepEqual(date?.value, { at: new Date(5), list: [1n] });
        assert.deepEqual(date?.entry?.tags, ["x"]);
        assert.equal(date?.type, "string");
        assert.ok((date?.ttl ?? 0) > 3_500_000);
        const long = await get(client, { database: 9, key: "long" });
        assert.equal(long?.value, "y".repeat(1000));
        assert.equal(long?.entry?.packed, true);
        assert.equal((await get(client, { database: 9, key: "count" }))?.value, "7");
        assert.equal(await get(client, { database: 9, key: "none" }), undefined);
        const secret = defineService({ name: "secret", database: 10, encrypted: true, collections: {} });
        await client.service(secret).cache.set("s", { card: 1 });
        const sealed = await get(client, { service: secret, key: "s" });
        assert.equal(sealed?.value, undefined);
        assert.equal(sealed?.entry?.sealed, "k1");
      }),
    );

    it(
      "clear, list and get refuse bad arguments",
      onWire(async ({ make }) => {
        const client = make();
        await assert.rejects(finish(clear(client, { service: "nope" })), /received "nope", expected gateway/);
        await assert.rejects(
          finish(clear(client, { service: "product", database: 9 } as unknown as Target)),
          /received both a service and a database, expected one of them/,
        );
        await assert.rejects(
          finish(clear(client, { database: 99 })),
          /received 99, expected a whole number from 0 to 15/,
        );
        await assert.rejects(finish(clear(client, {} as never)), /expected a service or a database/);
        await assert.rejects(finish(clear(client, { database: 1, pattern: "" })), /received "", expected a glob/);
        await assert.rejects(keysOf(client, { database: 1, limit: 0 }), /a whole number of 1 or more/);
        await assert.rejects(
          keysOf(client, { database: 1, sort: "x" as never }),
          /received "x", expected key, size or ttl/,
        );
        await assert.rejects(get(client, { database: 1, key: "" }), /not empty/);
        await assert.rejects(
          finish(clear(client, { database: 1, signal: AbortSignal.abort("stop") })),
          (e) => e === "stop",
        );
      }),
    );
  },
  AND_SHARDS,
);

describe("manager on keys of every type and of any bytes over TCP", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("list, get and clear take keys and values when they are not UTF-8", { timeout: 60_000 }, async () => {
    await using client = createCacheClient({ env: {}, url: redis.url });
    const driver = nodeRedis({ url: redis.url });
    const connection = (await driver.connect?.(9)) as Connection;
    const odd = new Uint8Array([0, 255, 254, 10, 13]);
    await connection.send([
      ["SET", odd, odd],
      ["SET", "\ufffd", "fine"],
      ["RPUSH", "l", odd, "b"],
      ["HSET", "h", odd, "1"],
    ]);
    await connection.send([
      ["ZADD", "z", 1.5, odd, "inf", "most", "-inf", "least"],
      ["SADD", "s", odd],
      ["XADD", "x", "1-1", "f", odd],
    ]);
    const found = await keysOf(client, { database: 9 });
    assert.equal(found.length, 7);
    assert.deepEqual(found.find(({ bytes }) => bytes)?.bytes, odd);
    assert.ok(found.every(({ unreadable }) => !unreadable));
    const value = async (key: string | Uint8Array): Promise<unknown> =>
      (await get(client, { database: 9, key }))?.value;
    assert.deepEqual(await value(odd), odd);
    assert.equal(await value("\ufffd"), "fine");
    assert.deepEqual(await value("l"), [odd, "b"]);
    assert.deepEqual(await value("h"), [[odd, "1"]]);
    assert.deepEqual(await value("z"), [
      ["least", Number.NEGATIVE_INFINITY],
      [odd, 1.5],
      ["most", Number.POSITIVE_INFINITY],
    ]);
    assert.deepEqual(await value("s"), [odd]);
    assert.deepEqual(await value("x"), [["1-1", [["f", odd]]]]);
    await connection.send(Array.from({ length: 3000 }, (_, i) => ["HSET", "big", `f${i}`, "v"]));
    const big = await get(client, { database: 9, key: "big" });
    assert.equal(big?.length, 3000);
    assert.ok(Array.isArray(big?.value) && big.value.length === 1000);
    assert.equal((await finish(clear(client, { database: 9 }))).keys, 8);
    assert.deepEqual(await connection.send([["DBSIZE"]]), [0]);
    await driver.close();
  });
});

describe("options of the manager", () => {
  it("clear, copy, list and restore refuse an unknown option, and delete nothing", async () => {
    await using client = createCacheClient({ driver: "memory", env: {} });
    await using other = createCacheClient({ driver: "memory", env: {} });
    await client.cache({ database: 9 }).set("a", 1);
    // biome-ignore lint/suspicious/noExplicitAny: the compiler would refuse it
    const bad: any = { database: 9, dryrun: true };
    for (const run of [
      () => finish(clear(client, bad)),
      () => finish(copy(client, other, bad)),
      () => finish(restore(client, bad)),
      () => keysOf(client, bad),
    ]) {
      await assert.rejects(run, {
        name: "TypeError",
        message: /^Cannot set the options of \w+: received "dryrun", expected \{ service, database, /,
      });
      await assert.rejects(
        finish(clear(client, undefined as never)),
        /Cannot set the options of clear: received a value/,
      );
    }
    assert.equal(await client.cache({ database: 9 }).get("a"), 1);
  });
});
