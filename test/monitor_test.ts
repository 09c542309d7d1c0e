import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import fc from "fast-check";
import { type CacheEvent, createCacheClient, StoreError } from "../mod.ts";
import { type Alert, type AlertRule, monitor, prometheus } from "../src/monitor/mod.ts";
import { SlidingWindow } from "../src/monitor/sliding_window.ts";
import { Counters } from "../src/telemetry/stats.ts";
import { Puppet } from "./helpers/puppet.ts";
import { start } from "./helpers/run.ts";
import { serve } from "./helpers/serve.ts";

const target = { service: "product", collection: "products" };
const failure = (kind: "connection" | "command"): CacheEvent => ({
  type: "error",
  operation: "get",
  error: new StoreError(kind, "no"),
  ...target,
});

/** Returns a monitor with a clock that the test sets. */
function watched(rules?: readonly AlertRule[]) {
  const client = new Puppet();
  let now = 1_000_000;
  const watch = monitor(client, { clock: () => now, ...(rules && { rules }) });
  const alerts: Alert[] = [];
  watch.subscribe((event) => event.type === "alert" && alerts.push(event.alert));
  const states = (): string[] => alerts.map(({ rule, state }) => `${rule} ${state}`);
  const pass = async (seconds: number): Promise<void> => {
    now += seconds * 1000;
    await watch.tick();
  };
  const set = (at: number): void => {
    now = at;
  };
  return { client, watch, alerts, states, pass, set, now: () => now };
}

describe("monitor", () => {
  it("snapshot counts in each window what happened in it", async () => {
    const { client, watch, pass } = watched();
    const { products } = client;
    products.hits = 30;
    products.misses = 10;
    await pass(10);
    products.misses += 60;
    products.loads += 2;
    products.time(100);
    for (let i = 0; i < 99; i++) products.time(1);
    await pass(90);
    products.hits += 5;
    const { all, services } = watch.snapshot().instance;
    assert.equal(all.hitRate, 35 / 105);
    assert.deepEqual([all.windows["1m"]?.hits, all.windows["1m"]?.misses], [5, 60]);
    assert.deepEqual([all.windows["5m"]?.hits, all.windows["5m"]?.misses], [35, 70]);
    await pass(20);
    await pass(60);
    const later = watch.snapshot().instance.services.product?.collections.products?.windows["1m"];
    assert.deepEqual([later?.hits, later?.misses, later?.hitRate], [0, 0, null]);
    const { latency } = services.product?.collections.products ?? assert.fail();
    assert.equal(latency.count, 100);
    assert.equal(Math.round(latency.total), 199);
    for (const [got, meant] of [
      [latency.p50, 1],
      [latency.p99, 1],
      [latency.max, 100],
    ] as const) {
      assert.ok(Math.abs(got / meant - 1) < 0.05, `${got} for ${meant}`);
    }
  });

  it("snapshot leaves what happened before the monitor was made out of all windows", () => {
    const client = new Puppet();
    client.products.hits = 100;
    const { all } = monitor(client, { clock: () => 5 }).snapshot().instance;
    assert.equal(all.hits, 100);
    assert.equal(all.windows["1h"]?.hits, 0);
  });

  it("monitor counts what only events carry, by service and collection", async () => {
    const { client, watch } = watched();
    for (const kind of ["connection", "connection", "command"] as const) client.emit(failure(kind));
    client.emit({ type: "load-end", key: "k", duration: 20, stored: true, ...target });
    client.emit({ type: "load-error", key: "k", duration: 40, error: new Error("S3CRET"), kept: false, ...target });
    client.emit({ type: "lock-wait", key: "k", ...target });
    client.emit({ type: "lock-lost", key: "k", ...target });
    client.emit({ type: "near-invalidate", entries: 3, reason: "change", ...target });
    client.emit({ type: "invalidate", service: "product", tags: ["S3CRET"] });
    client.emit({ type: "breaker", driver: "memory", state: "open" });
    const snapshot = watch.snapshot();
    const { services, breakers } = snapshot.instance;
    const { errorKinds, loadErrors, loadTime, lockWaits, lostLocks, nearInvalidations } =
      services.product?.collections.products ?? assert.fail();
    assert.deepEqual([errorKinds.connection, errorKinds.command, errorKinds.auth], [2, 1, 0]);
    assert.deepEqual([loadErrors, loadTime.count, loadTime.total], [1, 2, 60]);
    assert.deepEqual([lockWaits, lostLocks, nearInvalidations], [1, 1, 3]);
    assert.equal(services.product?.invalidations, 1);
    assert.deepEqual(breakers, { memory: "open" });
    assert.doesNotMatch(inspect(snapshot, { depth: 10 }), /S3CRET/);
  });

  it("monitor keeps the breaker of each node of a cluster, and forgets closed ones when there are many", () => {
    const { client, watch } = watched();
    client.emit({ type: "breaker", driver: "cluster", part: "n1:6379", state: "open" });
    client.emit({ type: "breaker", driver: "cluster", part: "n2:6379", state: "open" });
    client.emit({ type: "breaker", driver: "cluster", part: "n2:6379", state: "closed" });
    const { breakers } = watch.snapshot().instance;
    assert.deepEqual(breakers, { "cluster n1:6379": "open", "cluster n2:6379": "closed" });
    const text = prometheus(watch);
    assert.match(text, /^larder_breaker_open\{driver="cluster",node="n1:6379"\} 1$/m);
    assert.match(text, /^larder_breaker_open\{driver="cluster",node="n2:6379"\} 0$/m);
    for (let i = 0; i < 1000; i++)
      client.emit({ type: "breaker", driver: "cluster", part: `old${i}:6379`, state: "closed" });
    client.emit({ type: "breaker", driver: "cluster", part: "n3:6379", state: "open" });
    const { breakers: later } = watch.snapshot().instance;
    assert.ok(Object.keys(later).length <= 256);
    assert.deepEqual([later["cluster n1:6379"], later["cluster n3:6379"]], ["open", "open"]);
  });

  it("rule fires once and is resolved once when the value moves around its threshold", async () => {
    const { client, states, pass } = watched([
      { name: "low", metric: "hit_rate", below: 0.7, clear: 0.75, over: "10s", minSamples: 10 },
    ]);
    for (const rate of [0.72, 0.69, 0.71, 0.69, 0.74, 0.68, 0.75, 0.71, 0.72]) {
      client.products.hits += rate * 1000;
      client.products.misses += (1 - rate) * 1000;
      await pass(10);
    }
    assert.deepEqual(states(), ["low firing", "low resolved"]);
  });

  it("rule waits until its condition has held and there are enough samples", async () => {
    const { client, states, pass } = watched([
      { name: "held", metric: "errors", above: 0, over: "10s", for: "20s" },
      { name: "few", metric: "hit_rate", below: 0.5, over: "10s", minSamples: 5 },
    ]);
    const fail = async (): Promise<void> => {
      client.products.errors++;
      client.products.misses++;
      await pass(10);
    };
    await fail();
    await fail();
    await pass(10);
    assert.deepEqual(states(), []);
    for (let i = 0; i < 3; i++) await fail();
    assert.deepEqual(states(), ["held firing"]);
    client.products.misses += 5;
    await pass(10);
    assert.deepEqual(states().slice(1), ["held resolved", "few firing"]);
    // Without reads the metric has no value.
    await pass(10);
    assert.deepEqual(states().slice(3), ["few resolved"]);
  });

  it("rule watches each service, one service, or one collection", async () => {
    const { client, alerts, pass } = watched([
      { name: "each", metric: "errors", above: 0, service: "*" },
      { name: "one", metric: "errors", above: 0, service: "user" },
      { name: "part", metric: "errors", above: 0, service: "product", collection: "searches" },
    ]);
    const [users, searches] = [new Counters("profiles"), new Counters("searches")];
    client.all[0]?.[1].push(searches);
    client.all.push(["user", [users]]);
    client.products.errors++;
    await pass(10);
    users.errors++;
    await pass(10);
    searches.errors++;
    await pass(10);
    assert.deepEqual(
      alerts.map(({ rule, service, collection }) => [rule, service, collection].filter(Boolean).join(" ")),
      ["each product", "each user", "one user", "part product searches"],
    );
  });

  it("monitor continues when the clock is set back", async () => {
    const { client, watch, pass, set, now } = watched();
    client.products.hits += 10;
    await pass(600);
    set(now() - 3_600_000);
    client.products.hits += 3;
    await pass(10);
    client.products.hits += 2;
    await pass(10);
    assert.equal(watch.snapshot().instance.all.windows["1m"]?.hits, 2);
    assert.equal(watch.snapshot().instance.all.hits, 15);
  });

  it("monitor needs no more memory after 10,000,000 events", { timeout: 120_000 }, async () => {
    // In its own process, where nothing else takes memory.
    const file = fileURLToPath(new URL(`./fixtures/monitored${import.meta.url.slice(-3)}`, import.meta.url));
    const how = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
    const { code, stdout, stderr } = await start(process.execPath, [...how, file]).ended;
    assert.equal(code, 0, stderr);
    const { grown, events } = JSON.parse(stdout) as Record<string, number>;
    assert.equal(events, 10_000_000);
    // One byte for each event would be ten times as much.
    assert.ok((grown as number) < 1_000_000, stdout);
  });

  it("monitor keeps 200 series apart, and counts further ones as one", async () => {
    const { client, watch, pass } = watched();
    for (let i = 0; i < 1000; i++) {
      const things = new Counters("things");
      things.misses = 1;
      client.all.push([`custom-${i}`, [things]]);
      client.emit({ ...failure("connection"), service: `unknown-${i}` } as CacheEvent);
    }
    await pass(10);
    const { services, all } = watch.snapshot().instance;
    assert.equal(all.misses, 1000);
    assert.equal(all.errorKinds.connection, 1000);
    assert.ok(Object.keys(services).length <= 401);
    assert.ok((services.other?.misses ?? 0) > 800);
  });

  it("monitor samples by a timer that does not keep the process alive", async () => {
    const client = createCacheClient({ env: {}, driver: "memory" });
    const watch = monitor(client, { interval: "20ms" });
    const sampled = new Promise((resolve) => watch.subscribe((event) => event.type === "sample" && resolve(event)));
    // Nothing else keeps this process alive until then.
    const keep = setTimeout(() => {}, 20_000);
    await sampled;
    clearTimeout(keep);
    assert.equal(watch.snapshot().store?.up, true);
    await watch.close();
    let more = 0;
    watch.subscribe(() => more++);
    await sleep(60);
    await watch.tick();
    assert.equal(more, 0);
    assert.equal(await watch.ready(), false);
    await client.close();
  });

  it("monitor has no timer at the edge, where no request waits for another", {
    timeout: 60_000,
  }, async () => {
    const file = fileURLToPath(new URL(`./fixtures/monitored_edge${import.meta.url.slice(-3)}`, import.meta.url));
    const how = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
    const { code, stdout, stderr } = await start(process.execPath, [...how, file]).ended;
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), { early: 0, alerts: 1, status: 200 });
  });

  it("monitor refuses bad options and rules, and says what is expected", () => {
    const client = new Puppet();
    const rule = { name: "r", metric: "errors", above: 1 } as const;
    const bad = (options: object, message: RegExp): void => {
      assert.throws(() => monitor(client, { clock: () => 0, ...options }), { message });
    };
    bad({ windos: [] }, /Cannot set the options of a monitor: received "windos", expected \{ interval, windows/);
    bad({ interval: 0 }, /Cannot set interval: received 0/);
    bad(
      { windows: "1m" },
      /^Cannot set windows of a monitor: received a value of type string, expected a list such as/,
    );
    bad({ windows: ["forever"] }, /^Cannot set a window of a monitor: received "forever", expected a time that ends/);
    bad({ timeout: 0 }, /Cannot set timeout: received 0/);
    bad({ fleet: 1 }, /^Cannot set fleet of a monitor: received 1, expected true or false$/);
    bad({ rules: 1 }, /^Cannot set rules: received 1, expected a list of rules$/);
    const set = 'Cannot set (.+) of the rule "r": received (.+), expected ';
    const badRule = (more: object, option: string, received: string, expected: string): void =>
      bad(
        { rules: [{ ...rule, ...more }] },
        new RegExp(`^${set}${expected}`.replace("(.+)", option).replace("(.+)", received)),
      );
    badRule({ above: undefined }, "the threshold", "undefined", "either above or below, a number$");
    badRule({ below: 1 }, "the threshold", "1", "either above or below, a number$");
    badRule({ metric: "heat" }, "metric", '"heat"', "one of hit_rate, ");
    badRule({ clear: 2 }, "clear", "2", "a number of at most 1$");
    bad({ rules: [rule, rule] }, /^Cannot add a rule: received "r", expected a name that no other rule has$/);
    badRule(
      { metric: "memory", service: "product" },
      "service",
      '"product"',
      "none, because memory belongs to the store$",
    );
    badRule({ collection: "x" }, "collection", '"x"', "a collection of a service that is named$");
    const part = { service: "a", collection: "x" };
    badRule({ metric: "keys", ...part }, "collection", '"x"', "none, because keys belongs to services$");
    badRule({ severity: "loud" }, "severity", '"loud"', "one of info, warning, critical$");
    bad({ rules: [{ ...rule, over: "soon" }] }, /Cannot set over of the rule r: received "soon"/);
    badRule({ over: "forever" }, "over", '"forever"', 'a time that ends, such as "5m"$');
    for (const url of ["S3CRET", "ftp://S3CRET"]) {
      bad(
        { webhook: url },
        /^Cannot set url of a webhook: received a value of type string, expected an http or https URL$/,
      );
    }
    bad(
      { webhook: { url: "http://localhost", retries: 11 } },
      /^Cannot set retries of a webhook: received 11, expected a whole number from 0 to 10$/,
    );
    assert.equal(client.listeners.size, 0);
  });
});

describe("webhook", () => {
  it("monitor logs the name of a rule once, even if it is the name of its metric", async () => {
    const lines: string[] = [];
    let now = 0;
    const client = new Puppet();
    const watch = monitor(client, {
      clock: () => now,
      store: false,
      rules: [
        { name: "errors", metric: "errors", above: 0 },
        { name: "too many", metric: "errors", above: 0 },
      ],
      logger: { warn: (_, message) => void lines.push(message) },
    });
    client.products.errors = 3;
    now += 1000;
    await watch.tick();
    assert.deepEqual(lines, [
      "alert firing: errors: 3 in the last 5m, above 0",
      "alert firing: too many: errors: 3 in the last 5m, above 0",
    ]);
    await watch.close();
  });

  it("webhook gives up after its retries, logs that without the URL, and sends the next alert", async () => {
    const asked: string[] = [];
    const receiver = await serve(async (request) => {
      const { alert } = (await request.json()) as { alert: Alert };
      asked.push(`${alert.rule} ${alert.state}`);
      return new Response(null, { status: alert.state === "firing" ? 500 : 204 });
    });
    const lines: unknown[] = [];
    const client = new Puppet();
    let now = 0;
    const watch = monitor(client, {
      clock: () => now,
      rules: [{ name: "errors", metric: "errors", above: 0, over: "10s" }],
      webhook: { url: `${receiver.url}/S3CRET?token=S3CRET`, retries: 1 },
      logger: { warn: (...line) => void lines.push(line) },
    });
    client.products.errors++;
    now += 10_000;
    await watch.tick();
    now += 20_000;
    await watch.tick();
    assert.deepEqual(asked, ["errors firing", "errors firing", "errors resolved"]);
    assert.match(inspect(lines, { depth: 5 }), /alert not delivered to the webhook/);
    assert.match(inspect(lines, { depth: 5 }), /it answered 500/);
    assert.doesNotMatch(inspect(lines, { depth: 5 }), /S3CRET|127\.0\.0\.1/);
    await receiver.close();
    client.products.errors++;
    now += 10_000;
    await watch.tick();
    assert.match(inspect(lines, { depth: 5 }), /it cannot be reached/);
    await watch.close();
  });
});

describe("webhook with a body of its own", () => {
  it("webhook sends its body as JSON, and logs when the body fails", async () => {
    const bodies: unknown[] = [];
    const receiver = await serve(async (request) => {
      bodies.push(await request.json());
      return new Response(null, { status: 204 });
    });
    const client = new Puppet();
    let now = 0;
    const lines: unknown[] = [];
    const watch = monitor(client, {
      clock: () => now,
      rules: [{ name: "errors", metric: "errors", above: 0, over: "10s" }],
      webhook: {
        url: receiver.url,
        body: ({ state, message }) => {
          if (state === "resolved") throw new Error("S3CRET");
          return { text: `shop-1: ${message}` };
        },
      },
      logger: { warn: (...line) => void lines.push(line) },
    });
    client.products.errors += 2;
    now += 10_000;
    await watch.tick();
    now += 20_000;
    await watch.tick();
    assert.deepEqual(bodies, [{ text: "shop-1: errors: 2 in the last 10s, above 0" }]);
    assert.match(inspect(lines, { depth: 5 }), /its body failed/);
    assert.doesNotMatch(inspect(lines, { depth: 5 }), /S3CRET/);
    assert.throws(() => monitor(client, { webhook: { url: receiver.url, body: "x" as never } }), /body of a webhook/);
    await watch.close();
    await receiver.close();
  });
});

describe("SlidingWindow", () => {
  it("window begins with a frame of its length or up to a step older, and keeps a bounded number", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 400 }),
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 300 }),
        (length, interval, gaps) => {
          const window = new SlidingWindow<{ at: number }>(length, interval);
          const pushed: number[] = [0];
          window.push({ at: 0 });
          let now = 0;
          for (const gap of gaps) {
            now += gap;
            window.push({ at: now });
            pushed.push(now);
            const start = window.start(now)?.at as number;
            // The best frame, or one that is older by at most a step.
            const best = pushed.findLast((at) => at <= now - length) ?? 0;
            assert.ok(start <= best, `${start} of ${best}`);
            assert.ok(best - start <= Math.max(interval, length / 30), `${start} of ${best}`);
            assert.ok(window.size <= 36, `${window.size} kept`);
          }
        },
      ),
    );
  });
});
