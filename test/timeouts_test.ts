import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SendOptions } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { createCacheClient, type Driver, StoreError } from "../mod.ts";
import { LONGEST_TIMER, parseTimeout, type Timeout } from "../src/base/ttl.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { parseConfig } from "../src/config/parse_config.ts";
import { createCacheClient as createCoreClient } from "../src/core.ts";
import { dashboard } from "../src/dashboard/dashboard.ts";
import { inspect, list, warm } from "../src/manager/mod.ts";
import { monitor } from "../src/monitor/mod.ts";
import { Breaker } from "../src/wire/breaker.ts";
import { eventually } from "./helpers/eventually.ts";

const client = () => createCacheClient({ env: {}, driver: "memory" });
const token = "a-long-enough-token-1234";

/** The options that take a duration, by name. Some check it at once, some when it is used. */
const TAKERS: Readonly<Record<string, (time: Timeout) => unknown>> = {
  "connectTimeout of nodeRedis": (connectTimeout) => nodeRedis({ connectTimeout }),
  "pingInterval of nodeRedis": (pingInterval) => nodeRedis({ pingInterval }),
  "timeout of bridge": (timeout) => bridge({ driver: memory(), token, timeout }),
  "heartbeat of bridge": (heartbeat) => bridge({ driver: memory(), token, heartbeat }),
  "timeout of monitor": (timeout) => monitor(client(), { timeout, clock: () => 0 }),
  "timeout of webhook": (timeout) => monitor(client(), { webhook: { url: "http://h", timeout }, clock: () => 0 }),
  "timeout of dashboard": (timeout) => dashboard(client(), { token, timeout }).close(),
  "softTimeout of a client": (softTimeout) => createCacheClient({ env: {}, driver: "memory", softTimeout }),
  "hardTimeout of a client": (hardTimeout) => createCacheClient({ env: {}, driver: "memory", hardTimeout }),
  "timeout of a client": (timeout) => createCacheClient({ env: {}, driver: "memory", timeout }),
  "timeout of a core client": (timeout) => createCoreClient({ driver: memory(), timeout }),
  "softTimeout of a call": (softTimeout) =>
    client()
      .cache()
      .getOrSet("k", () => 1, { softTimeout }),
  "hardTimeout of a call": (hardTimeout) =>
    client()
      .cache()
      .getOrSet("k", () => 1, { hardTimeout }),
  "timeout of get": (timeout) => client().cache().get("k", { timeout }),
  "timeout of set": (timeout) => client().cache().set("k", 1, { timeout }),
  "timeout of withLock": (timeout) =>
    client()
      .cache()
      .withLock("k", () => 1, { timeout }),
  "timeout of connect": (timeout) => client().connect({ timeout }),
  "timeout of health": (timeout) => client().health({ timeout }),
  "timeout of list": async (timeout) => {
    for await (const _ of list(client(), { database: 0, timeout }));
  },
  "timeout of inspect": (timeout) => inspect(client(), { timeout }),
  "timeout of warm": async (timeout) => {
    for await (const _ of warm(client().cache(), [{ id: "k", value: 1 }], { timeout }));
  },
};

describe("a timeout", () => {
  for (const [name, take] of Object.entries(TAKERS)) {
    it(`${name} is refused by its name when it is not a duration or too long for a timer`, async () => {
      const option = name.split(" ")[0] as string;
      for (const bad of [2 ** 31, "25d", 0, -1, "0s", "-5s", Number.NaN, Number.POSITIVE_INFINITY, "5", "soon", true]) {
        // No PING and no limit are values of these.
        if (bad === 0 && option === "pingInterval") continue;
        if (bad === "5" && /timeout of a client/i.test(name)) continue;
        await assert.rejects(
          async () => take(bad as Timeout),
          (error: Error) => {
            assert.ok(/^(Range|Type|CacheConfig)Error$/.test(error.name), `${error.name} for ${bad}`);
            assert.match(error.message, new RegExp(option));
            return true;
          },
          `${bad}`,
        );
      }
    });

    it(`${name} is accepted when it is a string with a unit, or milliseconds`, async () => {
      for (const good of ["500ms", "2s", "1.5m", "24d", 100, LONGEST_TIMER] as const) await take(good);
    });
  }

  it("of an operation reaches the driver when it is sent", async () => {
    const seen: (number | undefined)[] = [];
    const store = memory();
    const driver: Driver = {
      ...store,
      send(database, commands, options?: SendOptions) {
        seen.push(options?.timeout);
        return store.send(database, commands);
      },
    };
    const one = createCacheClient({ env: {}, driver, timeout: "7s" });
    await one.cache().get("k");
    await one.cache().get("k", { timeout: "3s" });
    const [first = 0, second = 0] = seen;
    assert.ok(first > 3000 && first <= 7000 && second > 500 && second <= 3000, `${seen}`);
    assert.equal(parseConfig({}, { options: { timeout: "7s" } }).timeout, 7000);
    assert.deepEqual(parseConfig({}, { options: { hardTimeout: "7s" } }).defaults, { hardTimeout: "7s" });
  });

  it("parseTimeout rounds up when it gets a string, and keeps numbers", () => {
    const times: [Timeout, number][] = [
      [0.5, 0.5],
      ["0.5ms", 1],
      ["1.1h", 3_960_000],
      [250, 250],
      ["250ms", 250],
    ];
    for (const [given, milliseconds] of times) assert.equal(parseTimeout(given), milliseconds);
  });

  it("of a breaker is accepted when it is a string", () => {
    let now = 0;
    const breaker = new Breaker(
      { failures: 1, openFor: "2s", maxOpenFor: "3s" },
      () => now,
      () => {},
    );
    const lost = new StoreError("connection", "lost");
    breaker.fail(lost);
    now = 1999;
    assert.equal(breaker.allows(), false);
    now = 2000;
    assert.equal(breaker.allows(), true);
    breaker.fail(lost);
    now = 4999;
    assert.equal(breaker.allows(), false);
    now = 5000;
    assert.equal(breaker.allows(), true);
  });
});

describe("monitor", () => {
  it("samples at its interval when that is longer than a timer can be", async () => {
    const { setInterval } = globalThis;
    const timers: { run(): void; ms: number }[] = [];
    globalThis.setInterval = ((run: () => void, ms: number) => timers.push({ run, ms })) as never;
    try {
      const watch = monitor(client(), { interval: "60d", windows: ["90d"], rules: [], store: false, fleet: false });
      let samples = 0;
      watch.subscribe(() => samples++);
      const [timer] = timers;
      assert.ok(timer && timer.ms > 0 && timer.ms <= LONGEST_TIMER);
      const turns = (60 * 864e5) / timer.ms;
      assert.equal(turns, 3);
      for (let turn = 1; turn <= 2 * turns; turn++) {
        timer.run();
        await eventually(() => samples === Math.floor(turn / turns));
      }
      await watch.close();
    } finally {
      globalThis.setInterval = setInterval;
    }
  });
});
