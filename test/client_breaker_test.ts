import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Driver, StoreError } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { createCacheClient } from "../mod.ts";
import type { CacheEvent } from "../src/telemetry/events.ts";
import { freePort } from "./helpers/redis_server.ts";

describe("a client's circuit breaker", () => {
  it("opens when failures follow each other, and then answers at once, as health and an event say", async () => {
    const port = await freePort();
    await using client = createCacheClient({
      env: {},
      url: `redis://127.0.0.1:${port}`,
      breaker: { failures: 3, openFor: 60_000 },
    });
    const states: string[] = [];
    client.subscribe((event: CacheEvent) => void (event.type === "breaker" && states.push(event.state)));
    const cache = client.cache();
    assert.equal((await client.health()).breaker, "closed");
    while ((await client.health()).breaker === "closed") await cache.get("k");
    assert.deepEqual(states, ["open"]);
    const times: number[] = [];
    for (let i = 0; i < 100; i++) {
      const start = performance.now();
      assert.equal(await cache.get("k"), undefined);
      assert.equal(await cache.set("k", 1), false);
      assert.equal(await cache.getOrSet("k", () => 7), 7);
      times.push((performance.now() - start) / 3);
    }
    // What was not answered took no time that says anything of the store.
    assert.equal(await cache.has("k"), false);
    assert.equal(client.stats().latency.count, 0);
    times.sort((a, b) => a - b);
    assert.ok((times[50] as number) < 1, `half of the operations took more than ${times[50]} ms`);
    await assert.rejects(cache.get("k", { onError: "throw" }), { name: "StoreError", kind: "connection" });
    const { ok, error, breaker } = await client.health();
    assert.deepEqual([ok, breaker], [false, "open"]);
    assert.match(error as string, /failed 3 times in a row/);
  });

  it("lets one probe through when its pause is over, and closes when that is answered", async () => {
    const store = memory();
    let away = true;
    let sends = 0;
    const driver: Driver = {
      ...store,
      async send(...args) {
        sends++;
        if (away) throw new StoreError("connection", "away", { repeat: "idempotent" });
        return store.send(...args);
      },
    };
    await using client = createCacheClient({ env: {}, driver, retries: 0, breaker: { failures: 2, openFor: 1000 } });
    const cache = client.cache();
    await cache.get("k");
    await cache.get("k");
    assert.equal((await client.health()).breaker, "open");
    assert.equal(sends, 2);
    away = false;
    while (!(await cache.set("k", 1))) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(sends, 3);
    assert.equal((await client.health()).breaker, "closed");
    assert.equal(await cache.get("k"), 1);
  });

  it("does not open when the store answers with errors, or when it is turned off", async () => {
    await using client = createCacheClient({ env: {}, driver: memory(), breaker: { failures: 1 } });
    const cache = client.cache();
    await cache.set("text", "no number");
    for (let i = 0; i < 5; i++) assert.equal(await cache.increment("text"), 0);
    assert.equal((await client.health()).breaker, "closed");
    const port = await freePort();
    await using other = createCacheClient({ env: {}, url: `redis://127.0.0.1:${port}`, breaker: false });
    for (let i = 0; i < 8; i++) await other.cache().get("k");
    assert.equal((await other.health()).breaker, "closed");
  });
});
