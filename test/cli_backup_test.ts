/** backup, restore and copy as a user runs them. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { nodeRedis } from "../drivers/node_redis.ts";
import type { Driver } from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import type { Listener } from "../src/runtime/listen.ts";
import { inTerminal, larder, plain, startLarder } from "./helpers/larder.ts";
import { type RedisServer, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

describe("larder backup, restore and copy", () => {
  let redis: RedisServer;
  let driver: Driver;
  let rest: Listener;
  let env: Record<string, string>;
  let folder: string;
  before(async () => {
    redis = await startRedis();
    driver = nodeRedis({ url: redis.url });
    rest = await serve(bridge({ driver, token: "t", database: 15 }));
    env = { CACHE_URL: redis.url };
  });
  after(async () => {
    await rest?.close();
    await driver?.close();
    await redis?.stop();
  });
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "larder-backup-"));
    await driver.send(5, [
      ["SET", "report:1", "text", "PX", 100_000],
      ["HSET", "hash", "f", "1"],
      ["ZADD", "board", "1.5", "a"],
    ]);
  });
  afterEach(async () => {
    rmSync(folder, { recursive: true });
    await driver.send(0, [["FLUSHALL"]]);
  });

  /** Returns the number of keys, without the library's own. */
  const count = async (database: number): Promise<number> => {
    const [all, own] = await driver.send(database, [["DBSIZE"], ["KEYS", "#larder:*"]]);
    return Number(all) - (own as unknown[]).length;
  };
  const fill = (database: number, keys: number, value = "v") =>
    driver.send(database, [["EVAL", `for i = 1, ${keys} do redis.call('SET', 'k' .. i, ARGV[1]) end`, 0, value]]);
  const at = (name: string): string => join(folder, name);
  const backup = async (name: string) => {
    const { code, stderr } = await larder(["backup", "analytics", "-o", at(name)], { env });
    assert.deepEqual([code, stderr], [0, ""]);
    return at(name);
  };

  it("backup writes a private file, and restore writes it back, also to another service and over REST", async () => {
    const written = await larder(["backup", "analytics", "-o", at("a.jsonl"), "--json"], { env });
    const { bytes, ...said } = JSON.parse(written.stdout);
    assert.deepEqual(said, {
      ...{ service: "analytics", file: at("a.jsonl"), keys: 3 },
      ...{ unreadable: 0, gzip: false, done: true },
    });
    assert.deepEqual([written.code, written.stderr], [0, ""]);
    const { mode, size } = statSync(at("a.jsonl"));
    assert.deepEqual([mode & 0o777, size], [0o600, bytes]);
    assert.deepEqual(readdirSync(folder), ["a.jsonl"]);

    await driver.send(5, [["FLUSHDB"]]);
    const overRest = { UPSTASH_REDIS_REST_URL: rest.url, UPSTASH_REDIS_REST_TOKEN: "t" };
    const [dry, other, far] = [
      await larder(["restore", "analytics", at("a.jsonl"), "--dry-run"], { env }),
      await larder(["restore", "--database", "9", at("a.jsonl"), "--json"], { env }),
      await larder(["restore", "analytics", at("a.jsonl")], { env: overRest }),
    ];
    assert.deepEqual(dry, { code: 0, stdout: "3 keys of analytics would be written\n", stderr: "" });
    assert.equal(await count(5), 0);
    assert.deepEqual(JSON.parse(other.stdout), {
      ...{ database: 9, file: at("a.jsonl"), keys: 3, written: 3, skipped: 0, expired: 0, invalidated: 0 },
      ...{ unreadable: 0, resumed: false, dryRun: false, done: true },
    });
    assert.deepEqual(far, { code: 0, stdout: "3 keys of analytics written\n", stderr: "" });
    const [text, left] = await driver.send(9, [
      ["GET", "report:1"],
      ["PTTL", "report:1"],
    ]);
    assert.equal(text, "text");
    assert.ok(Number(left) > 0 && Number(left) <= 100_000);
    assert.deepEqual(await driver.send(15, [["ZSCORE", "db5:board", "a"]]), ["1.5"]);
  });

  it("backup compresses when the file is named so, and writes to standard output", async () => {
    const file = await backup("a.jsonl.gz");
    assert.deepEqual([...readFileSync(file).subarray(0, 2)], [0x1f, 0x8b]);
    assert.equal((await larder(["restore", "user", file], { env })).stdout, "3 keys of user written\n");
    const { code, stdout, stderr } = await larder(["backup", "analytics", "-o", "-"], { env });
    const lines = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual([code, lines[0].larder, lines.at(-1).keys], [0, "backup", 3]);
    assert.match(stderr, /^3 keys of analytics \(.*\) in -\n$/);
  });

  it("backup replaces a file only with --yes", async () => {
    const file = await backup("a.jsonl");
    writeFileSync(file, "mine");
    const { code, stderr } = await larder(["backup", "analytics", "-o", file], { env });
    assert.equal(code, 2);
    assert.match(stderr, /^error: Cannot ask "Replace the file .*a.jsonl\?" without a terminal: expected --yes\n$/);
    const asked = inTerminal(["backup", "analytics", "-o", file], { env });
    await asked.said(/Replace the file/);
    asked.type("n");
    assert.equal((await asked.ended).code, 1);
    assert.equal(readFileSync(file, "utf8"), "mine");
    assert.equal((await larder(["backup", "analytics", "-o", file, "--yes"], { env })).code, 0);
    assert.notEqual(readFileSync(file, "utf8"), "mine");
  });

  it("backup keeps the old file when the disk is full or the folder is not writable", async () => {
    await fill(5, 2000, "x".repeat(100));
    writeFileSync(at("a.jsonl"), "mine");
    // What a process may write is as small as a full disk's rest; the signal that goes with it is not what is tested.
    const small = { env, before: "trap '' XFSZ; ulimit -f 16" };
    const [limit, full, folderless, folderIs, unwritable] = await Promise.all([
      larder(["backup", "analytics", "-o", at("a.jsonl"), "--yes"], small),
      larder(["backup", "analytics", "-o", "/dev/full"], { env }),
      larder(["backup", "analytics", "-o", at("no/a.jsonl")], { env }),
      larder(["backup", "analytics", "-o", folder], { env }),
      larder(["backup", "analytics", "-o", "/sys/larder.jsonl"], { env }),
    ]);
    for (const [{ code, stdout, stderr }, pattern] of [
      [limit, /^error: Cannot write .*a.jsonl: (the file would be too large|File too large)\n$/],
      // Deno allows devices only with all permissions.
      [full, /^error: Cannot write \/dev\/full: (no space is left on the device|Requires all access .*)\n$/],
      [folderless, /^error: Cannot write .*a.jsonl: no such file or folder\n$/],
      [folderIs, /^error: Cannot write .*: it is a folder\n$/],
      [
        unwritable,
        new RegExp(
          "^error: Cannot write /sys/larder.jsonl: " +
            "(permission denied|no such file or folder|the file system is read-only|Requires all access .*)\n$",
        ),
      ],
    ] as const) {
      assert.match(stderr, pattern);
      assert.deepEqual([code, stdout], [1, ""], stderr);
    }
    assert.deepEqual(readdirSync(folder), ["a.jsonl"]);
    assert.equal(readFileSync(at("a.jsonl"), "utf8"), "mine");
  });

  it("restore writes nothing and says why when the file is missing or damaged", async () => {
    const whole = readFileSync(await backup("a.jsonl"), "utf8");
    writeFileSync(at("torn"), whole.slice(0, -40));
    writeFileSync(at("edited"), whole.replace("text", "tent"));
    writeFileSync(at("foreign"), '{"hello":"world"}\n');
    const cases: [string, RegExp][] = [
      [at("missing"), /^error: Cannot read .*missing: no such file or folder\n$/],
      [folder, /^error: Cannot read .*: it is a folder\n$/],
      [at("torn"), /^error: Cannot restore this file: /],
      [at("edited"), /^error: Cannot restore this file: /],
      [at("foreign"), /^error: Cannot restore this file: line 1: /],
    ];
    const ended = await Promise.all(cases.map(([file]) => larder(["restore", "user", file], { env })));
    for (const [at, [file, pattern]] of cases.entries()) {
      const { code, stdout, stderr } = ended[at] as (typeof ended)[0];
      assert.match(stderr, pattern, file);
      assert.doesNotMatch(stderr, /\n +at /);
      assert.deepEqual([code, stdout], [1, ""]);
    }
    assert.equal(await count(3), 0);
  });

  it("restore fails, skips or replaces when keys exist, as --on-conflict says", async () => {
    const file = await backup("a.jsonl");
    await driver.send(5, [
      ["DEL", "hash", "board"],
      ["SET", "report:1", "newer"],
    ]);
    const fail = await larder(["restore", "analytics", file], { env });
    assert.deepEqual([fail.code, fail.stdout], [1, ""]);
    assert.match(fail.stderr, /^error: Cannot write 1 key that already exists \(report:1\)/);
    assert.equal(await count(5), 1);
    const skip = await larder(["restore", "analytics", file, "--on-conflict", "skip"], { env });
    assert.deepEqual(skip, { code: 0, stdout: "2 keys of analytics written, 1 already existed\n", stderr: "" });
    const refused = await larder(["restore", "analytics", file, "--on-conflict", "replace"], { env });
    assert.equal(refused.code, 2);
    assert.deepEqual(await driver.send(5, [["GET", "report:1"]]), ["newer"]);
    const asked = inTerminal(["restore", "analytics", file, "--on-conflict", "replace"], { env });
    await asked.said(/Replace keys of analytics in redis:.* that are in/);
    asked.type("y");
    const { code, stdout } = await asked.ended;
    assert.equal(code, 0);
    assert.match(plain(stdout), /\n3 keys of analytics written\n$/);
    assert.deepEqual(await driver.send(5, [["GET", "report:1"]]), ["text"]);
  });

  it("backup leaves no file when Ctrl-C stops it, or the store goes away", async () => {
    await fill(5, 50_000, "x".repeat(200));
    const begin = async () => {
      const command = startLarder(["backup", "analytics", "-o", at("a.jsonl")], { env });
      const partial = at("a.jsonl.partial");
      while (!existsSync(partial) || statSync(partial).size === 0) await new Promise((done) => setTimeout(done, 1));
      redis.pause();
      return command;
    };
    const stopped = await begin();
    stopped.signal("SIGINT");
    await stopped.said(/Stopping; press Ctrl-C again to end at once\n/);
    redis.resume();
    const { code, stdout } = await stopped.ended;
    assert.match(stdout, /^Stopped after [\d,]+ keys?: no file was written\n$/);
    assert.equal(code, 130);
    assert.deepEqual(readdirSync(folder), []);

    const again = await begin();
    // The second signal does not wait for anything.
    again.signal("SIGINT");
    await again.said(/Stopping; press Ctrl-C again to end at once\n/);
    again.signal("SIGINT");
    assert.equal((await again.ended).code, 130);
    redis.resume();
    rmSync(at("a.jsonl.partial"), { force: true });

    const lost = await begin();
    redis.resume();
    await driver.send(0, [["CLIENT", "KILL", "TYPE", "normal"]]).catch(() => {});
    const { code: away, stderr } = await lost.ended;
    assert.equal(away, 3, stderr);
    assert.match(stderr, /^(before the error: .*\n)?error: .*\n$/);
    assert.deepEqual(readdirSync(folder), []);
  });

  it("restore continues where Ctrl-C stopped it, with the same result", async () => {
    await fill(5, 30_000);
    const file = await backup("a.jsonl");
    const restoring = startLarder(["restore", "user", file], { env });
    while ((await count(3)) < 500);
    redis.pause();
    restoring.signal("SIGINT");
    await restoring.said(/Stopping; press Ctrl-C again to end at once\n/);
    redis.resume();
    const { code, stdout, stderr } = await restoring.ended;
    assert.equal(code, 130, stderr);
    assert.match(stdout, /^Stopped: [\d,]+ keys of user written\n$/);
    const part = await count(3);
    assert.ok(part > 0 && part < 30_000, `${part}`);
    const rerun = await larder(["restore", "user", file], { env });
    assert.equal(rerun.code, 0, rerun.stderr);
    assert.match(rerun.stderr, /^Continuing an interrupted run\n/);
    assert.equal(await count(3), 30_003);
  });

  it("copy copies a service, or all databases, from numbered databases to prefixed ones and back", async () => {
    const other = await startRedis();
    const there = nodeRedis({ url: other.url });
    try {
      const far = ["--to", other.url, "--to-databases", "prefixed", "--to-prefix", "shop"];
      const dry = await larder(["copy", "analytics", ...far, "--from", redis.url, "--dry-run", "--json"]);
      const { written, from, to, dryRun } = JSON.parse(dry.stdout);
      assert.deepEqual([dry.code, written, from, to, dryRun], [0, 3, redis.url, other.url, true]);
      assert.deepEqual(await there.send(0, [["DBSIZE"]]), [0]);
      const done = await larder(["copy", "analytics", ...far], { env });
      assert.deepEqual(done, { code: 0, stdout: "3 keys of analytics written\n", stderr: "" });
      assert.deepEqual(await there.send(0, [["GET", "shop:db5:report:1"]]), ["text"]);
      const sharded = ["--to-prefix", "shop", "--to-shards", "4"];
      const toShards = await larder(["copy", "analytics", "--to", other.url, ...sharded], { env });
      assert.deepEqual(toShards, { code: 0, stdout: "3 keys of analytics written\n", stderr: "" });
      const [keys] = (await there.send(5, [["KEYS", "shop:{*}report:1"]])) as string[][];
      assert.equal(keys?.length, 1);
      const few = await larder(["copy", "analytics", "--to", other.url, "--to-shards", "5"], { env });
      assert.match(few.stderr, /^error: .*--to-shards.* Expected one of 1, 4, 16, 64, 256\./);
      const shards = ["--from", other.url, "--from-prefix", "shop", "--from-shards", "4", "--on-conflict", "replace"];
      const fromShards = await larder(["copy", "analytics", ...shards, "--dry-run", "--json"], { env });
      assert.equal(JSON.parse(fromShards.stdout).written, 3, fromShards.stderr);
      const overRest = await larder(["copy", "analytics", "--to", rest.url, "--to-token", "t"], { env });
      assert.deepEqual(overRest, { code: 0, stdout: "3 keys of analytics written\n", stderr: "" });
      assert.deepEqual(await driver.send(15, [["ZSCORE", "db5:board", "a"]]), ["1.5"]);
      await driver.send(5, [["FLUSHDB"], ["SET", "report:1", "newer"]]);

      const back = ["--from", other.url, "--from-databases", "prefixed", "--from-prefix", "shop"];
      const [fail, refused, same] = await Promise.all([
        larder(["copy", "analytics", ...back], { env }),
        larder(["copy", "analytics", ...back, "--on-conflict", "replace"], { env }),
        larder(["copy", "analytics", "--to", redis.url], { env }),
      ]);
      assert.deepEqual([fail.code, refused.code, same.code, await count(5)], [1, 2, 2, 1], fail.stderr);
      assert.match(same.stderr, /^error: Cannot copy redis:.* to itself/);
      const skip = await larder(["copy", "--all", ...back, "--on-conflict", "skip"], { env });
      const said = "2 keys of all databases written, 1 already existed\n";
      assert.deepEqual(skip, { code: 0, stdout: said, stderr: "" });
      assert.deepEqual(await driver.send(5, [["ZSCORE", "board", "a"]]), ["1.5"]);
    } finally {
      await there.close();
      await other.stop();
    }
  });
});
