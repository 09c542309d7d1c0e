/** The commands that look at keys and delete them, as a user runs them. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { after, afterEach, before, describe, it } from "node:test";
import { nodeRedis } from "../drivers/node_redis.ts";
import type { Driver } from "../mod.ts";
import { createCacheClient } from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import type { Listener } from "../src/runtime/listen.ts";
import { inTerminal, larder, plain, startLarder } from "./helpers/larder.ts";
import { type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

describe("larder clear, list and get", () => {
  let redis: RedisServer;
  let driver: Driver;
  let rest: Listener;
  let env: Record<string, string>;
  let overRest: Record<string, string>;
  before(async () => {
    redis = await startRedis();
    driver = nodeRedis({ url: redis.url });
    rest = await serve(bridge({ driver, token: "t" }));
    env = { CACHE_URL: redis.url };
    overRest = { UPSTASH_REDIS_REST_URL: rest.url, UPSTASH_REDIS_REST_TOKEN: "t" };
  });
  after(async () => {
    await rest?.close();
    await driver?.close();
    await redis?.stop();
  });
  afterEach(() => driver.send(0, [["FLUSHALL"]]));

  /** Returns the number of keys, without the library's own. */
  const count = async (database: number): Promise<number> => {
    const [all, own] = await driver.send(database, [["DBSIZE"], ["KEYS", "#larder:*"]]);
    return Number(all) - (own as unknown[]).length;
  };
  const fill = (database: number, ...keys: string[]) =>
    driver.send(
      database,
      keys.map((key) => ["SET", key, "v"]),
    );

  it("clear deletes the keys of one service, or those that match, and counts them", async () => {
    await fill(1, "product:1", "product:2", "search:a", "search:b");
    await fill(2, "product:1");
    const dry = await larder(["clear", "product", "--dry-run", "--json"], { env });
    const counted = { service: "product", keys: 4, unreadable: 0, refused: null, dryRun: true, done: true };
    assert.deepEqual([dry.code, JSON.parse(dry.stdout), dry.stderr], [0, counted, ""]);
    assert.equal(await count(1), 4);

    const some = await larder(["clear", "product", "--pattern", "search:*", "--yes"], { env });
    assert.deepEqual(some, { code: 0, stdout: "2 keys of product deleted\n", stderr: "" });
    const all = await larder(["clear", "--database", "1", "--yes"], { env });
    assert.deepEqual(all, { code: 0, stdout: "2 keys of database 1 deleted\n", stderr: "" });
    assert.deepEqual([await count(1), await count(2)], [0, 1]);
  });

  it("clear ends with 2 before it connects when it has neither a terminal nor --yes", async () => {
    const { code, stdout, stderr } = await larder(["clear", "product"], { env: { CACHE_URL: "redis://127.0.0.1:1" } });
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(
      stderr,
      /^error: Cannot ask "Delete all keys of product in redis:\/\/127.0.0.1:1\?" .*: expected --yes\n$/,
    );
  });

  it("clear asks on a terminal, and takes yes, no and Ctrl-C", async () => {
    const ask = async (answer: string) => {
      await fill(1, "product:1");
      const asked = inTerminal(["clear", "product"], { env });
      await asked.said(/Delete all keys of product in redis:/);
      asked.type(answer);
      const { code, stdout } = await asked.ended;
      return [code, await count(1), plain(stdout)] as const;
    };
    const [no, keptByNo, refused] = await ask("n");
    assert.deepEqual([no, keptByNo], [1, 1], refused);
    assert.match(refused, /error: Nothing was changed\n/);
    const [stop, keptByStop] = await ask("\x03");
    assert.deepEqual([stop, keptByStop], [130, 1]);
    const [enter, keptByEnter] = await ask("\r");
    assert.deepEqual([enter, keptByEnter], [1, 1]);
    const [yes, left, done] = await ask("y");
    assert.deepEqual([yes, left], [0, 0], done);
    assert.match(done, /\n1 key of product deleted\n/);
  });

  it("clear ends with 130 at Ctrl-C, and prints the number of deleted keys", async () => {
    const total = 200_000;
    const raw = await rawClient(redis.port);
    try {
      await raw.command("SELECT", 1);
      await raw.command("EVAL", `for i = 1, ${total} do redis.call('SET', 'k' .. i, 'v') end`, 0);
      const clearing = startLarder(["clear", "product", "--yes", "--json"], { env });
      let left = total;
      while (left >= total) left = Number(await raw.command("DBSIZE"));
      redis.pause();
      clearing.signal("SIGINT");
      await clearing.said(/Stopping; press Ctrl-C again to end at once\n/);
      redis.resume();
      const { code, stdout } = await clearing.ended;
      const { keys, done } = JSON.parse(stdout);
      // The clock and the mark of the invalidation that comes first.
      const own = ((await raw.command("KEYS", "#larder:*")) as unknown[]).length;
      const gone = total + own - Number(await raw.command("DBSIZE"));
      assert.deepEqual([code, done], [130, false]);
      // The step in-flight at the stop may have been run.
      assert.ok(gone > 0 && gone < total && keys <= gone && gone - keys <= 2000, `${keys} of ${gone}`);
    } finally {
      redis.resume();
      raw.close();
    }
  });

  it("clear ends with 3 and prints its progress when the store goes away half-way", async () => {
    const other = await startRedis();
    const raw = await rawClient(other.port);
    await raw.command("SELECT", 1);
    await raw.command("EVAL", "for i = 1, 200000 do redis.call('SET', 'k' .. i, 'v') end", 0);
    const clearing = startLarder(["clear", "product", "--yes"], { env: { CACHE_URL: other.url } });
    while (Number(await raw.command("DBSIZE")) >= 200_000);
    raw.close();
    await other.stop();
    const { code, stdout, stderr } = await clearing.ended;
    assert.deepEqual([code, stdout], [3, ""]);
    assert.match(stderr, /^before the error: [\d,]+ keys? deleted.*\nerror: .+\n$/);
  });

  it("list shows type, TTL, size and key, in a pipe without a head", async () => {
    await driver.send(1, [
      ["SET", "product:1", "x".repeat(2000), "PX", 3_600_500],
      ["RPUSH", "list", "a"],
      ["SET", "product:\x1b[2J", "v"],
    ]);
    const { code, stdout, stderr } = await larder(["list", "product", "--sort", "size"], { env });
    assert.deepEqual([code, stderr], [0, ""]);
    const lines = stdout.trimEnd().split("\n");
    assert.match(lines[0] as string, /^string +(1h|59m \d+s) +2\.\d KiB {2}product:1$/);
    assert.equal(lines.length, 3);
    assert.ok(
      lines.some((line) => /^list +- +\d+ B {2}list$/.test(line)),
      stdout,
    );
    assert.ok(
      lines.some((line) => line.endsWith("product:\\x1b[2J")),
      stdout,
    );

    const [one, json] = await Promise.all([
      larder(["list", "--service", "product", "product:1*", "--limit", "1"], { env }),
      larder(["list", "-d", "1", "li*", "--json"], { env }),
    ]);
    assert.match(one.stdout, /^.* product:1\n$/);
    const { size, ...rest } = JSON.parse(json.stdout);
    assert.deepEqual(rest, { key: "list", type: "list", ttl: null });
    assert.ok(size > 0);
  });

  it("list and get show keys and values of any bytes over TCP, and warn of them over REST", async () => {
    const raw = await rawClient(redis.port);
    await raw.command("EVAL", "redis.call('SELECT', 1) redis.call('SET', '\\255k', '\\254v')", 0);
    await raw.command("EVAL", "redis.call('SET', 'db1:\\255k', '\\254v')", 0);
    raw.close();
    const key = Buffer.from([255, 107]).toString("base64");
    const [table, json, value, head] = await Promise.all([
      larder(["list", "product"], { env }),
      larder(["list", "product", "--json"], { env }),
      larder(["get", "product", "--base64", key, "--json"], { env }),
      larder(["list", "product"], { env: overRest }),
    ]);
    assert.match(table.stdout, /\\xffk\n$/);
    assert.deepEqual(JSON.parse(json.stdout).key, { base64: key });
    const { base64 } = JSON.parse(value.stdout).value;
    assert.deepEqual(Buffer.from(base64, "base64"), Buffer.from([254, 118]));
    assert.equal(head.code, 1);
    assert.match(head.stderr, /^warning: 1 key cannot be read over REST: not UTF-8\n$/);
  });

  it("get shows the stored value of an entry, and ends with 1 when it does not exist", async () => {
    await using client = createCacheClient({ url: redis.url, timeout: 5000 });
    const { products } = client.service("product");
    await products.set(7, { id: 7, name: "Phở", since: new Date(0) }, { ttl: "1h", tags: ["menu"] });
    const [found, json, none, nothing] = await Promise.all([
      larder(["get", "product", "product:7"], { env }),
      larder(["get", "product", "product:7", "--json"], { env }),
      larder(["get", "product", "product:8"], { env }),
      larder(["get", "--database", "1", "product:8", "--json"], { env }),
    ]);
    assert.equal(found.code, 0);
    assert.deepEqual(JSON.parse(found.stdout), { id: 7, name: "Phở", since: "1970-01-01T00:00:00.000Z" });
    assert.match(found.stderr, /^string, TTL (1h|59m \d+s), .*tags menu/);
    const { type, value, meta, entry } = JSON.parse(json.stdout);
    assert.deepEqual([type, value.name, entry.tags, meta.values.since], ["string", "Phở", ["menu"], ["Date"]]);
    assert.deepEqual(none, { code: 1, stdout: "", stderr: "error: product has no key product:8\n" });
    assert.deepEqual(nothing, { code: 1, stdout: "null\n", stderr: "" });
  });

  it("clear, list and get work over REST when databases are prefixed", async () => {
    await fill(0, "db1:product:1", "db1:search:a", "db2:product:1");
    const list = await larder(["list", "product", "product:*", "--json"], { env: overRest });
    assert.deepEqual([list.code, JSON.parse(list.stdout).key], [0, "product:1"]);
    assert.deepEqual((await larder(["get", "product", "product:1"], { env: overRest })).stdout, "v\n");
    const { code, stdout } = await larder(["clear", "product", "--yes"], { env: overRest });
    assert.deepEqual([code, stdout], [0, "2 keys of product deleted\n"]);
    assert.deepEqual(await driver.send(0, [["KEYS", "db?:[^#]*"]]), [["db2:product:1"]]);
  });

  it("list ends quietly when its reader has closed the pipe", async () => {
    await driver.send(1, [["EVAL", "for i = 1, 20000 do redis.call('SET', 'k' .. i, 'v') end", 0]]);
    const { stdout, stderr } = await larder(["list", "product"], { env, redirect: "| head -n 1" });
    assert.match(stdout, /^string.*\n$/);
    assert.equal(stderr, "");
  });
});
