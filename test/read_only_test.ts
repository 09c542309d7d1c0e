/**
 * A user that may only read can read everything: by EVAL_RO, or by commands if it may not run scripts.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { type CacheClient, type ClientOptions, createCacheClient } from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { before7, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

const LIMIT = { timeout: 60_000 };

/**
 * A store: how its owner and its reader reach it, and how the reader's tagged entries are read there once that is
 * known.
 */
interface Shop {
  readonly owner: ClientOptions;
  readonly reader: ClientOptions;
  readonly reads: readonly string[];
  close(): Promise<void>;
}

async function overTcp(
  rights: readonly string[],
  reads: readonly string[],
  args: readonly string[] = [],
): Promise<Shop> {
  const redis = await startRedis({ args });
  await rawCommand(redis.port, ["ACL", "SETUSER", "reader", "on", ">pw", "resetkeys", ...rights]);
  const reader = { url: redis.url.replace("//", "//reader:pw@") };
  return { owner: { url: redis.url }, reader, reads, close: () => redis.stop() };
}

async function overRest(over: "memory" | "redis"): Promise<Shop> {
  const redis = over === "redis" ? await startRedis() : undefined;
  const driver = redis ? nodeRedis({ url: redis.url }) : memory();
  const { url, close } = await serve(bridge({ driver, token: "t", readOnlyToken: "r" }));
  return {
    owner: { url, token: "t" },
    reader: { url, token: "r" },
    reads: COMMANDS,
    async close() {
      await close();
      await driver.close();
      await redis?.stop();
    },
  };
}

const COMMANDS = ["MGET", "PTTL"];
const SHOPS: Readonly<Record<string, () => Promise<Shop>>> = {
  "a user with %R~* +@read +@scripting": () => overTcp(["%R~*", "+@read", "+@scripting", "+select"], ["EVALSHA_RO"]),
  "a user with %R~* +@read +@scripting, of a server without EVAL_RO": () =>
    overTcp(["%R~*", "+@read", "+@scripting", "+select"], COMMANDS, [
      "--rename-command",
      "EVAL_RO",
      "",
      "--rename-command",
      "EVALSHA_RO",
      "",
    ]),
  "a user with ~* +@read": () => overTcp(["~*", "+@read", "+select"], COMMANDS),
  "a read-only token, over memory": () => overRest("memory"),
  "a read-only token, over a Redis": () => overRest("redis"),
};

for (const [title, open] of Object.entries(SHOPS)) {
  // Rights to read keys alone exist since version 7.
  if (title.includes("%R~") && before7()) continue;
  describe(`reads of ${title}`, () => {
    let shop: Shop;
    let owner: CacheClient;
    let reader: CacheClient;
    const told: string[] = [];
    const make = (options: ClientOptions): CacheClient => {
      const client = createCacheClient({ env: {}, timeout: 5000, ...options });
      client.subscribe((event) => event.type === "error" && told.push(`${event.operation}: ${event.error.message}`));
      return client;
    };
    before(async () => {
      shop = await open();
      owner = make(shop.owner);
      reader = make(shop.reader);
      const { searches, products } = owner.service("product");
      await products.set(1, { id: 1, name: "Pho" });
      await products.set(2, { id: 2, name: "Bun" }, { tags: ["menu"] });
      await searches.set("pho", [1]);
      await owner.service("product").cache.set("forever", 1, { ttl: "forever" });
      await owner.service("auth").sessions.set("token", { userId: "u1" });
      await owner.service("auth").checkRateLimit("login", { limit: 1, window: "1h", algorithm: "sliding" });
    });
    after(async () => {
      await owner?.close();
      await reader?.close();
      await shop?.close();
    });

    it("give what is there, tagged, sliding or not, and what has and ttl say of it", LIMIT, async () => {
      const { cache, products, searches } = reader.service("product");
      const { sessions, rateLimits } = reader.service("auth");
      for (let i = 0; i < 2; i++) {
        assert.deepEqual(await products.get(1), { id: 1, name: "Pho" });
        assert.deepEqual(await searches.get("pho"), [1]);
        assert.equal(await searches.get("none"), undefined);
        assert.deepEqual([...(await products.getMany([1, 2, 3])).keys()], [1, 2]);
        assert.deepEqual(await products.getOrSet(2, () => assert.fail("it is there")), { id: 2, name: "Bun" });
        assert.deepEqual(await sessions.get("token"), { userId: "u1" });
        assert.deepEqual(await Promise.all([products.has(1), products.has(2), products.has(3)]), [true, true, false]);
        assert.ok(await rateLimits.has((await owner.service("auth").rateLimits.keys().next()).value as string));
        const left = Number(await products.ttl(2));
        assert.ok(left > 3500 && left <= 3600, `${left}`);
        assert.equal(await cache.ttl("forever"), "forever");
        assert.equal(await cache.ttl("none"), undefined);
      }
      assert.deepEqual(told, []);
    });

    it("go on where a near cache is on", LIMIT, async () => {
      await using near = make({ ...shop.reader, near: true });
      for (let i = 0; i < 3; i++)
        assert.deepEqual(await near.service("product").products.get(1), { id: 1, name: "Pho" });
      assert.deepEqual(told, []);
    });

    it("take what worked before, without a round trip more", LIMIT, async () => {
      const sent: string[][] = [];
      const stop = reader.onSend(({ commands }) => void sent.push(commands.map(([name]) => name)));
      await reader.service("product").searches.get("pho");
      await Promise.all(["pho", "none"].map((id) => reader.service("product").searches.get(id)));
      stop();
      // Where the script may run, MGET takes its place once the marks of tags are known.
      const scripted = shop.reads.length === 1;
      const names = sent.map((each) => each.map((name) => (scripted && name === "MGET" ? shop.reads[0] : name)));
      assert.deepEqual(names, [shop.reads, scripted ? shop.reads : [...shop.reads, ...shop.reads]]);
    });

    it("miss what was invalidated, by a tag or with all, and nothing else", LIMIT, async () => {
      const { products, searches, categories } = reader.service("product");
      await owner.service("product").categories.set(7, { id: 7, name: "Soups" });
      assert.ok(await owner.service("product").invalidateTags("menu"));
      assert.equal(await products.get(2), undefined);
      assert.equal(await products.has(2), false);
      assert.equal(await products.ttl(2), undefined);
      assert.deepEqual(await products.get(1), { id: 1, name: "Pho" });
      assert.deepEqual(await searches.get("pho"), [1]);
      assert.ok(await categories.has(7));
      assert.ok(await owner.service("product").invalidateAll());
      assert.equal(await searches.get("pho"), undefined);
      assert.equal(await products.get(1), undefined);
      assert.equal(await categories.has(7), false);
      await owner.service("product").searches.set("pho", [2]);
      assert.deepEqual(await searches.get("pho"), [2]);
      assert.deepEqual(told, []);
    });

    it("tell of what is refused for good, once a call", LIMIT, async () => {
      assert.equal(await reader.service("product").products.set(9, { id: 9, name: "x" }), false);
      assert.equal(told.length, 1);
      assert.match(told[0] as string, /^set: NOPERM/);
    });
  });
}

describe("a read of a user who may read some keys only", () => {
  it("reports the keys that it may not read, and reads the others", LIMIT, async () => {
    const shop = await overTcp(["~product:*", "~#larder:*", "+@all"], []);
    await using client = createCacheClient({ env: {}, timeout: 5000, ...shop.reader });
    const errors: string[] = [];
    const sent: string[] = [];
    client.subscribe((event) => event.type === "error" && errors.push(event.error.code));
    client.onSend(({ commands }) => void sent.push(...commands.map(([name]) => name)));
    const { products, searches } = client.service("product");
    await products.set(1, { id: 1, name: "Pho" });
    assert.equal(await searches.get("pho"), undefined);
    assert.deepEqual(errors, ["NOPERM"]);
    sent.length = 0;
    assert.ok(await products.has(1));
    assert.equal(sent.join(), "MGET,GETRANGE");
    await shop.close();
  });
});
