/** The bridge in front of a cluster, as Upstash's client uses it. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { Redis } from "upstash-latest";
import { cluster } from "../drivers/cluster.ts";
import type { Driver } from "../drivers/driver.ts";
import { type Bridge, bridge } from "../src/bridge/bridge.ts";
import type { Listener } from "../src/runtime/listen.ts";
import { eventually } from "./helpers/eventually.ts";
import { type RedisCluster, startCluster } from "./helpers/redis_cluster.ts";
import { serve } from "./helpers/serve.ts";

const TOKEN = "cluster-token";
const IDS = Array.from({ length: 40 }, (_, id) => id);

describe("@upstash/redis over the bridge in front of a cluster", () => {
  let servers: RedisCluster;
  let driver: Driver;
  let handler: Bridge;
  let listener: Listener;
  let redis: Redis;

  before(async () => {
    servers = await startCluster({ masters: 3 });
    driver = cluster({ nodes: servers.addresses });
    handler = bridge({ driver, token: TOKEN });
    listener = await serve(handler);
    redis = new Redis({ url: listener.url, token: TOKEN });
  });
  after(async () => {
    await handler?.close();
    await listener?.close();
    await driver?.close();
    await servers?.stop();
  });
  beforeEach(async () => {
    await redis.flushall();
  });

  it("commands go to the server of their key, a pipeline to those of its keys, in its order", async () => {
    for (const id of IDS) assert.equal(await redis.set(`key:${id}`, id), "OK");
    const pipeline = redis.pipeline();
    for (const id of IDS) pipeline.incrby(`key:${id}`, 1).get(`key:${id}`);
    assert.deepEqual(
      await pipeline.exec(),
      IDS.flatMap((id) => [id + 1, id + 1]),
    );
    assert.deepEqual(await redis.mget("{a}1", "{a}2"), [null, null]);
  });

  it("commands about the whole store go to every server", async () => {
    const pipeline = redis.pipeline();
    for (const id of IDS) pipeline.set(`key:${id}`, id);
    await pipeline.exec();
    assert.equal(await redis.dbsize(), IDS.length);
    assert.equal((await redis.keys("key:1?")).length, 10);
    const scanned = new Set<string>();
    let cursor = "0";
    do {
      const [next, keys] = await redis.scan(cursor, { match: "key:*" });
      cursor = `${next}`;
      for (const key of keys) scanned.add(key);
    } while (cursor !== "0");
    assert.equal(scanned.size, IDS.length);
    await redis.flushdb();
    assert.equal(await redis.dbsize(), 0);
  });

  it("scripts that were loaded run on every server", async () => {
    const sha1 = await redis.scriptLoad("return redis.call('INCR', KEYS[1])");
    assert.deepEqual(await redis.scriptExists(sha1), [1]);
    for (const id of IDS) assert.equal(await redis.evalsha(sha1, [`n:${id}`], []), 1);
    await redis.scriptFlush();
    assert.deepEqual(await redis.scriptExists(sha1), [0]);
  });

  it("a command over several slots is CROSSSLOT, and the rest of its pipeline is answered", async () => {
    await assert.rejects(redis.sunion("a", "b"), /CROSSSLOT/);
    const response = await fetch(`${listener.url}/pipeline`, {
      method: "POST",
      headers: { authorization: `Bearer ${TOKEN}` },
      body: JSON.stringify([
        ["SET", "a", "1"],
        ["RENAME", "a", "b"],
        ["GET", "a"],
      ]),
    });
    const [set, renamed, got] = (await response.json()) as { result?: unknown; error?: string }[];
    assert.deepEqual([set?.result, got?.result], ["OK", "1"]);
    assert.match(renamed?.error ?? "", /^CROSSSLOT/);
  });

  it("a transaction runs in one slot, and is refused over several", async () => {
    for (const id of IDS) {
      const multi = redis.multi().set(`{t:${id}}a`, id).incr(`{t:${id}}b`);
      assert.deepEqual(await multi.exec(), ["OK", 1]);
    }
    await assert.rejects(redis.multi().set("a", 1).set("b", 2).exec(), /CROSSSLOT .*one hash tag/);
    assert.equal(await redis.get("a"), null);
    assert.deepEqual(await redis.multi().ping().exec(), ["PONG"]);
  });

  it("a transaction follows a slot that has moved", async () => {
    const slot = await servers.slotOf("{moved}");
    const home = await servers.ownerOf(slot);
    const target = servers.nodes.find((node) => node !== home) as (typeof servers.nodes)[number];
    assert.deepEqual(await redis.multi().set("{moved}a", 1).exec(), ["OK"]);
    await servers.move(slot, target);
    assert.deepEqual(await redis.multi().incr("{moved}a").incr("{moved}a").exec(), [2, 3]);
    await servers.move(slot, home);
    assert.deepEqual(await redis.multi().incr("{moved}a").exec(), [4]);
  });

  it("MONITOR hears every server, and subscriptions hear what any server publishes", async () => {
    const stop = new AbortController();
    const follow = async (path: string): Promise<{ text: string }> => {
      const heard = { text: "" };
      const response = await fetch(`${listener.url}${path}`, {
        headers: { authorization: `Bearer ${TOKEN}` },
        signal: stop.signal,
      });
      const decoder = new TextDecoder();
      const read = async (): Promise<void> => {
        for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>)
          heard.text += decoder.decode(chunk);
      };
      read().catch(() => {});
      return heard;
    };
    const monitor = await follow("/monitor");
    const news = await follow("/subscribe/news");
    for (const id of IDS) await redis.set(`seen:${id}`, 1);
    await eventually(() => IDS.every((id) => monitor.text.includes(`"seen:${id}"`)));
    assert.equal(monitor.text.match(/data: "OK"/g)?.length, 1);
    for (const node of servers.nodes) await node.say("PUBLISH", "news", node.address);
    await eventually(() => servers.nodes.every((node) => news.text.includes(node.address)));
    stop.abort();
  });
});
