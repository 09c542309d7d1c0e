import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import type { RawCommand } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { type CacheClient, createCacheClient, defineService } from "../mod.ts";
import { BackupError, clear, copy, finish, type OnConflict, restore } from "../src/manager/mod.ts";
import { assertSame, BackupFile, backedUp, restored } from "./helpers/backup_file.ts";
import { dump, withConnection } from "./helpers/dump.ts";
import { AND_SHARDS, onWires } from "./helpers/engine.ts";
import { eventually } from "./helpers/eventually.ts";
import { startProxy } from "./helpers/proxy.ts";
import { before7, type RedisServer, startRedis } from "./helpers/redis_server.ts";

const MENU = defineService({ name: "menu", collections: {} });
const MODES: readonly OnConflict[] = ["skip", "replace", "fail"];

onWires(
  "manager",
  (onWire, wire) => {
    it(
      "restore writes tagged entries back after clear, and keeps invalidated ones invalid",
      onWire(async ({ make }) => {
        const client = make();
        const cache = client.cache({ database: 9 });
        await cache.set("kept", 1, { tags: ["a"], ttl: "1h" });
        await cache.set("dead", 2, { tags: ["b"], ttl: "1h" });
        await cache.set("plain", 3, { ttl: "1h" });
        await cache.increment("count", { by: 4 });
        await cache.invalidateTags("b");
        const file = await backedUp(client, { database: 9 });
        const values = async (): Promise<unknown[]> => [
          ...(await cache.getMany(["kept", "dead", "plain", "count"])).values(),
        ];

        await finish(clear(client, { database: 9 }));
        const first = await restored(client, 9, file);
        assert.deepEqual([first.written, first.invalidated, first.keys], [3, 1, 4]);
        assert.deepEqual(await values(), [1, 3, 4]);

        await cache.invalidateAll();
        assert.deepEqual(await values(), [4]);
        await restored(client, 9, file, "replace");
        assert.deepEqual(await values(), [1, 3, 4]);
        // They are entries of now: what comes later holds for them.
        await cache.invalidateTags("a");
        assert.deepEqual(await values(), [3, 4]);
        await cache.set("dead", 5, { tags: ["b"] });
        assert.deepEqual(await values(), [5, 3, 4]);
        await cache.invalidateAll();
        assert.deepEqual(await values(), [4]);
      }),
    );

    it(
      "restore writes entries, marks and epoch unchanged when the destination is empty",
      onWire(async ({ make, raw }) => {
        const client = make();
        const cache = client.cache({ database: 9 });
        await cache.set("kept", 1, { tags: ["a", "\u00e9"], ttl: "1h" });
        await cache.set("dead", 2, { tags: ["b"], ttl: "1h" });
        await cache.invalidateTags(["b", "c"]);
        const file = await backedUp(client, { database: 9 });
        assert.equal((await restored(client, 10, file)).written, 2);
        const other = client.cache({ database: 10 });
        assert.deepEqual([await other.get("kept"), await other.get("dead")], [1, undefined]);
        for (const key of ["kept", "dead", "#larder:clock", "#larder:tag:a", "#larder:tag:b", "#larder:tag:c"]) {
          assert.equal(await raw(10, "GET", key), await raw(9, "GET", key));
          if (!before7()) assert.equal(await raw(10, "PEXPIRETIME", key), await raw(9, "PEXPIRETIME", key));
        }
        assert.equal(await raw(10, "EXISTS", "#larder:restore"), 0);
        await other.invalidateTags("a");
        assert.equal(await other.get("kept"), undefined);
      }),
    );

    it(
      "restore refuses a whole database when services that share it are in the file and the destination",
      onWire(async ({ make }) => {
        const [from, to] = [make({ prefix: "from" }), make({ prefix: "to" })];
        await from.service(MENU).invalidateAll();
        await from.service(MENU).cache.set("a", 1);
        const file = await backedUp(from, { database: 8 });
        await to.service(MENU).cache.set("own", 2);
        for (const onConflict of MODES) {
          await assert.rejects(
            restored(to, 8, file, onConflict),
            /^TypeError: Cannot restore database 8 as a whole: .*, expected each service by its name: menu$/,
          );
        }
        const cache = to.service(MENU).cache;
        assert.deepEqual([await cache.get("a"), await cache.get("own")], [undefined, 2]);
        // Its epoch alone counts too. The file goes to an empty store, and from there to this one.
        await to.service(MENU).invalidateAll();
        await finish(clear(to, { database: 8 }));
        await assert.rejects(restored(to, 8, file, "replace"), /expected each service by its name: menu$/);
        const empty = make({ prefix: "empty" });
        await restored(empty, 8, file);
        assert.equal(await empty.service(MENU).cache.get("a"), 1);
        await finish(copy(empty, to, { service: "menu" }));
        assert.equal(await cache.get("a"), 1);
      }),
    );

    it(
      "restore does not make existing entries older",
      onWire(async ({ make }) => {
        const client = make();
        const cache = client.cache({ database: 9 });
        await cache.set("old", 1);
        await cache.invalidateAll();
        await cache.set("new", 2, { tags: ["t"] });
        const file = await backedUp(client, { database: 9 });
        const other = client.cache({ database: 10 });
        await other.set("own", 3);
        await restored(client, 10, file, "skip");
        assert.deepEqual([await other.get("old"), await other.get("new"), await other.get("own")], [undefined, 2, 3]);
        await other.invalidateTags("t");
        assert.deepEqual([await other.get("new"), await other.get("own")], [undefined, 3]);
      }),
    );

    it(
      "restore keeps encrypted, compressed, stale and sliding entries when the mode of databases changes",
      onWire(async ({ make }) => {
        const encryption = { keys: { k: "00000000000000000000000000000000000000000000" } };
        const options = { encryption: { keys: { k: new Uint8Array(32).fill(3) } }, compressAbove: 100 };
        void encryption;
        const client = make(options);
        const payment = client.service("payment");
        const methods = [{ id: "1", type: "card", last4: "4242" }] as never;
        await payment.methods.set("u", methods);
        const auth = client.service("auth");
        const long = { text: "x".repeat(5000) };
        await auth.cache.set("long", long, { staleFor: "1h", tags: ["t"] });
        const other = make({ ...options, prefix: "other", ...(wire === "REST" ? {} : { databases: "prefixed" }) });
        for (const [service, check] of [
          ["payment", async () => assert.deepEqual(await other.service("payment").methods.get("u"), methods)],
          ["auth", async () => assert.deepEqual(await other.service("auth").cache.get("long"), long)],
        ] as const) {
          const file = await backedUp(client, { service });
          for (const onConflict of ["fail", "replace"] as const) {
            await finish(restore(other, { service, read: file.read, onConflict }));
            await check();
          }
        }
        assert.equal(
          await client
            .service("payment")
            .methods.get("u")
            .then((value) => value !== undefined),
          true,
        );
      }),
    );

    it(
      "restore has the same result in two runs when the first one is aborted",
      onWire(async ({ make, raw }) => {
        const client = make();
        const cache = client.cache({ database: 9 });
        for (const databases of [false, true]) {
          const entries = Array.from({ length: 1300 }, (_, i) => [`key:${i}`, i] as const);
          await cache.setMany(entries, { ttl: "1h", ...(databases && { tags: ["t"] }) });
        }
        const file = await backedUp(client, { database: 9 });
        const state = async (): Promise<Record<string, unknown>> => {
          const { lines } = await backedUp(client, { database: 10 });
          // How long marks last depends on when they are made.
          const known = lines
            .filter(({ key }) => key)
            // Before version 7 the server does not give the moment itself.
            .map((line) => (before7() ? { ...line, expires: Math.round(Number(line.expires) / 10_000) } : line))
            .map((line) => [line.key, line.key.startsWith("#") ? line.value : line]);
          return Object.fromEntries(known);
        };
        const prepare = async (onConflict: OnConflict): Promise<void> => {
          await raw(10, "UNLINK", "#larder:restore");
          await finish(clear(client, { database: 10 }));
          if (onConflict !== "fail") await raw(10, "SET", "key:7", '{"json":"there"}');
        };
        for (const onConflict of MODES) {
          await prepare(onConflict);
          await restored(client, 10, file, onConflict);
          const whole = await state();
          await fc.assert(
            fc.asyncProperty(fc.nat({ max: 12 }), async (steps) => {
              await prepare(onConflict);
              const stop = new AbortController();
              let left = steps;
              let ended = false;
              await assert.rejects(async () => {
                const run = restore(client, { database: 10, read: file.read, onConflict, signal: stop.signal });
                for await (const { done } of run) {
                  ended ||= done;
                  if (left-- === 0) stop.abort(new Error("stop"));
                }
                stop.signal.throwIfAborted();
                throw new Error("stop");
              }, /stop/);
              const { done } = await restored(client, 10, file, ended && onConflict === "fail" ? "skip" : onConflict);
              assert.ok(done);
              assertSame(await state(), whole);
            }),
            { numRuns: 8 },
          );
        }
      }),
    );
  },
  AND_SHARDS,
);

describe("restore of damaged files", () => {
  let client: CacheClient;
  let file: BackupFile;
  const driver = memory();
  before(async () => {
    client = createCacheClient({ env: {}, driver });
    const cache = client.cache({ database: 9 });
    await cache.set("a", "\u00e9\ud83d\ude00", { tags: ["x"], ttl: "1h" });
    await cache.set("b", [1, 2, 3]);
    await driver.send(9, [["HSET", "h", "f", "v", "g", "w"]]);
    file = await backedUp(client, { database: 9 });
  });
  after(() => client.close());

  const refuses = async (bytes: Uint8Array | string): Promise<BackupError> => {
    let error: unknown;
    try {
      await restored(client, 10, BackupFile.of(bytes), "replace");
    } catch (thrown) {
      error = thrown;
    }
    assert.ok(error instanceof BackupError, `${error}`);
    assert.deepEqual((await driver.send(10, [["DBSIZE"]]))[0], 0);
    return error;
  };

  it("restore refuses a file when any byte is flipped, cut or inserted, and writes nothing", {
    timeout: 60_000,
  }, async () => {
    const { bytes } = file;
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: bytes.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        fc.constantFrom("flip", "cut", "insert", "drop" as const),
        async (at, by, how) => {
          const head = bytes.slice(0, at);
          const middle =
            how === "flip" ? [(bytes[at] as number) ^ by] : how === "insert" ? [by, bytes[at] as number] : [];
          const tail = how === "cut" ? [] : bytes.slice(at + 1);
          await refuses(new Uint8Array([...head, ...middle, ...tail]));
        },
      ),
      { numRuns: 400 },
    );
  });

  it("restore refuses a damaged compressed file, or reads its original contents", { timeout: 60_000 }, async () => {
    const { bytes } = await backedUp(client, { database: 9, gzip: true });
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 1, max: 255 }), async (at, by) => {
        const changed = bytes.slice();
        changed[at] = (changed[at] as number) ^ by;
        const { lines } = file;
        try {
          await restored(client, 11, BackupFile.of(changed), "replace");
        } catch (error) {
          assert.ok(error instanceof BackupError, `${error}`);
          return;
        }
        // Some bits of its header mean nothing.
        const again = (await backedUp(client, { database: 11 })).lines;
        assert.deepEqual(again.slice(1, -1).length, lines.slice(1, -1).length);
      }),
      { numRuns: 100 },
    );
    for (const length of [1, 10, bytes.length >> 1, bytes.length - 1]) await refuses(bytes.slice(0, length));
  });

  it("restore names the fault of a file and its line", { timeout: 60_000 }, async () => {
    const says = async (bytes: Uint8Array | string, line: number, message: RegExp): Promise<void> => {
      const error = await refuses(bytes);
      assert.match(error.message, message);
      assert.equal(error.line, line);
    };
    const { text } = file;
    const lines = text.split(/(?<=\n)/);
    await says("", 0, /it is empty/);
    await says("GIF89a...\n", 1, /not the header/);
    await says(new Uint8Array(100_000), 1, /not the header/);
    await says(`{"some":"json"}\n${text}`, 1, /not the header/);
    await says(text.replace('"format":1', '"format":3'), 1, /received format 3, expected 1 or 2/);
    await says(lines.slice(0, -1).join(""), 0, /without a trailer, so it is incomplete/);
    await says(text.slice(0, -1), 0, /no line break, so it is incomplete/);
    await says(text + text, lines.length + 1, /follows the trailer/);
    await says([lines[0], ...lines.slice(2)].join(""), lines.length - 1, /counts|SHA-256/);
    await says(text.replace('"string"', '"sting"'), 3, /received "sting", expected a known type/);
    await says(text.replace(/"sha256":"./, '"sha256":"x'), lines.length, /SHA-256/);
    await says(text.replace('"key"', '"kex"'), 2, /received undefined, expected text or base64/);
  });

  it("restore refuses types before it writes when the store does not have them", { timeout: 60_000 }, async () => {
    const list = await file.rewritten((line) => (line.key === "h" ? { key: "h", type: "list", value: ["a"] } : line));
    await assert.rejects(
      restored(client, 10, list, "replace"),
      /Cannot restore keys: received type list, expected types that memory supports/,
    );
    assert.deepEqual((await driver.send(10, [["DBSIZE"]]))[0], 0);
  });
});

describe("restore when a store or a process fails", () => {
  let redis: RedisServer;
  let folder: string;
  before(async () => {
    redis = await startRedis();
    folder = await mkdtemp(join(tmpdir(), "larder-"));
  });
  after(async () => {
    await redis.stop();
    await rm(folder, { recursive: true });
  });

  const LIMIT = { timeout: 60_000 };
  const fill = (database: number): Promise<unknown> =>
    withConnection(redis.url, database, async (connection) => {
      const commands: RawCommand[] = [["FLUSHALL"]];
      for (let i = 0; i < 4000; i++) commands.push(["SET", `key:${i}`, "x".repeat(500), "PX", 3_600_000 + i]);
      for (let i = 0; i < 40; i++) commands.push(["RPUSH", `list:${i}`, ...Array.from({ length: 3000 }, (_, n) => n)]);
      await connection.send(commands);
    });

  it("restore throws when the store goes away half-way, and the next run completes it", LIMIT, async () => {
    await fill(9);
    await using client = createCacheClient({ env: {}, url: redis.url });
    const file = await backedUp(client, { database: 9 });
    const was = await dump(redis.url, 9);
    const proxy = await startProxy(redis.port);
    for (const [i, mode] of (["cut", { resetAfter: 5000 }, "blackhole"] as const).entries()) {
      await using shaky = createCacheClient({ env: {}, url: `redis://127.0.0.1:${proxy.port}` });
      let broken = false;
      const run = restore(shaky, { database: 10 + i, read: file.read, timeout: 1000 });
      await assert.rejects(
        async () => {
          for await (const { phase, keys } of run) {
            if (phase !== "write" || keys < 1000 || broken) continue;
            broken = true;
            if (mode === "cut") proxy.cut();
            else await proxy.set(mode);
          }
        },
        { name: "StoreError" },
      );
      await proxy.set("pass");
      const { resumed, written, skipped } = await restored(shaky, 10 + i, file, "fail");
      assert.ok(resumed);
      // The step without a reply may have been written.
      assert.ok(written + skipped >= 3500);
      // What was being built may come in late, and is gone by itself in a day.
      const is = Object.entries(await dump(redis.url, 10 + i)).filter(([key]) => !key.startsWith("#larder:restore:"));
      assertSame(Object.fromEntries(is), was);
    }
    await assert.rejects(
      async () => {
        await using shaky = createCacheClient({ env: {}, url: `redis://127.0.0.1:${proxy.port}` });
        await proxy.set({ resetAfter: 100_000 });
        await backedUp(shaky, { database: 9, timeout: 1000 });
      },
      { name: "StoreError" },
    );
    await proxy.stop();
  });

  for (const onConflict of MODES) {
    it(`restore (${onConflict}) completes in the next run when its process is killed`, LIMIT, async () => {
      await fill(9);
      await using client = createCacheClient({ env: {}, url: redis.url });
      await client.cache({ database: 9 }).set("tagged", 1, { tags: ["t"], ttl: "1h" });
      const path = join(folder, onConflict);
      const file = await backedUp(client, { database: 9 });
      await writeFile(path, file.bytes);
      const prepare = async (database: number): Promise<void> => {
        if (onConflict === "fail") return;
        await withConnection(redis.url, database, (connection) =>
          connection.send([
            ["SET", "key:77", "there"],
            ["SET", "list:3", "there"],
            ["SET", "#larder:clock", "1700000000000000 0 0"],
          ]),
        );
      };
      await prepare(10);
      await prepare(11);
      await restored(client, 10, file, onConflict);
      const how = process.versions.deno ? ["run", "-A", "--no-check"] : [];
      const script = join(
        import.meta.dirname,
        "fixtures",
        `restorer${process.versions.deno || process.versions.bun ? ".ts" : ".js"}`,
      );
      const child = spawn(process.execPath, [...how, script, redis.url, "11", path, onConflict], {
        stdio: ["ignore", "ignore", "inherit"],
      });
      await withConnection(redis.url, 11, async (connection) => {
        await eventually(async () => Number((await connection.send([["DBSIZE"]]))[0]) > 1000);
      });
      process.kill(child.pid as number, "SIGKILL");
      await once(child, "close");
      const between = Object.keys(await dump(redis.url, 11)).length;
      const { resumed } = await restored(client, 11, file, onConflict);
      assert.ok(resumed || between >= 4041);
      const names = (
        await withConnection(redis.url, 11, (connection) => connection.send([["KEYS", "#larder:restore*"]]))
      )[0];
      // What was being built is gone by itself in a day, if the kill came in between.
      assert.ok((names as unknown[]).length <= 1);
      const state = async (database: number): Promise<Record<string, unknown>> => {
        const all = Object.entries(await dump(redis.url, database)) as [string, { expires?: unknown }][];
        const left = all.filter(([key]) => !key.startsWith("#larder:restore"));
        // How long marks last depends on when they are made.
        return Object.fromEntries(left.map(([key, it]) => [key, key.startsWith("#") ? { ...it, expires: 0 } : it]));
      };
      assertSame(await state(11), await state(10));
    });
  }
});
