import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { createCacheClient } from "../mod.ts";
import { type Alert, type AlertRule, FLEET_RULES, type Monitor, monitor } from "../src/monitor/mod.ts";
import { upstashStore } from "./helpers/contract_stores.ts";
import { eventually } from "./helpers/eventually.ts";
import { type RawClient, rawClient, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

const LIMIT = { timeout: 120_000 };
/** The seconds between samples. */
const STEP = 10;

/** A monitor of its own client and Redis, with a clock that the test moves. */
interface Watching {
  readonly watch: Monitor;
  readonly raw: RawClient;
  /** Moves the clock by a step, and takes a sample. */
  pass(): Promise<void>;
  /** Causes misses in another process, whose counts are in the store when this ends. */
  misses(count: number): Promise<void>;
}

/** Runs with a monitor; `before` is the number of misses that others counted before it was made. */
async function watching(
  { args = [], rules, before = 0 }: { args?: readonly string[]; rules?: readonly AlertRule[]; before?: number },
  run: (watching: Watching) => Promise<void>,
): Promise<void> {
  const redis = await startRedis({ args });
  const raw = await rawClient(redis.port);
  const client = createCacheClient({ env: {}, url: redis.url });
  client.service("product");
  const misses = async (count: number): Promise<void> => {
    await using other = createCacheClient({ env: {}, url: redis.url, fleetStats: true });
    for (let i = 0; i < count; i++) await other.service("product").products.get(i);
  };
  await misses(before);
  let now = 0;
  const watch = monitor(client, { clock: () => now, ...(rules && { rules }) });
  const pass = async (): Promise<void> => {
    now += STEP * 1000;
    await watch.tick();
  };
  try {
    await run({ watch, raw, pass, misses });
  } finally {
    raw.close();
    await watch.close();
    await client.close();
    await redis.stop();
  }
}

describe("monitor through an incident", () => {
  it("monitor reports each problem once within its window, and once when it is resolved", LIMIT, async () => {
    const args = ["--maxmemory", "32mb", "--maxmemory-policy", "noeviction", "--slowlog-log-slower-than", "10000"];
    let redis = await startRedis({ args });
    const posted: Alert[] = [];
    const lines: unknown[][] = [];
    let refused = 0;
    const receiver = await serve(async (request) => {
      // The first try finds the receiver busy.
      if (refused++ === 0) return new Response("busy", { status: 503 });
      assert.equal(request.headers.get("authorization"), "Bearer hook-token");
      posted.push(((await request.json()) as { alert: Alert }).alert);
      return new Response("ok");
    });
    const client = createCacheClient({ env: {}, url: redis.url, retries: 0, timeout: 1000 });
    const product = client.service("product").products;
    let now = 1_700_000_000_000;
    const watch = monitor(client, {
      clock: () => now,
      timeout: 1000,
      logger: { warn: (...line) => void lines.push(line) },
      webhook: { url: `${receiver.url}/S3CRET`, headers: { authorization: "Bearer hook-token" } },
    });
    const told: { alert: Alert; step: number }[] = [];
    let step = 0;
    watch.subscribe((event) => {
      if (event.type === "alert") told.push({ alert: event.alert, step });
    });
    /** Moves the clock by steps, with hits and misses in each. */
    const pass = async (steps: number, hits: number, misses = 0): Promise<void> => {
      for (let i = 0; i < steps; i++) {
        now += STEP * 1000;
        step++;
        await Promise.all(Array.from({ length: hits }, () => product.get(1)));
        await Promise.all(Array.from({ length: misses }, (_, n) => product.get(`none-${n}`)));
        await watch.tick();
      }
    };
    const firing = (): string[] => watch.alerts.map(({ rule, service }) => [rule, service].filter(Boolean).join(" "));
    const steps = (seconds: number): number => Math.ceil(seconds / STEP) + 1;
    try {
      await product.set(1, { id: 1, name: "Pho" });
      await pass(6, 50);
      assert.deepEqual(firing(), []);

      // The hit rate is driven down: 50 of 250 reads hit.
      const low = step;
      await pass(steps(300), 10, 40);
      assert.deepEqual(firing(), ["low hit rate product"]);
      assert.ok((told[0]?.step as number) - low <= steps(300));
      await pass(steps(300), 100);
      assert.deepEqual(firing(), []);
      assert.equal(told.length, 2);

      // The memory is filled.
      const raw = await rawClient(redis.port);
      await raw.pipeline(Array.from({ length: 28 }, (_, i) => ["SET", `fill:${i}`, "x".repeat(2 ** 20)] as const));
      await pass(1, 10);
      assert.deepEqual(firing(), ["memory"]);
      const { store } = watch.snapshot();
      assert.ok((store?.memoryUsed ?? 0) > 0.8 * 32 * 2 ** 20);
      assert.equal(store?.memoryLimit, 32 * 2 ** 20);
      await pass(2, 10);
      await raw.command("FLUSHDB");
      await eventually(
        async () => Number(/used_memory:(\d+)/.exec(`${await raw.command("INFO", "memory")}`)?.[1]) < 16e6,
      );
      await pass(2, 10);
      assert.deepEqual(firing(), []);
      assert.equal(told.length, 4);

      // A command blocks the server.
      await raw.command("EVAL", "local x = 0; for i = 1, 20000000 do x = x + 1 end; return x", 0);
      raw.close();
      const slow = step;
      await pass(1, 10);
      assert.deepEqual(firing(), ["slow queries"]);
      assert.deepEqual(
        watch.snapshot().store?.slowest.map(({ command }) => command),
        ["EVAL"],
      );
      await pass(steps(300) + 2, 10);
      assert.deepEqual(firing(), []);
      assert.ok((told.at(-1)?.step as number) - slow <= steps(300) + 2);
      assert.equal(told.length, 6);

      // The server goes away, and comes back empty.
      const { port } = redis;
      await redis.stop();
      const gone = step;
      await pass(3, 1);
      assert.deepEqual(firing(), ["connection failures"]);
      assert.ok((told.at(-1)?.step as number) - gone <= steps(60));
      assert.equal(watch.snapshot().store?.up, false);
      await pass(2, 1);
      redis = await startRedis({ args, port });
      await eventually(() => client.ping());
      await product.set(1, { id: 1, name: "Pho" });
      await pass(steps(60) + 1, 10);
      assert.deepEqual(firing(), []);
      assert.equal(watch.snapshot().store?.up, true);

      assert.deepEqual(
        told.map(({ alert }) => `${alert.rule} ${alert.state}`),
        ["low hit rate", "memory", "slow queries", "connection failures"].flatMap((rule) => [
          `${rule} firing`,
          `${rule} resolved`,
        ]),
      );
      assert.deepEqual(
        posted,
        told.map(({ alert }) => alert),
      );
      assert.equal(lines.length, told.length, inspect(lines));
      assert.doesNotMatch(inspect([lines, posted], { depth: 10 }), /S3CRET|hook-token|none-|127\.0\.0\.1/);
      const [first = assert.fail()] = told;
      const share = (first.alert.value * 100).toFixed(1);
      assert.equal(first.alert.message, `hit rate of product: ${share} % in the last 5m, below 70.0 %`);
    } finally {
      await watch.close();
      await client.close();
      await receiver.close();
      await redis.stop();
    }
  });

  it("monitor does not count its own commands as the application's", LIMIT, async () => {
    const redis = await startRedis();
    const client = createCacheClient({ env: {}, url: redis.url, fleetStats: true });
    let now = 0;
    const watch = monitor(client, { clock: () => now });
    try {
      const { products } = client.service("product");
      await products.set(1, { id: 1, name: "Pho" });
      await products.get(1);
      // The counts for all processes are sent with a later command, 10 s on, or when the client is closed.
      const { wire } = client.stats();
      for (let i = 0; i < 5; i++) {
        now += 10_000;
        await watch.tick();
      }
      assert.equal(await watch.ready(), true);
      assert.deepEqual(client.stats().wire, wire);
      const { instance, store, fleet } = watch.snapshot();
      assert.equal(instance.wire.commands, wire.commands);
      assert.equal(instance.wire.billed, null);
      assert.ok(instance.wire.sent > 20 && instance.wire.received > 20);
      assert.equal(instance.services.product?.collections.products?.hits, 1);
      assert.deepEqual(Object.keys(instance.services), ["product"]);
      const raw = await rawClient(redis.port);
      await raw.command("SELECT", 1);
      assert.equal(store?.keys?.product, await raw.command("DBSIZE"));
      raw.close();
      assert.match(store?.version ?? "", /^\d+\./);
      assert.equal(typeof fleet?.product?.hits, "number");
    } finally {
      await watch.close();
      await client.close();
      await redis.stop();
    }
  });

  it("monitor counts other processes from its first question on, before a window has passed", LIMIT, async () => {
    const args = ["--slowlog-log-slower-than", "10000", "--enable-debug-command", "yes"];
    await watching({ args, rules: FLEET_RULES, before: 50 }, async ({ watch, raw, pass, misses }) => {
      await watch.tick();
      await misses(100);
      await raw.command("DEBUG", "SLEEP", "0.02");
      await pass();
      const { fleet, alerts } = watch.snapshot();
      assert.equal(fleet?.product?.windows["1m"]?.misses, 100);
      assert.deepEqual(
        alerts.map(({ rule, value }) => [rule, value]),
        [
          ["low hit rate", 0],
          ["slow queries", 1],
        ],
      );
    });
  });

  it("fleet counts continue when the store comes back empty", LIMIT, () =>
    watching({ rules: FLEET_RULES, before: 10 }, async ({ watch, raw, pass, misses }) => {
      const told: string[] = [];
      watch.subscribe((event) => {
        if (event.type === "alert") told.push(`${event.alert.rule} ${event.alert.state}`);
      });
      const counted = (): number | undefined => watch.snapshot().fleet?.product?.windows["5m"]?.misses;
      await pass();
      await misses(200);
      await pass();
      assert.deepEqual(told, ["low hit rate firing"]);
      assert.equal(counted(), 200);
      await raw.command("FLUSHALL");
      await pass();
      await misses(120);
      await pass();
      assert.equal(counted(), 320);
      // A store that comes back from an older backup reports less than before, and nothing is counted twice.
      await raw.command("SELECT", 1);
      await raw.command("HSET", "#larder:stats:product", "products:misses", 100);
      await pass();
      assert.equal(counted(), 320);
      await misses(30);
      await pass();
      assert.equal(counted(), 350);
      for (let i = 0; i < 12; i++) await pass();
      assert.deepEqual(told, ["low hit rate firing"]);
    }),
  );

  it("alert has the current value, and is resolved when the limit is removed", LIMIT, () =>
    watching({}, async ({ watch, raw, pass }) => {
      const fill = async (share: number): Promise<void> => {
        const used = Number(/used_memory:(\d+)/.exec(`${await raw.command("INFO", "memory")}`)?.[1]);
        await raw.command("CONFIG", "SET", "maxmemory", Math.round(used / share));
      };
      await fill(0.85);
      await pass();
      const [first = assert.fail()] = watch.alerts;
      await fill(0.95);
      await pass();
      const [later = assert.fail()] = watch.alerts;
      assert.notEqual(later.value, first.value);
      assert.match(later.message, new RegExp(`^memory: ${(later.value * 100).toFixed(1)} %, above 80\\.0 %$`));
      assert.deepEqual([later.since, later.at], [first.since, first.at]);
      await raw.command("CONFIG", "SET", "maxmemory", 0);
      await pass();
      assert.deepEqual(watch.alerts, []);
    }),
  );

  it("slow queries of the dashboard are not counted as the applications'", LIMIT, () =>
    watching({ args: ["--slowlog-log-slower-than", "0"] }, async ({ watch, raw, pass }) => {
      const slowest = async (name: string): Promise<readonly string[]> => {
        await raw.command("CLIENT", "SETNAME", name);
        await raw.command("GET", "a");
        await pass();
        return watch.snapshot().store?.slowest.map(({ command }) => command) ?? [];
      };
      await watch.tick();
      const own = await slowest("larder-dashboard");
      assert.ok(!own.includes("GET"), inspect(own));
      const others = await slowest("shop");
      assert.ok(others.includes("GET"), inspect(others));
    }),
  );

  it("snapshot has the counts of all processes, in windows too", LIMIT, async () => {
    const redis = await startRedis();
    const make = () => createCacheClient({ env: {}, url: redis.url, fleetStats: true });
    const client = make();
    let now = 0;
    const watch = monitor(client, { clock: () => now });
    /** Another process, whose counts are sent when it ends. */
    const other = async (hits: number, misses: number): Promise<void> => {
      const { products } = client.service("product");
      await products.set(1, { id: 1, name: "Pho" });
      const process = make();
      const theirs = process.service("product").products;
      for (let i = 0; i < hits; i++) await theirs.get(1);
      for (let i = 0; i < misses; i++) await theirs.get(2);
      await process.close();
    };
    try {
      client.service("product");
      await other(3, 1);
      now += 10_000;
      await watch.tick();
      now += 290_000;
      await other(0, 4);
      await watch.tick();
      const { fleet, instance } = watch.snapshot();
      assert.equal(instance.all.hits + instance.all.misses, 0);
      assert.deepEqual([fleet?.product?.hits, fleet?.product?.misses, fleet?.product?.hitRate], [3, 5, 3 / 8]);
      const { hits, misses, hitRate, latency } = fleet?.product?.windows["1m"] ?? assert.fail();
      assert.deepEqual([hits, misses, hitRate], [0, 4, 0]);
      assert.ok(latency.count >= 4);
      const { p50, p99 } = latency;
      assert.ok(p50 !== null && p99 !== null && p50 > 0.001 && p50 <= p99 && p99 < 60_000, inspect(latency));
    } finally {
      await watch.close();
      await client.close();
      await redis.stop();
    }
  });

  it("monitor asks a store over REST once a minute, and estimates the billed commands", LIMIT, async () => {
    const store = await upstashStore("redis");
    const client = createCacheClient({ env: {}, timeout: 5000, ...(await store.open()) });
    let now = 0;
    const watch = monitor(client, { clock: () => now });
    try {
      const { products } = client.service("product");
      await products.set(1, { id: 1, name: "Pho" });
      await products.get(1);
      const asked: (number | undefined)[] = [];
      for (let i = 0; i < 12; i++) {
        now += 10_000;
        await watch.tick();
        asked.push(watch.snapshot().store?.at);
      }
      assert.deepEqual([...new Set(asked)], [10_000, 70_000]);
      const { instance, store: found, fleet } = watch.snapshot();
      assert.equal(instance.wire.billed, client.stats().wire.commands);
      assert.equal(instance.wire.windows["1h"]?.commands, instance.wire.commands);
      assert.ok((found?.memoryUsed ?? 0) > 0);
      assert.equal(fleet, null);
    } finally {
      await watch.close();
      await client.close();
      await store.close?.();
    }
  });

  it("monitor counts keys by a scan when services share a database", LIMIT, async () => {
    const redis = await startRedis();
    const client = createCacheClient({ env: {}, url: redis.url, databases: "prefixed" });
    const watch = monitor(client, { clock: () => 10_000 });
    try {
      const { products } = client.service("product");
      await products.setMany(Array.from({ length: 25 }, (_, i) => [i, { id: i, name: "Pho" }]));
      await client.service("user").profiles.set("u1", { id: "u1", name: "An" });
      await watch.tick();
      assert.deepEqual(watch.snapshot().store?.keys, { product: 25, user: 1 });
    } finally {
      await watch.close();
      await client.close();
      await redis.stop();
    }
  });
});
