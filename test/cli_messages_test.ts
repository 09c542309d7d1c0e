/** Messages of the command about odd keys, about stores, and about its progress before a failure. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { nodeRedis } from "../drivers/node_redis.ts";
import type { Driver } from "../mod.ts";
import { inTerminal, larder, startLarder } from "./helpers/larder.ts";
import { freePort, type RedisServer, startRedis } from "./helpers/redis_server.ts";

describe("larder's messages", () => {
  let redis: RedisServer;
  let driver: Driver;
  let env: Record<string, string>;
  let folder: string;
  before(async () => {
    redis = await startRedis();
    driver = nodeRedis({ url: redis.url });
    env = { CACHE_URL: redis.url };
  });
  after(async () => {
    await driver?.close();
    await redis?.stop();
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "larder-messages-"));
  });
  afterEach(async () => {
    rmSync(folder, { recursive: true });
    await driver.send(0, [["FLUSHALL"]]);
  });

  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };

  it("restore quotes existing keys so that none looks like a line, and names the option for them", async () => {
    await driver.send(5, [["SET", "a\nerror: all is lost", "1"]]);
    const backup = join(folder, "a.jsonl");
    assert.equal((await larder(["backup", "analytics", "-o", backup], { env })).code, 0);
    const { code, stderr } = await larder(["restore", "analytics", backup], { env });
    const said =
      'error: Cannot write 1 key that already exists ("a\\nerror: all is lost"): ' +
      "skip or replace it with --on-conflict\n";
    assert.deepEqual([code, stderr], [1, said]);
  });

  it("larder says what to change in a URL, and shows no password", async () => {
    const { code, stderr } = await larder(["list", "product", "--url", "redis://u:a/S3cret@h:6379/0"]);
    assert.deepEqual(
      [code, stderr],
      [
        2,
        'error: option "url" is "redis://***@h:6379/0", expected / ? # % and \\ in its user and password ' +
          "as %2F %3F %23 %25 %5C\n",
      ],
    );
    const other = await larder(["list", "product", "--url", "redis://h?database=3"]);
    assert.equal(other.code, 2);
    assert.match(other.stderr, /expected no database in its query, which takes db and ssl/);
  });

  it("copy says how to continue when it was stopped, and then does", async () => {
    const other = await startRedis();
    const there = nodeRedis({ url: other.url });
    try {
      await driver.send(5, [["EVAL", "for i = 1, 30000 do redis.call('SET', 'k' .. i, 'v') end", 0]]);
      const count = async (): Promise<number> => Number((await there.send(5, [["DBSIZE"]]))[0]);
      const copying = startLarder(["copy", "analytics", "--to", other.url], { env });
      while ((await count()) < 3000);
      other.pause();
      copying.signal("SIGINT");
      await copying.said(/Stopping; press Ctrl-C again to end at once\n/);
      other.resume();
      const { code, stderr } = await copying.ended;
      assert.equal(code, 130, stderr);
      assert.match(stderr, /The same command with --on-conflict skip continues where this one stopped\n$/);
      const again = await larder(["copy", "analytics", "--to", other.url, "--on-conflict", "skip"], { env });
      assert.equal(again.code, 0, again.stderr);
      assert.equal(await count(), 30_000);
    } finally {
      await there.close();
      await other.stop();
    }
  });

  it("copy names the store that is configured wrongly or away", async () => {
    const away = `http://127.0.0.1:${await freePort()}`;
    const [wrong, gone] = await Promise.all([
      larder(["copy", "product", "--from", redis.url, "--to", "redis://:s3cret@:port"]),
      larder(["copy", "product", "--from", redis.url, "--to", away, "--to-token", "t"]),
    ]);
    assert.match(wrong.stderr, /^error: --to: option "url" is .*\n$/);
    assert.doesNotMatch(wrong.stderr, /s3cret/);
    assert.ok(gone.stderr.includes(`(${away})`), gone.stderr);
    assert.deepEqual([wrong.code, gone.code], [2, 3]);
    redis.pause();
    const silent = await larder(["list", "product", "--timeout", "300ms"], { env });
    redis.resume();
    for (const bad of ["0", "25d", "soon", "2147483648"]) {
      const { code, stderr } = await larder(["list", "product", "--timeout", bad], { env });
      assert.equal(code, 2, bad);
      assert.match(stderr, /--timeout <time>.*Expected milliseconds from 1 to 2147483647, or a time such as 30s/);
    }
    assert.ok(silent.stderr.includes(redis.url.slice("redis://".length)), silent.stderr);
    assert.equal(silent.code, 3);
  });

  it("warm reports rejects in the order of their lines, and its progress when a source fails", async () => {
    const lines = ['{"id": 1, "value": {}}', "none", '{"id": 3, "value": {"id": 3, "name": "x"}, "ttl": 0}', "none"];
    const rejects = file("rejects.jsonl", lines.join("\n"));
    const bug = file(
      "bug.mjs",
      `export function* items() { yield { id: 1, value: { id: 1, name: "z" } }; throw new TypeError("a bug"); }`,
    );
    const broken = file("broken.mjs", "export const items = [;");
    const [ordered, failed, refused] = await Promise.all([
      larder(["warm", "product", "--from", rejects], { env }),
      larder(["warm", "product", "--module", bug], { env }),
      larder(["warm", "product", "--module", broken], { env }),
    ]);
    assert.deepEqual(ordered.stderr.match(/^line \d/gm), ["line 1", "line 2", "line 3", "line 4"]);
    assert.match(failed.stderr, /^before the error: 1 value written\n[\s\S]*a bug/);
    assert.match(refused.stderr, /^error: Cannot load .*broken\.mjs: /);
    assert.deepEqual([ordered.code, failed.code, refused.code], [1, 1, 1]);
  });

  it("larder ends with 1 when the store refuses a command, and with 3 when it refuses the login", async () => {
    await driver.send(0, [["ACL", "SETUSER", "few", "reset", "on", ">pw", "~*", "+ping", "+select"]]);
    const as = (user: string) =>
      larder(["list", "product"], { env: { CACHE_URL: redis.url.replace("//", `//${user}@`) } });
    const [refused, unknown] = await Promise.all([as("few:pw"), as("few:wrong")]);
    assert.match(refused.stderr, /^error: NOPERM .*'scan'/);
    assert.match(unknown.stderr, /^error: Cannot log in to Redis at .*: WRONGPASS/);
    assert.deepEqual([refused.code, unknown.code], [1, 3]);
  });

  it("serve serves the database that the URL names", async () => {
    await driver.send(3, [["SET", "where", "here"]]);
    const served = startLarder(["serve", "--port", "0", "--token", "t", "--url", `${redis.url}/3`]);
    const [, url] = await served.said(/^UPSTASH_REDIS_REST_URL=(http:\S+)\n/);
    const reply = await fetch(`${url}/get/where`, { headers: { authorization: "Bearer t" } });
    assert.deepEqual(await reply.json(), { result: "here" });
    served.signal("SIGINT");
    assert.equal((await served.ended).code, 0);
  });

  it("clear asks in lines when a terminal does not know its size, and without colours with --no-color", async () => {
    const asked = inTerminal(["clear", "product", "--no-color"], { env, columns: 0 });
    await asked.said(/Delete all keys of product in redis:/);
    asked.type("n");
    const { code, stdout } = await asked.ended;
    assert.equal(code, 1);
    // Colours are control sequences that end in m.
    assert.ok(!stdout.split("\x1b[").some((sequence) => /^[\d;]+m/.test(sequence)), stdout);
  });
});
