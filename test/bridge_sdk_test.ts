import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { Redis as Redis35 } from "@upstash/redis";
import { Redis as Latest } from "upstash-latest";
import type { Driver } from "../drivers/driver.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { type Bridge, bridge } from "../src/bridge/bridge.ts";
import type { Listener } from "../src/runtime/listen.ts";
import { eventually } from "./helpers/eventually.ts";
import { type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

const TOKEN = "sdk-token";

for (const [version, Redis] of [
  ["1.35", Redis35 as unknown as typeof Latest],
  ["the newest", Latest],
] as const) {
  describe(`@upstash/redis, ${version}, with its defaults, over Redis`, () => {
    let server: RedisServer;
    let driver: Driver;
    let handler: Bridge;
    let listener: Listener;
    let redis: Latest;

    before(async () => {
      server = await startRedis();
      driver = nodeRedis({ url: server.url });
      handler = bridge({ driver, token: TOKEN });
      listener = await serve(handler);
      redis = new Redis({ url: listener.url, token: TOKEN });
    });
    after(async () => {
      await handler.close();
      await listener.close();
      await driver.close();
      await server.stop();
    });
    beforeEach(async () => {
      await redis.flushdb();
    });

    it("Redis sets and reads strings", async () => {
      assert.equal(await redis.set("s", "phở \u{1f35c}"), "OK");
      assert.equal(await redis.get("s"), "phở \u{1f35c}");
      for (const text of ["OK", "user", "PONG", "deadbeef", "T0s=", "", " ", "a\r\nb", "\u0000", "a".repeat(500_000)]) {
        await redis.set("t", text);
        assert.equal(await redis.get("t"), text);
      }
      assert.equal(await redis.set("s", "x", { nx: true }), null);
      assert.equal(await redis.set("s", { a: [1, { b: "c" }] }, { get: true }), "phở \u{1f35c}");
      assert.deepEqual(await redis.get("s"), { a: [1, { b: "c" }] });
      assert.equal(await redis.append("a", "abc"), 3);
      assert.equal(await redis.getrange("a", 1, -1), "bc");
      assert.equal(await redis.setrange("a", 1, "xy"), 3);
      assert.equal(await redis.strlen("a"), 3);
      assert.equal(await redis.getset("a", "new"), "axy");
      assert.equal(await redis.getdel("a"), "new");
      assert.equal(await redis.setnx("n", "1"), 1);
      assert.equal(await redis.incr("n"), 2);
      assert.equal(await redis.incrby("n", 40), 42);
      assert.equal(await redis.decr("n"), 41);
      assert.equal(await redis.decrby("n", 1), 40);
      assert.equal(await redis.incrbyfloat("n", 0.5), 40.5);
      assert.equal(await redis.mset({ m1: "one", m2: { two: 2 } }), "OK");
      assert.deepEqual(await redis.mget("m1", "m2", "none"), ["one", { two: 2 }, null]);
      assert.equal(await redis.msetnx({ m1: "x", m3: "y" }), 0);
      assert.equal(await redis.setex("e", 100, "v"), "OK");
      assert.equal(await redis.psetex("p", 100_000, "v"), "OK");
      assert.equal(await redis.getex("e", { persist: true }), "v");
      assert.equal(await redis.ttl("e"), -1);
    });

    it("Redis expires, renames and deletes keys", async () => {
      await redis.mset({ a: 1, b: 2, c: 3 });
      assert.equal(await redis.exists("a", "b", "none"), 2);
      assert.equal(await redis.type("a"), "string");
      assert.equal(await redis.expire("a", 100), 1);
      assert.equal(await redis.ttl("a"), 100);
      assert.equal(await redis.pexpire("a", 200_000), 1);
      assert.ok((await redis.pttl("a")) > 199_000);
      const at = Math.floor(Date.now() / 1000) + 1000;
      assert.equal(await redis.expireat("a", at), 1);
      assert.equal(await redis.pexpireat("a", at * 1000 + 1), 1);
      assert.equal(await redis.exec(["PEXPIRETIME", "a"]), at * 1000 + 1);
      assert.equal(await redis.persist("a"), 1);
      assert.equal(await redis.ttl("a"), -1);
      assert.equal(await redis.ttl("none"), -2);
      assert.equal(await redis.rename("a", "a2"), "OK");
      assert.equal(await redis.renamenx("a2", "b"), 0);
      assert.equal(await redis.touch("a2", "none"), 1);
      assert.equal(await redis.copy("a2", "a3"), "COPIED");
      assert.deepEqual((await redis.keys("a*")).sort(), ["a2", "a3"]);
      assert.match(String(await redis.randomkey()), /^(a2|a3|b|c)$/);
      assert.equal(await redis.dbsize(), 4);
      assert.equal(await redis.unlink("a2"), 1);
      assert.equal(await redis.del("a3", "none"), 1);
      assert.equal(await redis.flushall(), "OK");
      assert.equal(await redis.ping(), "PONG");
      assert.equal(await redis.echo("user"), "user");
      assert.equal((await redis.time()).length, 2);
    });

    it("Redis runs the commands of hashes", async () => {
      assert.equal(await redis.hset("h", { a: 1, b: "user", c: { d: false } }), 3);
      assert.deepEqual(await redis.hgetall("h"), { a: 1, b: "user", c: { d: false } });
      assert.equal(await redis.hgetall("none"), null);
      assert.equal(await redis.hget("h", "b"), "user");
      assert.equal(await redis.hget("h", "none"), null);
      assert.deepEqual(await redis.hmget("h", "a", "none"), { a: 1, none: null });
      assert.equal(await redis.hmset("h", { e: 5 }), "OK");
      assert.deepEqual((await redis.hkeys("h")).sort(), ["a", "b", "c", "e"]);
      assert.deepEqual(await redis.hvals("h"), [1, "user", { d: false }, 5]);
      assert.equal(await redis.hlen("h"), 4);
      assert.equal(await redis.hexists("h", "a"), 1);
      assert.equal(await redis.hincrby("h", "a", 2), 3);
      assert.equal(await redis.hincrbyfloat("h", "a", 0.5), 3.5);
      assert.equal(await redis.hsetnx("h", "a", 9), 0);
      assert.equal(await redis.hstrlen("h", "b"), 4);
      assert.ok(await redis.hrandfield("h"));
      assert.equal(Object.keys((await redis.hrandfield("h", 2, true)) ?? {}).length, 2);
      assert.equal(await redis.hdel("h", "a", "none"), 1);
      const [cursor, fields] = await redis.hscan("h", 0, { match: "*", count: 100 });
      assert.equal(String(cursor), "0");
      assert.equal(fields.length, 6);
    });

    it("Redis runs the commands of lists", async () => {
      assert.equal(await redis.rpush<unknown>("l", "a", { b: 1 }, 3), 3);
      assert.equal(await redis.lpush("l", "first"), 4);
      assert.deepEqual(await redis.lrange("l", 0, -1), ["first", "a", { b: 1 }, 3]);
      assert.equal(await redis.rpushx("none", "x"), 0);
      assert.equal(await redis.lpushx("none", "x"), 0);
      assert.equal(await redis.llen("l"), 4);
      assert.equal(await redis.lindex("l", 1), "a");
      assert.equal(await redis.linsert("l", "before", "a", "b4"), 5);
      assert.equal(await redis.lset("l", 0, "1st"), "OK");
      assert.equal(await redis.lpos("l", "a"), 2);
      assert.equal(await redis.lrem("l", 1, "b4"), 1);
      assert.equal(await redis.lmove("l", "l2", "left", "right"), "1st");
      assert.deepEqual(await redis.lmpop(2, ["l2", "l"], "LEFT", 2), ["l2", ["1st"]]);
      assert.equal(await redis.lpop("l"), "a");
      assert.deepEqual(await redis.rpop("l", 2), [3, { b: 1 }]);
      await redis.rpush("l", 1, 2, 3);
      assert.equal(await redis.ltrim("l", 1, -1), "OK");
      assert.deepEqual(await redis.lrange("l", 0, -1), [2, 3]);
    });

    it("Redis runs the commands of sets", async () => {
      assert.equal(await redis.sadd("s", "a", "b", "user"), 3);
      await redis.sadd("t", "b", "c");
      assert.deepEqual((await redis.smembers("s")).sort(), ["a", "b", "user"]);
      assert.equal(await redis.scard("s"), 3);
      assert.equal(await redis.sismember("s", "a"), 1);
      assert.deepEqual(await redis.smismember("s", ["a", "x"]), [1, 0]);
      assert.deepEqual(await redis.sinter("s", "t"), ["b"]);
      assert.deepEqual((await redis.sdiff("s", "t")).sort(), ["a", "user"]);
      assert.equal((await redis.sunion("s", "t")).length, 4);
      assert.equal(await redis.sinterstore("i", "s", "t"), 1);
      assert.equal(await redis.sdiffstore("d", "s", "t"), 2);
      assert.equal(await redis.sunionstore("u", "s", "t"), 4);
      assert.equal(await redis.smove("s", "t", "a"), 1);
      assert.ok(["b", "user"].includes(String(await redis.srandmember("s"))));
      assert.equal(await redis.srem("s", "b"), 1);
      assert.equal(await redis.spop("s"), "user");
      const [cursor, members] = await redis.sscan("u", 0, { count: 100 });
      assert.equal(String(cursor), "0");
      assert.equal(members.length, 4);
    });

    it("Redis runs the commands of sorted sets", async () => {
      assert.equal(
        await redis.zadd("z", { score: 1, member: "a" }, { score: 2.5, member: "user" }, { score: 3, member: "c" }),
        3,
      );
      assert.equal(await redis.zadd("z", { ch: true }, { score: 4, member: "c" }), 1);
      assert.equal(await redis.zscore("z", "user"), 2.5);
      assert.deepEqual(await redis.zmscore("z", ["a", "none"]), [1, null]);
      assert.equal(await redis.zincrby("z", 1, "a"), 2);
      assert.equal(await redis.zcard("z"), 3);
      assert.equal(await redis.zcount("z", 2, "+inf"), 3);
      assert.equal(await redis.zlexcount("z", "-", "+"), 3);
      assert.deepEqual(await redis.zrange("z", 0, -1, { withScores: true }), ["a", 2, "user", 2.5, "c", 4]);
      assert.deepEqual(await redis.zrange("z", "(2", "+inf", { byScore: true, offset: 0, count: 1 }), ["user"]);
      assert.equal(await redis.zrank("z", "user"), 1);
      assert.equal(await redis.zrevrank("z", "user"), 1);
      await redis.zadd("y", { score: 10, member: "a" });
      assert.equal(await redis.zinterstore("i", 2, ["z", "y"]), 1);
      assert.equal(await redis.zunionstore("u", 2, ["z", "y"], { aggregate: "max" }), 3);
      assert.equal(await redis.zdiffstore("d", 2, "z", "y"), 2);
      assert.deepEqual(await redis.zunion(2, ["z", "y"], { withScores: true }), ["user", 2.5, "c", 4, "a", 12]);
      const [cursor, members] = await redis.zscan("z", 0, { count: 100 });
      assert.equal(String(cursor), "0");
      assert.equal(members.length, 6);
      assert.deepEqual(await redis.zpopmin("z"), ["a", 2]);
      assert.deepEqual(await redis.zpopmax("z", 1), ["c", 4]);
      assert.equal(await redis.zrem("z", "user"), 1);
      assert.equal(await redis.zremrangebyscore("u", "-inf", 2), 0);
      assert.equal(await redis.zremrangebyrank("u", 0, 0), 1);
      await redis.zadd("lex", { score: 0, member: "a" }, { score: 0, member: "b" });
      assert.equal(await redis.zremrangebylex("lex", "[a", "(b"), 1);
    });

    it("Redis runs the commands of streams", async () => {
      assert.equal(await redis.xadd("x", "1-1", { name: "phở", n: 1 }), "1-1");
      assert.match(String(await redis.xadd("x", "*", { name: "b" })), /^\d+-\d+$/);
      assert.equal(await redis.xlen("x"), 2);
      assert.deepEqual(await redis.xrange("x", "-", "1-1"), { "1-1": { name: "phở", n: 1 } });
      assert.equal(Object.keys(await redis.xrevrange("x", "+", "-", 1)).length, 1);
      assert.deepEqual(await redis.xread("x", "0-0", { count: 1 }), [["x", [["1-1", ["name", "phở", "n", 1]]]]]);
      assert.equal(await redis.xgroup("x", { type: "CREATE", group: "g", id: "0" }), "OK");
      const [entry] = (await redis.xreadgroup("g", "me", "x", ">", { count: 1 })) as [[string, unknown[]]];
      assert.equal(entry[0], "x");
      assert.equal(((await redis.xpending("x", "g", "-", "+", 10)) as unknown[]).length, 1);
      assert.ok(await redis.xclaim("x", "g", "other", 0, "1-1"));
      assert.ok(await redis.xautoclaim("x", "g", "me", 0, "0-0"));
      assert.ok(await redis.xinfo("x", { type: "GROUPS" }));
      assert.equal(await redis.xack("x", "g", "1-1"), 1);
      assert.equal(await redis.xdel("x", "1-1"), 1);
      assert.equal(await redis.xtrim("x", { strategy: "MAXLEN", threshold: 0, exactness: "=" }), 1);
    });

    it("Redis runs the commands of bitmaps", async () => {
      assert.equal(await redis.setbit("b", 7, 1), 0);
      assert.equal(await redis.getbit("b", 7), 1);
      assert.equal(await redis.bitcount("b", 0, -1), 1);
      assert.equal(await redis.bitpos("b", 1), 7);
      await redis.setbit("c", 6, 1);
      assert.equal(await redis.bitop("or", "d", "b", "c"), 1);
      // Auto-pipelining, on by default, hides the builder that bitfield answers.
      const field = ["BITFIELD", "f", "SET", "u8", 0, 255, "GET", "u8", 0, "OVERFLOW", "SAT", "INCRBY", "u8", 0, 10];
      assert.deepEqual(await redis.exec(field as [string, ...(string | number)[]]), [0, 255, 255]);
    });

    it("Redis runs the commands of hyperloglogs", async () => {
      assert.equal(await redis.pfadd("p", "a", "b"), 1);
      await redis.pfadd("q", "c");
      assert.equal(await redis.pfcount("p", "q"), 3);
      assert.equal(await redis.pfmerge("r", "p", "q"), "OK");
      assert.equal(await redis.pfcount("r"), 3);
    });

    it("Redis runs the commands of geospatial indexes", async () => {
      const added = await redis.geoadd(
        "g",
        { longitude: 106.7, latitude: 10.77, member: "saigon" },
        { longitude: 105.85, latitude: 21.03, member: "hanoi" },
      );
      assert.equal(added, 2);
      const distance = await redis.geodist("g", "saigon", "hanoi", "KM");
      assert.ok(Number(distance) > 1100 && Number(distance) < 1200);
      assert.equal((await redis.geohash("g", "saigon")).length, 1);
      const [position] = await redis.geopos("g", "saigon");
      assert.ok(Math.abs(Number(position?.lat) - 10.77) < 0.001);
      const found = await redis.geosearch(
        "g",
        { type: "FROMLONLAT", coordinate: { lon: 106.7, lat: 10.7 } },
        { type: "BYRADIUS", radius: 50, radiusType: "KM" },
        "ASC",
      );
      assert.deepEqual(found, [{ member: "saigon" }]);
      const stored = await redis.geosearchstore(
        "near",
        "g",
        { type: "FROMMEMBER", member: "hanoi" },
        { type: "BYRADIUS", radius: 50, radiusType: "KM" },
        "ASC",
      );
      assert.equal(stored, 1);
    });

    it("Redis runs scripts and functions", async () => {
      assert.deepEqual(await redis.eval("return {KEYS[1], ARGV[1], 7, {ok = 'OK'}, {'nested'}}", ["k"], ["user"]), [
        "k",
        "user",
        7,
        "OK",
        ["nested"],
      ]);
      const sha = await redis.scriptLoad("return ARGV[1]");
      assert.equal(await redis.evalsha(sha, [], ["x"]), "x");
      assert.deepEqual(await redis.scriptExists(sha, "f".repeat(40)), [1, 0]);
      assert.equal(await redis.evalRo("return redis.call('GET', KEYS[1])", ["none"], []), null);
      const script = redis.createScript<string>("return ARGV[1] .. '!'");
      assert.equal(await script.exec([], ["a"]), "a!");
      assert.equal(await script.exec([], ["b"]), "b!");
      assert.equal(await redis.scriptFlush(), "OK");
      await assert.rejects(redis.evalsha(sha, [], ["x"]), /NOSCRIPT/);
      const library = "#!lua name=lib\nredis.register_function('hello', function(keys, args) return args[1] end)";
      assert.equal(await redis.exec(["FUNCTION", "LOAD", "REPLACE", library]), "lib");
      assert.equal(await redis.exec(["FCALL", "hello", 0, "you"]), "you");
      assert.equal(await redis.exec(["FUNCTION", "DELETE", "lib"]), "OK");
    });

    it("Redis runs pipelines and transactions", async () => {
      assert.deepEqual(await redis.pipeline().set("a", "OK").get("a").hset("h", { f: 1 }).hgetall("h").exec(), [
        "OK",
        "OK",
        1,
        { f: 1 },
      ]);
      const mixed = await redis.pipeline().set("w", "word").incr("w").get("w").exec({ keepErrors: true });
      assert.deepEqual([mixed[0].result, mixed[2].result], ["OK", "word"]);
      assert.match(mixed[1].error ?? "", /ERR value is not an integer/);
      assert.deepEqual(await redis.multi().set("n", 1).incr("n").lpush("l", "x").lrange("l", 0, -1).exec(), [
        "OK",
        2,
        1,
        ["x"],
      ]);
      await assert.rejects(redis.multi().set("n", "word").incr("n").exec(), /Command 2 .*not an integer/);
      await assert.rejects(redis.multi().set("n", "gone").mget().exec(), /ERR wrong number of arguments for 'mget'/);
      assert.equal(await redis.get("n"), "word");
      const replies = await Promise.all(Array.from({ length: 300 }, (_, index) => redis.incrby("sum", index)));
      assert.deepEqual(
        replies,
        replies.map((_, index) => (index * (index + 1)) / 2),
      );
    });

    it("Redis scans many keys by cursors", async () => {
      await redis.mset(Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`scan:${index}`, index])));
      await redis.set("other", 1);
      const found = new Set<string>();
      let cursor = "0";
      do {
        const [next, keys] = await redis.scan(cursor, { match: "scan:*", count: 50, type: "string" });
        for (const key of keys) found.add(key);
        cursor = String(next);
      } while (cursor !== "0");
      assert.equal(found.size, 500);
    });

    it("Redis keeps integers of 64 bits", async () => {
      await redis.set("big", "9223372036854775806");
      const response = await fetch(`${listener.url}/incr/big`, { headers: { authorization: `Bearer ${TOKEN}` } });
      assert.equal(await response.text(), '{"result":9223372036854775807}');
      assert.equal(await redis.exec(["GET", "big"]), "9223372036854775807");
      const far = "9007199254740993";
      assert.equal(await redis.exec(["PEXPIREAT", "big", far]), 1);
      const time = await fetch(`${listener.url}/pexpiretime/big`, { headers: { authorization: `Bearer ${TOKEN}` } });
      assert.equal(await time.text(), `{"result":${far}}`);
    });

    it("Redis publishes and subscribes", async () => {
      const subscriber = redis.subscribe<unknown>(["news", "a/b"]);
      const pattern = redis.psubscribe<unknown>("ne*");
      const ready: number[] = [];
      const got: unknown[] = [];
      subscriber.on("subscribe", (count) => void ready.push(count));
      pattern.on("psubscribe", (count) => void ready.push(count));
      subscriber.on("message", ({ channel, message }) => void got.push([channel, message]));
      pattern.on("pmessage", ({ pattern, channel, message }) => void got.push([pattern, channel, message]));
      await eventually(() => ready.length === 3);
      assert.deepEqual(ready, [1, 1, 1]);
      assert.equal(await redis.publish("news", { dish: "phở", price: [1, 2] }), 2);
      assert.equal(await redis.publish("a/b", "with, commas"), 1);
      await eventually(() => got.length === 3);
      assert.deepEqual(
        got.map((each) => JSON.stringify(each)).sort(),
        [
          ["a/b", "with, commas"],
          ["ne*", "news", { dish: "phở", price: [1, 2] }],
          ["news", { dish: "phở", price: [1, 2] }],
        ]
          .map((each) => JSON.stringify(each))
          .sort(),
      );
      await subscriber.unsubscribe();
      await pattern.unsubscribe();
      await eventually(async () => !/ sub=1 | psub=1 /.test(String(await rawCommand(server.port, ["CLIENT", "LIST"]))));
    });

    it("Redis runs the commands of JSON documents when the server has them", async (context) => {
      const [known] = (await rawCommand(server.port, ["COMMAND", "INFO", "JSON.SET"])) as unknown[];
      if (!known) return context.skip("this redis-server has no JSON commands");
      assert.equal(await redis.json.set("j", "$", { a: 1 }), "OK");
      assert.deepEqual(await redis.json.get("j"), { a: 1 });
    });
  });
}
