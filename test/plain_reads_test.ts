/** Reads by plain commands answer what the script would. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { nodeRedis } from "../drivers/node_redis.ts";
import { type CacheClient, createCacheClient } from "../mod.ts";
import { Marks } from "../src/cache/marks.ts";
import { createCacheClient as createCoreClient } from "../src/core.ts";
import { type RawClient, type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";

const LIMIT = { timeout: 60_000 };
const CLOCK = "#larder:clock";
const mark = (tag: string): string => `#larder:tag:${tag}`;

/** Texts that may stand at a key: entries of every kind, and what no cache has written. */
const TEXTS: readonly string[] = [
  ...["", '"born":4,', '"born":6,', '"born":8,', '"born":5,"tags":["a"],', '"born":6,"tags":["a","b"],'].flatMap(
    (born) =>
      [
        '"json":1',
        '"at":1000,"ttl":60000,"json":{"json":1}',
        `"at":${Date.now()},"ttl":3600000,"load":7,"version":1,"json":[1]`,
        '"none":1,"json":null,"meta":{"values":["undefined"]}',
        '"sealed":"k1.Zm9v+/=="',
        `"json":"${"x".repeat(400)}"`,
      ].map((rest) => `{${born}${rest}}`),
  ),
  `{"born":8,"tags":[${Array.from({ length: 40 }, (_, i) => `"tag-${i}"`)}],"json":1}`,
  `{"born":8,"tags":["ph\u1edf"],"json":1}`,
  ...["", "0", "17", "-3", "007", "null", "[1]", "text", "{", "{}", '{"a":1}', '{"price":{"json":1}}', '{"born":'],
  ...['{"born":5,"tags":["a', '{"born":6,"tags":[]}', '{"tags":["a"],"json":1}', ' {"born":5,"json":1}', '"json":1'],
  ...['{"json":1,"born":5}', '{"json":12\n}', `{"${"\u00e9".repeat(70)}":1,"json":2}`, "\u00e9".repeat(100)],
  ...["9".repeat(200), `{"${"long".repeat(80)}":1,"json":2}`, `[${"1,".repeat(300)}1]`],
];

const OTHER_MARKS = { phở: 4, ...Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`tag-${i}`, 4])) };

describe("reads by plain commands", () => {
  let redis: RedisServer;
  let raw: RawClient;
  before(async () => {
    redis = await startRedis();
    raw = await rawClient(redis.port);
  });
  after(async () => {
    raw?.close();
    await redis?.stop();
  });

  /** Makes a client, and the names of the commands that it sends. */
  const open = (url = redis.url): { client: CacheClient; sent: string[] } => {
    const client = createCacheClient({ env: {}, url, timeout: 5000, logger: false });
    const sent: string[] = [];
    client.onSend(({ commands }) => void sent.push(...commands.map(([name]) => name)));
    return { client, sent };
  };

  it("has and ttl answer what the script answers, whatever stands in the store", LIMIT, async () => {
    const driver = nodeRedis({ url: redis.url });
    const scripted = createCoreClient({ driver, timeout: 5000, logger: false });
    let compared = 0;
    for (const clock of ["", "5 0", "6 0 0", "6 5", "7 7"]) {
      // No mark is missing: the script takes a tag without one for invalidated, and plain commands do not look.
      for (const marks of [
        { a: 4, b: 4 },
        { a: 4, b: 5 },
        { a: 6, b: 5 },
        { a: 7, b: 6 },
      ]) {
        if (clock && Math.max(...Object.values(marks)) > Number.parseInt(clock, 10)) continue;
        await raw.command("FLUSHALL");
        const commands: [string, ...(string | number)[]][] = TEXTS.map((text, i) => ["SET", `k${i}`, text]);
        TEXTS.forEach((text, i) => void commands.push(["SET", `t${i}`, text, "PX", 5_000_000]));
        commands.push(["HSET", "hash", "f", "1"], ["RPUSH", "list", "1"], ["PEXPIRE", "list", 5_000_000]);
        if (clock) commands.push(["SET", CLOCK, clock]);
        for (const [tag, at] of Object.entries({ ...marks, ...OTHER_MARKS })) commands.push(["SET", mark(tag), at]);
        await raw.pipeline(commands);
        // A client of its own: no invalidation moves this epoch while the marks change.
        const { client: plain, sent } = open();
        await plain.cache().has("none");
        const keys = [...TEXTS.flatMap((_, i) => [`k${i}`, `t${i}`]), "hash", "list", "missing"];
        const ask = ({ has, ttl }: { has(key: string): Promise<unknown>; ttl(key: string): Promise<unknown> }) =>
          Promise.all(keys.map(async (key) => [key, await has(key), rounded(await ttl(key))]));
        const [by, due] = [plain.cache(), scripted.cache()].map((cache) => ({
          has: (key: string) => cache.has(key),
          ttl: (key: string) => cache.ttl(key),
        })) as [Parameters<typeof ask>[0], Parameters<typeof ask>[0]];
        const expected = await ask(due);
        for (const [i, answer] of (await ask(by)).entries()) {
          assert.deepEqual(
            answer,
            expected[i],
            `${TEXTS[Math.floor(i / 2)]}, clock ${clock}, marks ${Object.values(marks)}`,
          );
        }
        compared += keys.length;
        assert.ok(sent.includes("GETRANGE") && sent.includes("PTTL"));
        await plain.close();
      }
    }
    assert.ok(compared > 2000);
    await scripted.close();
    await driver.close();
  });

  it("has sends a GETRANGE, and the script only for tags that may have been invalidated", LIMIT, async () => {
    await raw.command("FLUSHALL");
    const { client, sent } = open();
    const cache = client.cache();
    await cache.set("plain", 1);
    await cache.set("tagged", 1, { tags: ["t"] });
    await cache.has("plain");
    const asked = async (key: string): Promise<string> => {
      sent.length = 0;
      assert.equal(await cache.has(key), true);
      return sent.join();
    };
    assert.equal(await asked("plain"), "MGET,GETRANGE");
    assert.equal(await asked("tagged"), "MGET,GETRANGE");
    await cache.invalidateTags("other");
    assert.equal(await asked("plain"), "MGET,GETRANGE");
    assert.match(await asked("tagged"), /^MGET,GETRANGE,EVAL(SHA)?$/);
    // Where they were in vain, the next reads do without them.
    for (let i = 0; i < 20; i++) assert.equal(await asked("tagged"), "EVALSHA");
    assert.equal(await asked("tagged"), "MGET,GETRANGE");
    await cache.invalidateTags("t");
    assert.equal(await cache.has("tagged"), false);
    await cache.set("tagged", 1, { tags: ["t"] });
    await cache.invalidateTags("t");
    assert.equal(await cache.has("tagged"), false);
    await client.close();
  });

  it("has and ttl go by the script once GETRANGE was refused", LIMIT, async () => {
    await raw.command("FLUSHALL");
    await raw.command("ACL", "SETUSER", "u", "reset", "on", ">pw", "~*", "&*", "+@all", "-getrange");
    const { client, sent } = open(redis.url.replace("//", "//u:pw@"));
    const cache = client.cache();
    await cache.set("k", 1, { ttl: "1h" });
    assert.equal(await cache.has("k"), true);
    sent.length = 0;
    assert.equal(await cache.has("k"), true);
    assert.ok(Number(await cache.ttl("k")) > 3500);
    assert.deepEqual(sent, ["EVALSHA", "EVALSHA"]);
    await client.close();
  });

  it("get reads tagged entries by MGET while the epoch stands, and never what was invalidated", LIMIT, async () => {
    await raw.command("FLUSHALL");
    const [{ client, sent }, { client: other }] = [open(), open()];
    const cache = client.cache();
    const settle = async (): Promise<void> => {
      for (let i = 0; i < 1000 && sent.at(-1) !== "MGET"; i++) assert.equal(await cache.get("k"), 1);
      sent.length = 0;
      assert.equal(await cache.get("k"), 1);
      assert.deepEqual(sent, ["MGET"]);
    };
    await cache.set("k", 1, { tags: ["a", "b"] });
    await other.cache().invalidateTags("unknown");
    await settle();
    // An invalidation of another tag is found out by one more round trip.
    await other.cache().invalidateTags("unknown");
    sent.length = 0;
    assert.equal(await cache.get("k"), 1);
    assert.match(sent.join(), /^MGET,EVAL(SHA)?$/);
    await settle();
    // So is one of its own.
    assert.ok(await other.cache().invalidateTags("b"));
    assert.equal(await cache.get("k"), undefined);
    await cache.set("k", 1, { tags: ["a", "b"] });
    await other.cache().invalidateTags("unknown");
    sent.length = 0;
    await cache.get("k");
    await settle();
    // An epoch that was evicted proves nothing, nor does one that was made since.
    const text = await raw.command("GET", "k");
    await other.cache().invalidateTags("a");
    await raw.command("DEL", CLOCK);
    assert.equal(await cache.get("k"), undefined);
    await other.cache().set("new", 1, { tags: ["c"] });
    assert.equal(await raw.command("GET", "k"), text);
    assert.equal(await cache.get("k"), undefined);
    await Promise.all([client.close(), other.close()]);
  });

  it("Marks covers no entry that one of its tags invalidates, whatever came before", () => {
    const tag = fc.constantFrom("a", "b", "c");
    const step = fc.oneof(
      fc.record({ invalidate: tag }),
      fc.record({ evict: tag }),
      fc.record({ write: fc.nat(3), tags: fc.uniqueArray(tag, { minLength: 1 }), age: fc.nat(2) }),
      fc.record({ read: fc.nat(3), script: fc.boolean() }),
      fc.record({ read: fc.nat(3), script: fc.boolean() }),
    );
    let covered = 0;
    fc.assert(
      fc.property(fc.array(step, { size: "max", maxLength: 60 }), (steps) => {
        const marks = new Marks();
        /** The marks of the store, and the last invalidation of each tag, which no eviction forgets. */
        const stored = new Map<string, number>();
        const last = new Map<string, number>();
        const entries = new Map<number, { tags: string[]; born: number }>();
        let epoch = 10;
        for (const one of steps) {
          if ("invalidate" in one) {
            epoch++;
            stored.set(one.invalidate, epoch);
            last.set(one.invalidate, epoch);
          } else if ("evict" in one) stored.delete(one.evict);
          else if ("write" in one) {
            const born = epoch - one.age;
            entries.set(one.write, { tags: one.tags, born });
            for (const name of one.tags) if (!stored.has(name)) stored.set(name, Math.max(born, last.get(name) ?? 0));
          } else {
            const { tags, born } = entries.get(one.read) ?? { tags: [], born: 0 };
            if (tags.length === 0) continue;
            const valid = tags.every((name) => (stored.get(name) ?? Number.POSITIVE_INFINITY) <= born);
            if (one.script && valid) marks.learn(tags, born, `${epoch} 0`);
            else if (!one.script && marks.covers(tags, born, `${epoch} 0`)) {
              covered++;
              assert.ok(tags.every((name) => (last.get(name) ?? 0) <= born));
            }
            assert.equal(marks.covers(tags, born, null), false);
          }
        }
      }),
      { numRuns: 2000 },
    );
    assert.ok(covered > 100, `only ${covered} were covered`);
  });
});

/** A TTL without the time that passes between two looks. */
function rounded(ttl: unknown): unknown {
  return typeof ttl === "number" ? Math.round(ttl / 100) : ttl;
}
