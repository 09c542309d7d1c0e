import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type CacheClient, createCacheClient, type StoreError } from "../mod.ts";
import { clear, copy, finish, inspect, list } from "../src/manager/mod.ts";
import { sizesOf } from "../src/monitor/sizes.ts";
import { backedUp, restored } from "./helpers/backup_file.ts";
import { eventually } from "./helpers/eventually.ts";
import { type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe("a prefix on a store without databases", () => {
  let redis: RedisServer;
  const command = (...parts: [string, ...(string | number)[]]) => rawCommand(redis.port, parts);
  before(async () => {
    redis = await startRedis();
    await command("ACL", "SETUSER", "shop", "on", ">pw", "~shop:*", "&*", "+@all");
  });
  after(() => redis.stop());

  /** Opens a client as a user that may touch only keys of the prefix, with the errors of its store. */
  function open(options: object = {}): { client: CacheClient; refused: StoreError[] } {
    const place = { env: {}, url: redis.url, username: "shop", password: "pw", timeout: 5000 };
    const client = createCacheClient({ ...place, prefix: "shop", databases: "prefixed", onError: "throw", ...options });
    const refused: StoreError[] = [];
    client.subscribe((event) => {
      if (event.type === "error") refused.push(event.error as StoreError);
    });
    return { client, refused };
  }

  it("is what every key starts with: entries, marks, clocks, locks, limits and counts", async () => {
    const { client, refused } = open({ near: true, lock: true, fleetStats: true, staleFor: "1m" });
    await using _ = client;
    const [product, auth, order] = [client.service("product"), client.service("auth"), client.service("order")];
    await product.products.set(1, { id: 1, name: "Pho" }, { tags: ["menu"] });
    assert.deepEqual(await product.products.getOrSet(2, () => ({ id: 2, name: "Bun" })), { id: 2, name: "Bun" });
    await eventually(async () => {
      await product.products.get(1);
      return product.products.stats().nearHits > 0;
    });
    assert.equal(await product.invalidateTags(["menu"]), true);
    assert.equal((await auth.incrementRateLimit("ip")).count, 1);
    assert.equal((await auth.checkRateLimit("ip", { limit: 5, window: "1m" })).allowed, true);
    await order.updateCart(7, (cart) => ({ ...cart, items: [] }) as never);
    await client.cache({ database: 9 }).increment("n");
    const locks = () => command("KEYS", "*#larder:held:job");
    assert.deepEqual(await client.cache({ database: 9 }).withLock("job", locks), ["shop:db9:#larder:held:job"]);
    await product.searches.set({ q: "pho" }, [1] as never, { ttl: "1h" });
    await client.close();
    assert.deepEqual(refused, []);
    const keys = (await command("KEYS", "*")) as string[];
    assert.deepEqual(
      keys.filter((key) => !/^shop:db(1|2|4|9):/.test(key)),
      [],
    );
    for (const part of ["1:product:2", "1:#larder:clock", "1:#larder:tag:menu", "1:#larder:stats:product", "9:n"]) {
      assert.ok(keys.includes(`shop:db${part}`), part);
    }
  });

  it("is followed by the database and by the service if databases are shared", async () => {
    await command("FLUSHALL");
    const { client } = open({ allowSharedDatabases: true });
    await using _ = client;
    await client.service("product").products.set(1, { id: 1, name: "Pho" });
    assert.ok(((await command("KEYS", "*")) as string[]).includes("shop:db1:product:product:1"));
  });

  it("is not part of what is listed, backed up, restored, copied, counted and cleared", async () => {
    await command("FLUSHALL");
    const { client } = open();
    await using _ = client;
    await using numbered = createCacheClient({ env: {}, url: redis.url, timeout: 5000 });
    await client.service("product").products.set(1, { id: 1, name: "Pho" });
    const places = [await client.locate({ service: "product" })];
    assert.deepEqual(
      (await all(list(client, { service: "product" }))).map(({ key }) => key),
      ["product:1"],
    );
    const file = await backedUp(client, { service: "product" });
    assert.equal((await inspect(client)).services.find(({ service }) => service === "product")?.keys, 1);
    assert.equal((await sizesOf(places, { timeout: 5000 }))[0]?.keys, 1);
    assert.equal((await finish(copy(client, numbered, { service: "product" }))).written, 1);
    assert.deepEqual(await numbered.service("product").products.get(1), { id: 1, name: "Pho" });
    assert.equal((await finish(clear(client, { service: "product" }))).keys, 1);
    assert.equal(await client.service("product").products.get(1), undefined);
    assert.equal((await restored(client, 1, file, "fail")).written, 1);
    assert.deepEqual(await client.service("product").products.get(1), { id: 1, name: "Pho" });
    assert.ok(((await command("KEYS", "*")) as string[]).includes("shop:db1:product:1"));
  });
});
