import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { RawCommand } from "../drivers/driver.ts";
import { createCacheClient } from "../mod.ts";
import { backup, ConflictError, finish, type OnConflict } from "../src/manager/mod.ts";
import { BackupFile, backedUp, restored } from "./helpers/backup_file.ts";
import { dump, withConnection } from "./helpers/dump.ts";
import { before7, type RedisServer, startRedis } from "./helpers/redis_server.ts";

const odd = new Uint8Array([0, 255, 254, 10, 13, 34]);

/** Keys of all types, of bytes and text, large and small, with expiry and without. */
function everything(now: number): RawCommand[] {
  const commands: RawCommand[] = [
    ["SET", "text", '{"a":"\ud83d\ude00 \ufffd \ufeff"}'],
    ["SET", "expires", "x", "PXAT", now + 3_600_123],
    ["SET", odd, odd, "PXAT", now + 7_200_123],
    ["SET", "empty", ""],
    ["HSET", "hash", "f", "v", odd, odd, "", ""],
    ["PEXPIREAT", "hash", now + 1_000_003],
    ["RPUSH", "list", "a", odd, "", "a"],
    ["SADD", "set", "a", odd, "", "3"],
    ["ZADD", "zset", 1.5, "a", "-inf", odd, 0.1, "b", 1e20, "c"],
    ["XADD", "stream", "5-1", "f", odd, "g", ""],
    ["XADD", "stream", "5-2", "f", "1"],
    ["XADD", "stream", "7-0", "f", "2"],
    ["XDEL", "stream", "7-0"],
    ["XGROUP", "CREATE", "stream", odd, "5-1", ...(before7() ? [] : ["ENTRIESREAD", 1])],
    ["XGROUP", "CREATE", "stream", "h", "$"],
    ["XGROUP", "CREATE", "bare", "g", "$", "MKSTREAM"],
    ["PEXPIREAT", "bare", now + 5_000_000],
    ["XADD", "gone", "9-9", "f", "1"],
    ["XDEL", "gone", "9-9"],
  ];
  for (let from = 0; from < 5000; from += 500) {
    const part = Array.from({ length: 500 }, (_, i) => from + i);
    commands.push(["HSET", "big hash", ...part.flatMap((i) => [`f${i}`, `v${i}`])]);
    commands.push(["RPUSH", "big list", ...part]);
    commands.push(["SADD", "big set", ...part.map((i) => `m${i}`)]);
    commands.push(["ZADD", "big zset", ...part.flatMap((i) => [i / 7, `m${i}`])]);
    for (const i of part) commands.push(["XADD", "big stream", `${i + 1}-0`, "i", i]);
  }
  commands.push(["XGROUP", "CREATE", "big stream", "g", "77-0"], ["PEXPIREAT", "big list", now + 2_000_001]);
  return commands;
}

describe("backup and restore over TCP", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  const send = (database: number, commands: readonly RawCommand[]): Promise<unknown> =>
    withConnection(redis.url, database, async (connection) => {
      for (const reply of await connection.send(commands)) if (reply instanceof Error) throw reply;
    });
  const fresh = (): Promise<unknown> => send(0, [["FLUSHALL"]]);

  for (const gzip of [false, true]) {
    it(`restore writes every type back unchanged from ${gzip ? "a compressed" : "a plain"} file`, {
      timeout: 60_000,
    }, async () => {
      await fresh();
      await using client = createCacheClient({ env: {}, url: redis.url });
      await using prefixed = createCacheClient({ env: {}, url: redis.url, databases: "prefixed", prefix: "p*" });
      await send(9, everything(Date.now()));
      const was = await dump(redis.url, 9);
      const file = await backedUp(client, { database: 9, gzip });
      for (const [onConflict, to, prefix, database] of [
        ["fail", client, "", 10],
        ["skip", prefixed, "p*:db11:", 11],
        ["replace", client, "", 9],
      ] as const) {
        const { written, keys, done } = await restored(to, database, file, onConflict);
        assert.deepEqual([written, keys, done], [16, 16, true]);
        assert.deepEqual(await dump(redis.url, to === prefixed ? 0 : database, prefix), was);
      }
      // And back from prefixes.
      const again = await backedUp(prefixed, { database: 11 });
      await restored(client, 12, again);
      assert.deepEqual(await dump(redis.url, 12), was);
    });
  }

  it("restore fails, skips or replaces when keys exist, and counts the same with dryRun", {
    timeout: 60_000,
  }, async () => {
    await fresh();
    await using client = createCacheClient({ env: {}, url: redis.url });
    await send(9, [
      ["SET", "a", "1"],
      ["SET", "b", "1"],
      ["RPUSH", "c", "1"],
    ]);
    const file = await backedUp(client, { database: 9 });
    const there: RawCommand[] = [
      ["SET", "b", "2"],
      ["SET", "c", "2"],
      ["SET", "d", "2"],
    ];
    await send(10, there);
    const was = await dump(redis.url, 10);
    await assert.rejects(restored(client, 10, file), (error) => {
      assert.ok(error instanceof ConflictError);
      assert.equal(error.count, 2);
      assert.deepEqual([...error.keys].sort(), ["b", "c"]);
      return true;
    });
    const counts = async (onConflict: OnConflict, dryRun: boolean): Promise<number[]> => {
      const { written, skipped } = await restored(client, 10, file, onConflict, dryRun);
      return [written, skipped];
    };
    assert.deepEqual(await counts("skip", true), [1, 2]);
    assert.deepEqual(await counts("replace", true), [3, 0]);
    assert.deepEqual(await dump(redis.url, 10), was);
    assert.deepEqual(await counts("skip", false), [1, 2]);
    const { a, ...rest } = await dump(redis.url, 10);
    assert.deepEqual(rest, was);
    assert.ok(a);
    assert.deepEqual(await counts("replace", false), [3, 0]);
    const { d: _, ...all } = await dump(redis.url, 10);
    assert.deepEqual(all, await dump(redis.url, 9));
  });

  it("restore leaves out keys that have expired since the backup, and counts them", { timeout: 60_000 }, async () => {
    await fresh();
    await using client = createCacheClient({ env: {}, url: redis.url });
    const now = Date.now();
    await send(9, [
      ["SET", "a", "1", "PXAT", now + 60_000],
      ["RPUSH", "b", "1"],
      ["SET", "c", "1"],
    ]);
    const file = await backedUp(client, { database: 9 });
    const past = await file.rewritten((line) => (line.key === "c" ? line : { ...line, expires: now - 1 }));
    const { written, expired } = await restored(client, 10, past);
    assert.deepEqual([written, expired], [1, 2]);
    assert.deepEqual(Object.keys(await dump(redis.url, 10)), ["c"]);
  });

  it("restore refuses a compressed file when it is damaged near its beginning", { timeout: 60_000 }, async () => {
    await fresh();
    await using client = createCacheClient({ env: {}, url: redis.url });
    const [head] = (await backedUp(client, { database: 9 })).text.split("\n");
    const line = JSON.stringify({ key: "k", type: "set", value: Array.from({ length: 1000 }, (_, i) => `m${i}`) });
    const text = `${head}\n${`${line}\n`.repeat(3)}none\n${`${line}\n`.repeat(300)}`;
    const packed = new Response(new Blob([text]).stream().pipeThrough(new CompressionStream("gzip")));
    const file = BackupFile.of(new Uint8Array(await packed.arrayBuffer()));
    // What is decompressed beyond it must not end the process, which on Node it did now and then.
    for (let i = 0; i < 40; i++) {
      await assert.rejects(restored(client, 10, file), { name: "BackupError", line: 5 });
    }
    assert.deepEqual(await dump(redis.url, 10), {});
  });

  it("backup throws the error of its file, compressed or not", { timeout: 60_000 }, async () => {
    await fresh();
    await using client = createCacheClient({ env: {}, url: redis.url });
    // Random, so that there are bytes to write long before the end.
    const script = "for i = 1, 2000 do redis.call('SET', 'k' .. i, redis.sha1hex(i) .. redis.sha1hex(-i)) end";
    await send(9, [["EVAL", script, 0]]);
    const full = new Error("the disk is full");
    for (const gzip of [false, true]) {
      for (const writes of [0, 2]) {
        let left = writes;
        const write = async (): Promise<void> => {
          if (left-- <= 0) throw full;
        };
        await assert.rejects(finish(backup(client, { database: 9, gzip, write })), full);
      }
    }
  });

  it("backup writes text, bytes and expiries in its format", { timeout: 60_000 }, async () => {
    await fresh();
    await using client = createCacheClient({ env: {}, url: redis.url });
    await client.service("product").products.set("1", { id: "1", name: "x" });
    await send(1, [
      ["SET", odd, odd],
      ["HSET", "h", "f", odd],
    ]);
    const { lines } = await backedUp(client, { service: "product" });
    const { created, ...header } = lines[0];
    assert.deepEqual(header, { larder: "backup", format: 1, service: "product", database: 1 });
    assert.ok(Math.abs(Date.parse(created) - Date.now()) < 60_000);
    const byKey = new Map(lines.map((line) => [JSON.stringify(line.key), line]));
    const base64 = "AP/+Cg0i";
    assert.deepEqual(byKey.get(JSON.stringify({ base64 })), { key: { base64 }, type: "string", value: { base64 } });
    assert.deepEqual(byKey.get('"h"'), { key: "h", type: "hash", value: [["f", { base64 }]] });
    const { expires, ...product } = byKey.get('"product:1"');
    assert.deepEqual(product, { key: "product:1", type: "string", value: '{"json":{"id":"1","name":"x"}}' });
    assert.ok(expires > Date.now() + 3_500_000);
    assert.deepEqual(Object.keys(lines.at(-1)), ["end", "keys", "sha256"]);
    assert.equal(lines.at(-1).keys, 3);
  });
});
