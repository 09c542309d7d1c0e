import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { type CacheClient, collection, createCacheClient, defineService } from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { backup, ConflictError, type CopyOptions, copy, finish, list, type Problem } from "../src/manager/mod.ts";
import type { Listener } from "../src/runtime/listen.ts";
import { assertSame, backedUp } from "./helpers/backup_file.ts";
import { dump, withConnection } from "./helpers/dump.ts";
import { onWires } from "./helpers/engine.ts";
import { type RedisServer, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

const MENU = defineService({ name: "menu", collections: { dishes: collection<string>({ key: "dish:{id}" }) } });

onWires("copy of services that share a database", (onWire) => {
  it(
    "copy keeps entries of the destination valid when it skips, and copies valid ones",
    onWire(async ({ make }) => {
      const [from, to] = [make({ prefix: "from" }), make({ prefix: "to" })];
      const [source, target] = [from.service(MENU).dishes, to.service(MENU).dishes];
      await target.set(1, "own");
      await source.set(2, "dead");
      await from.service(MENU).invalidateAll();
      await source.set(3, "valid");
      await from.cache({ database: 8 }).set("plain", 1);
      await source.set(1, "theirs");
      await assert.rejects(finish(copy(from, to, { all: true })), /^ConflictError: .*\(menu:dish:1\)/);
      const { written, skipped } = await finish(copy(from, to, { all: true, onConflict: "skip" }));
      assert.deepEqual([written, skipped], [2, 1]);
      assert.deepEqual([await target.get(1), await target.get(2), await target.get(3)], ["own", undefined, "valid"]);
      assert.equal(await to.cache({ database: 8 }).get("plain"), 1);
    }),
  );

  it(
    "copy does not revive invalidated entries of the destination when it replaces",
    onWire(async ({ make }) => {
      const [from, to] = [make({ prefix: "from" }), make({ prefix: "to" })];
      const [source, target] = [from.service(MENU).dishes, to.service(MENU).dishes];
      await from.service(MENU).invalidateTags("any");
      await source.set(1, "theirs");
      await target.set(1, "own");
      await target.set(2, "dead");
      await to.service(MENU).invalidateAll();
      await finish(copy(from, to, { database: 8, onConflict: "replace" }));
      assert.deepEqual([await target.get(1), await target.get(2)], ["theirs", undefined]);
      await to.service(MENU).invalidateAll();
      assert.equal(await target.get(1), undefined);
    }),
  );
});

describe("copy", () => {
  let from: RedisServer;
  let to: RedisServer;
  let server: Listener;
  const token = "test-token";
  const behind: ReturnType<typeof nodeRedis>[] = [];
  const clients: CacheClient[] = [];
  const make = (options: Parameters<typeof createCacheClient>[0]): CacheClient => {
    const client = createCacheClient({ env: {}, timeout: 5000, ...options });
    clients.push(client);
    return client;
  };
  before(async () => {
    [from, to] = await Promise.all([startRedis(), startRedis()]);
    behind.push(nodeRedis({ url: to.url }));
    server = await serve(bridge({ driver: behind[0] as ReturnType<typeof nodeRedis>, token }));
  });
  after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await server.close();
    await Promise.all([behind[0]?.close(), from.stop(), to.stop()]);
  });
  const fresh = async (): Promise<void> => {
    for (const { url } of [from, to]) await withConnection(url, 0, (connection) => connection.send([["FLUSHALL"]]));
  };
  const fill = async (client: CacheClient): Promise<void> => {
    await client.service("product").products.set(1, { id: 1, name: "Pho" }, { tags: ["menu"] });
    await client.service("product").products.set(2, { id: 2, name: "Bun" }, { tags: ["old"] });
    await client.service("product").invalidateTags("old");
    await client.service("user").cache.set("long", "x".repeat(10), { ttl: "forever" });
    await withConnection(from.url, 5, (connection) =>
      connection.send([
        ["RPUSH", "list", ...Array.from({ length: 2500 }, (_, i) => i)],
        ["ZADD", "zset", 1.5, "a", 2, "b"],
        ["XADD", "stream", "1-1", "f", "v"],
        ["XGROUP", "CREATE", "stream", "g", "$"],
        ["HSET", "hash", "f", "v"],
        ["SADD", "set", "m"],
        ["PEXPIREAT", "set", Date.now() + 3_600_000],
      ]),
    );
  };
  const run = (a: CacheClient, b: CacheClient, options: CopyOptions) => finish(copy(a, b, options));

  it("copy copies all databases from numbered to prefixed ones over REST, and back", { timeout: 60_000 }, async () => {
    await fresh();
    const numbered = make({ url: from.url });
    const rest = make({ driver: "upstash", url: server.url, token });
    await fill(numbered);
    const there = await run(numbered, rest, { all: true });
    assert.deepEqual([there.keys, there.written, there.done], [8, 8, true]);
    for (const database of [1, 3, 5]) {
      assertSame(await dump(to.url, 0, `db${database}:`), await dump(from.url, database));
    }
    assert.deepEqual(await rest.service("product").products.get(1), { id: 1, name: "Pho" });
    assert.equal(await rest.service("product").products.get(2), undefined);

    // What invalidations came in between hold for what they hit, and for nothing else.
    await rest.service("product").invalidateTags("menu");
    await numbered.service("product").invalidateAll();
    const back = await run(rest, numbered, { all: true, onConflict: "replace" });
    assert.deepEqual([back.keys, back.written, back.invalidated], [8, 6, 2]);
    assert.equal(await numbered.service("product").products.get(1), undefined);
    assert.equal(await numbered.service("user").cache.get("long"), "x".repeat(10));
    assertSame(await dump(from.url, 5), await dump(to.url, 0, "db5:"));
  });

  it("copy writes valid entries when everything was invalidated at the destination", { timeout: 60_000 }, async () => {
    await fresh();
    const source = make({ url: from.url });
    const target = make({ url: to.url, databases: "prefixed", prefix: "shop" });
    await fill(source);
    await target.service("product").invalidateAll();
    const { written, invalidated } = await run(source, target, { service: "product" });
    assert.deepEqual([written, invalidated], [1, 1]);
    assert.deepEqual(await target.service("product").products.get(1), { id: 1, name: "Pho" });
    await target.service("product").invalidateTags("menu");
    assert.equal(await target.service("product").products.get(1), undefined);
  });

  it("copy finds conflicts in all databases before it writes, and skips or replaces", {
    timeout: 60_000,
  }, async () => {
    await fresh();
    const source = make({ url: from.url });
    const target = make({ url: to.url });
    await fill(source);
    await withConnection(to.url, 5, (connection) => connection.send([["SET", "list", "there"]]));
    await assert.rejects(run(source, target, { all: true }), (error) => {
      assert.ok(error instanceof ConflictError);
      assert.deepEqual(error.keys, ["list"]);
      return true;
    });
    assert.deepEqual(Object.keys(await dump(to.url, 1)), []);
    const dry = await run(source, target, { database: 5, onConflict: "skip", dryRun: true });
    assert.deepEqual([dry.written, dry.skipped], [4, 1]);
    const { written, skipped } = await run(source, target, { database: 5, onConflict: "skip" });
    assert.deepEqual([written, skipped], [4, 1]);
    assert.equal((await run(source, target, { database: 5, onConflict: "replace" })).written, 5);
    assertSame(await dump(to.url, 5), await dump(from.url, 5));
  });

  it("copy skips databases that neither side has, and refuses to copy a store to itself", {
    timeout: 60_000,
  }, async () => {
    await fresh();
    const small = await startRedis({ args: ["--databases", "4"] });
    const source = make({ url: from.url });
    const target = make({ url: small.url });
    await source.service("product").products.set(1, { id: 1, name: "Pho" });
    assert.equal((await run(source, target, { all: true })).written, 1);
    assert.equal((await run(target, source, { all: true, onConflict: "skip" })).skipped, 1);
    await source.service("analytics").cache.set("a", 1);
    await assert.rejects(run(source, target, { all: true, onConflict: "skip" }), /out of range/);
    await small.stop();
    await assert.rejects(
      run(source, source, { database: 1 }),
      /^TypeError: Cannot copy database 1: received the same store twice, expected two stores$/,
    );
    await assert.rejects(
      run(source, target, { database: 1, onConflict: "x" as never }),
      /received "x", expected skip, replace or fail/,
    );
  });

  it("copy reports and leaves out keys over REST and memory when they are not UTF-8", {
    timeout: 60_000,
  }, async () => {
    await fresh();
    const odd = new Uint8Array([255, 0, 254]);
    await withConnection(to.url, 0, (connection) =>
      connection.send([
        ["SET", "db9:fine", "\u00e9"],
        ["SET", "db9:value", odd],
        ["SET", new Uint8Array([...new TextEncoder().encode("db9:"), 255]), "v"],
        ["RPUSH", "db9:list", ...Array.from({ length: 2000 }, (_, i) => i), odd],
        ["HSET", "db9:hash", "f", odd],
      ]),
    );
    const rest = make({ driver: "upstash", url: server.url, token });
    const problems: Problem[] = [];
    let unreadable = 0;
    for await (const progress of backup(rest, { database: 9, write() {} })) {
      problems.push(...progress.problems);
      unreadable = progress.unreadable;
    }
    assert.equal(unreadable, 4);
    assert.deepEqual(problems.map(({ key }) => key).sort(), ["hash", "list", "value", "\ufffd"]);
    assert.match(problems[0]?.reason ?? "", /may not be UTF-8, which upstash cannot carry/);
    const { lines } = await backedUp(rest, { database: 9 });
    assert.deepEqual(
      lines.slice(1, -1).map(({ key }) => key),
      ["fine"],
    );
    let unknown = 0;
    for await (const { unreadable } of list(rest, { database: 9 })) if (unreadable) unknown++;
    assert.equal(unknown, 1);

    // From a store that has it to one that does not.
    await withConnection(from.url, 9, (connection) =>
      connection.send([
        ["SET", "a", odd],
        ["SET", "b", "1"],
        ["HSET", "h", "f", odd],
        ["SET", odd, "v"],
      ]),
    );
    const source = make({ url: from.url });
    const driver = memory();
    const last = await run(source, make({ driver }), { database: 9 });
    assert.deepEqual([last.written, last.unreadable, last.keys], [1, 3, 4]);
    assert.deepEqual(await driver.send(9, [["KEYS", "*"]]), [["b"]]);
  });
});
