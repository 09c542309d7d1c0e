import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { RawCommand } from "../drivers/driver.ts";
import { createCacheClient } from "../mod.ts";
import { fleetTimes } from "../src/monitor/fleet_counts.ts";
import { monitor } from "../src/monitor/mod.ts";
import { sizesOf } from "../src/monitor/sizes.ts";
import { Counters, percentile } from "../src/telemetry/stats.ts";
import { memoryStore, redisStore, upstashStore } from "./helpers/contract_stores.ts";
import { rawClient, startRedis } from "./helpers/redis_server.ts";

const LIMIT = { timeout: 60_000 };

describe("fleetTimes", () => {
  it("fleetTimes lies within the octave of the exact percentile", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0.001, max: 60_000, noNaN: true }), { minLength: 1 }), (times) => {
        const counters = new Counters();
        for (const ms of times) counters.time(ms);
        const octaves: number[] = Array(26).fill(0);
        counters.latency.forEach((n, i) => {
          octaves[Math.floor(i / 8)] = (octaves[Math.floor(i / 8)] ?? 0) + n;
        });
        const { count, p50, p95, p99 } = fleetTimes(octaves);
        assert.equal(count, times.length);
        for (const [share, told] of [
          [0.5, p50],
          [0.95, p95],
          [0.99, p99],
        ] as const) {
          const exact = percentile(counters.latency, count * share);
          assert.ok(told !== null && told >= exact / 2.2 && told <= exact * 2.2, `${share}: ${told} for ${exact}`);
        }
        assert.ok((p50 as number) <= (p95 as number) && (p95 as number) <= (p99 as number));
      }),
    );
  });

  it("fleetTimes has no percentiles without operations", () => {
    assert.deepEqual(fleetTimes([]), { count: 0, p50: null, p95: null, p99: null });
    assert.deepEqual(fleetTimes([0, 0]), { count: 0, p50: null, p95: null, p99: null });
  });
});

for (const [name, start, databases] of [
  ["an embedded store", async () => memoryStore(), "numbered"],
  ["numbered databases", redisStore, "numbered"],
  ["numbered databases below a prefix", redisStore, "numbered"],
  ["databases that are prefixes", redisStore, "prefixed"],
  ["a store over REST", () => upstashStore("redis"), "auto"],
] as const) {
  describe(`sizesOf on ${name}`, () => {
    it("sizesOf returns the keys and memory of each service", LIMIT, async () => {
      const store = await start();
      const prefix = name.includes("below") ? { prefix: "shop" } : {};
      const client = createCacheClient({ env: {}, timeout: 5000, ...(await store.open()), databases, ...prefix });
      try {
        const name = "x".repeat(1000);
        await client.service("product").products.setMany(Array.from({ length: 120 }, (_, i) => [i, { id: i, name }]));
        await client.service("user").profiles.set("u1", { id: "u1", name: "An" });
        const places = await Promise.all(["user", "product", "order"].map((service) => client.locate({ service })));
        const sizes = await sizesOf(places, { sample: 20, timeout: 5000 });
        assert.deepEqual(
          sizes.map(({ keys }) => keys),
          [1, 120, 0],
        );
        const [user, product, order] = sizes.map(({ memory }) => memory ?? assert.fail()) as [number, number, number];
        assert.ok(product > 120_000 && product < 400_000, `${product}`);
        assert.ok(user > 20 && user < 1000, `${user}`);
        assert.equal(order, 0);
        const [, unmeasured] = await sizesOf(places, { timeout: 5000 });
        assert.deepEqual(unmeasured, { keys: 120, memory: null });
      } finally {
        await client.close();
        await store.close?.();
      }
    });
  });
}

describe("sizesOf a large database", () => {
  it("sizesOf estimates the sizes of services that share it from a part of the keys", LIMIT, async () => {
    const redis = await startRedis();
    const client = createCacheClient({ env: {}, url: redis.url, databases: "prefixed" });
    try {
      const { driver } = await client.locate({ service: "product" });
      const wire = (await driver.connect?.(0)) ?? assert.fail();
      const keys = (of: string, count: number): RawCommand[] =>
        Array.from({ length: count }, (_, i) => ["SET", `${of}:${i}`, "v"]);
      await wire.send([...keys("db1:product", 15_000), ...keys("db3:user_profile", 5000)]);
      await wire.close();
      const places = await Promise.all(["product", "user"].map((service) => client.locate({ service })));
      const [product, user] = await sizesOf(places, { most: 4000, timeout: 5000 });
      assert.ok(Math.abs((product?.keys ?? 0) - 15_000) < 1500, `${product?.keys}`);
      assert.ok(Math.abs((user?.keys ?? 0) - 5000) < 1000, `${user?.keys}`);
      const exact = await sizesOf(places, { timeout: 5000 });
      assert.deepEqual(
        exact.map(({ keys }) => keys),
        [15_000, 5000],
      );
    } finally {
      await client.close();
      await redis.stop();
    }
  });
});

describe("monitor", () => {
  it("monitor does not change the server's counts of hits and misses", LIMIT, async () => {
    const redis = await startRedis();
    const client = createCacheClient({ env: {}, url: redis.url });
    let now = 0;
    const watch = monitor(client, { clock: () => now });
    try {
      await client.service("product").products.set(1, { id: 1, name: "Pho" });
      const raw = await rawClient(redis.port);
      const counts = async (): Promise<unknown> => `${await raw.command("INFO")}`.match(/keyspace_\w+:\d+/g);
      const before = await counts();
      for (let i = 0; i < 3; i++) {
        now += 10_000;
        await watch.tick();
      }
      assert.deepEqual(await counts(), before);
      raw.close();
    } finally {
      await watch.close();
      await client.close();
      await redis.stop();
    }
  });
});
