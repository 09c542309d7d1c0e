/** Deletions work in a store that is full and evicts nothing, although it refuses additions with OOM. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Reply } from "../drivers/driver.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { type CacheClient, createCacheClient } from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { clear, finish } from "../src/manager/mod.ts";
import { eventually } from "./helpers/eventually.ts";
import { larder } from "./helpers/larder.ts";
import { type RawClient, type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

const LIMIT = { timeout: 60_000 };

for (const wire of ["TCP", "REST"] as const) {
  describe(`a full store over ${wire}`, () => {
    let redis: RedisServer;
    let raw: RawClient;
    let stop = async (): Promise<void> => {};
    let options: { url: string; token?: string };
    const clients: CacheClient[] = [];
    before(async () => {
      redis = await startRedis({ args: ["--maxmemory-policy", "noeviction"] });
      raw = await rawClient(redis.port);
      options = { url: redis.url };
      if (wire === "TCP") return;
      const driver = nodeRedis({ url: redis.url });
      const rest = await serve(bridge({ driver, token: "t" }));
      options = { url: rest.url, token: "t" };
      stop = async () => {
        await rest.close();
        await driver.close();
      };
    });
    after(async () => {
      await Promise.all(clients.map((client) => client.close()));
      raw?.close();
      await stop();
      await redis?.stop();
    });
    const make = (more: object = {}): CacheClient => {
      const client = createCacheClient({ env: {}, timeout: 5000, ...options, ...more });
      clients.push(client);
      return client;
    };
    const limit = (bytes: number): Promise<Reply> => raw.command("CONFIG", "SET", "maxmemory", bytes);

    /** Fills an empty store by `fill`, then runs `run` while the store is full. */
    const full = (
      title: string,
      fill: (client: CacheClient) => Promise<void>,
      run: (client: CacheClient) => Promise<void>,
    ) =>
      it(title, LIMIT, async () => {
        await raw.command("FLUSHALL");
        const client = make();
        await fill(client);
        await limit(1);
        try {
          assert.equal(await client.service("product").products.set("more", { id: "more", name: "x" }), false);
          await run(client);
        } finally {
          await limit(0);
        }
      });
    const dishes = async (client: CacheClient): Promise<void> => {
      const { products, searches, categories } = client.service("product");
      await products.set(1, { id: 1, name: "Pho", categoryId: 7 });
      await products.set(2, { id: 2, name: "Bun" });
      await categories.set(7, { id: 7, name: "Soups" });
      await searches.set("pho", [1]);
    };

    full("clear of a service deletes its keys, and counts them", dishes, async (client) => {
      const product = client.service("product");
      assert.equal(await product.clear(), 4);
      assert.equal(await product.products.get(1), undefined);
    });

    full(
      "clear of a database deletes its keys, and counts them",
      async (client) => void (await client.cache({ database: 9 }).set("a", 1)),
      async (client) => {
        const cache = client.cache({ database: 9 });
        assert.equal(await cache.clear(), 1);
        assert.equal(await cache.get("a"), undefined);
      },
    );

    full("clear of a collection, deletePattern and delete delete, and count", dishes, async (client) => {
      const product = client.service("product");
      assert.equal(await product.products.deletePattern("*"), 2);
      assert.equal(await product.categories.clear(), 1);
      assert.equal(await product.searches.delete("pho"), 1);
    });

    full("delete reports to each of several callers in one tick its own keys", dishes, async (client) => {
      const { products } = client.service("product");
      assert.deepEqual(await Promise.all([products.delete(1), products.delete([2, 3])]), [1, 1]);
    });

    full(
      "invalidateAll and invalidateTags hold in every client, the first ones of a keyspace too",
      dishes,
      async (client) => {
        const product = client.service("product");
        assert.equal(await product.invalidateTags("categories"), true);
        const other = make().service("product");
        assert.equal(await other.categories.get(7), undefined);
        assert.deepEqual(await other.searches.get("pho"), [1]);
        assert.equal(await product.invalidateAll(), true);
        assert.equal(await other.products.get(1), undefined);
        assert.equal(await other.searches.get("pho"), undefined);
      },
    );

    full("clear is not undone by a load that was in flight", dishes, async (client) => {
      const { products } = make().service("product");
      let release = (): void => {};
      const source = new Promise<void>((resolve) => {
        release = resolve;
      });
      let began = false;
      const loading = products.getOrSet(3, async () => {
        began = true;
        await source;
        return { id: 3, name: "old" };
      });
      await eventually(() => began);
      assert.equal(await client.service("product").clear(), 4);
      await limit(0);
      release();
      await loading;
      assert.equal(await make().service("product").products.get(3), undefined);
    });

    full("invalidateProduct and invalidateCategory make misses of what they name", dishes, async (client) => {
      const product = client.service("product");
      assert.equal(await product.invalidateProduct(1), true);
      assert.equal(await product.products.has(1), false);
      assert.equal(await product.categories.has(7), false);
      assert.equal(await product.searches.has("pho"), false);
      assert.equal(await product.invalidateCategory(7), true);
    });

    full(
      "revokeUser ends a user's sessions, and resetRateLimit a limit",
      async (client) => {
        const auth = client.service("auth");
        await auth.sessions.set("token", { userId: "u1" });
        await auth.checkRateLimit("login", { limit: 1, window: "1h" });
      },
      async (client) => {
        const auth = client.service("auth");
        assert.equal(await auth.revokeUser("u1"), true);
        assert.equal(await auth.sessions.get("token"), undefined);
        assert.equal(await auth.resetRateLimit("login"), true);
      },
    );

    full(
      "invalidateUser and invalidateOrder answer whether the store took them",
      async (client) => {
        await client.service("user").profiles.set("u1", { id: "u1" });
        await client.service("order").orders.set(1, { id: 1 });
        await client.service("order").histories.set("u1", [{ id: 1 }]);
      },
      async (client) => {
        assert.equal(await client.service("user").invalidateUser("u1"), true);
        assert.equal(await client.service("order").invalidateOrder(1), true);
        assert.equal(await client.service("order").histories.get("u1"), undefined);
      },
    );

    full(
      "expire shortens the TTL of an entry that says its own",
      async (client) => {
        await client.cache().set("a", 1, { ttl: "1h", staleFor: "1h" });
      },
      async (client) => {
        assert.equal(await client.cache().expire("a", "1s"), true);
        assert.ok(Number(await client.cache().ttl("a")) <= 1);
      },
    );

    full(
      "a write that gives up a lock is refused, as every write is",
      async (client) => {
        await client.service("product").products.set(1, { id: 1, name: "Pho" });
      },
      async (client) => {
        const { cache } = client.service("product");
        let loads = 0;
        for (let i = 0; i < 2; i++) await cache.getOrSet("locked", () => ++loads, { lock: true });
        assert.equal(loads, 2);
      },
    );

    full("the manager's clear and the command's delete, and count", dishes, async (client) => {
      assert.deepEqual(await finish(clear(client, { service: "product", pattern: "product:*" })), {
        keys: 2,
        unreadable: 0,
        refused: null,
        done: true,
      });
      const env = { CACHE_URL: options.url, UPSTASH_REDIS_REST_TOKEN: options.token ?? "" };
      const cleared = await larder(["clear", "product", "--yes"], { env });
      assert.deepEqual(cleared, { code: 0, stdout: "2 keys of product deleted\n", stderr: "" });
    });

    if (wire === "REST") return;

    full("a replica gets the clock and the marks as they were written", dishes, async (client) => {
      await raw.command("CONFIG", "SET", "repl-diskless-sync-delay", 0);
      // Nothing of it goes to the disk: servers that start later would load that.
      const args = ["--replicaof", `127.0.0.1 ${redis.port}`];
      const replica = await startRedis({ args });
      const copy = await rawClient(replica.port);
      await eventually(async () => /master_link_status:up/.test(String(await copy.command("INFO", "replication"))));
      assert.equal(await client.service("product").invalidateTags("searches"), true);
      await raw.command("SELECT", 1);
      await copy.command("SELECT", 1);
      const clock = await raw.command("GET", "#larder:clock");
      assert.match(String(clock), /^\d{15,} 0$/);
      await eventually(async () => (await copy.command("GET", "#larder:clock")) === clock);
      assert.equal(await copy.command("GET", "#larder:tag:searches"), String(clock).split(" ")[0]);
      copy.close();
      await replica.stop();
    });
  });
}

describe("clear for a user who may run no scripts", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis({ args: ["--user", "app", "on", ">pw", "~*", "&*", "+@all", "-@scripting"] });
  });
  after(() => redis?.stop());

  it("deletes the keys, and reports the invalidation that failed", LIMIT, async () => {
    const raw = await rawClient(redis.port);
    const url = redis.url.replace("//", "//app:pw@");
    await using client = createCacheClient({ env: {}, url, timeout: 5000 });
    const told: string[] = [];
    client.subscribe((event) => event.type === "error" && told.push(`${event.operation}: ${event.error.code}`));
    const fill = async (): Promise<void> => {
      await raw.command("SELECT", 1);
      await raw.command("SET", "product:1", '{"json":1}');
    };
    await fill();
    assert.equal(await client.service("product").clear(), 1);
    assert.deepEqual(told, ["invalidate: NOPERM"]);
    await fill();
    await assert.rejects(client.service("product").clear({ onError: "throw" }), { code: "NOPERM" });
    assert.equal(await raw.command("EXISTS", "product:1"), 0);
    await fill();
    const { keys, refused } = await finish(clear(client, { service: "product" }));
    assert.equal(keys, 1);
    assert.match(String(refused), /^NOPERM /);
    await fill();
    const { code, stdout, stderr } = await larder(["clear", "product", "--yes"], { env: { CACHE_URL: url } });
    assert.deepEqual([code, stdout], [1, "1 key of product deleted\n"]);
    assert.match(stderr, /^warning: in-flight loads may store values again, .*NOPERM/);
    raw.close();
  });

  it("answers 0 at once where the store is away", LIMIT, async () => {
    await using client = createCacheClient({ env: {}, url: "redis://127.0.0.1:1", retries: 0 });
    const told: string[] = [];
    client.subscribe((event) => event.type === "error" && told.push(event.operation));
    assert.equal(await client.service("product").clear(), 0);
    assert.deepEqual(told, ["invalidate"]);
    await assert.rejects(client.service("product").clear({ onError: "throw" }), { kind: "connection" });
  });
});
