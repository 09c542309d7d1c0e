/** Invalidations that replicas confirm. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { type CacheEvent, createCacheClient } from "../mod.ts";
import { createCacheClient as createCore } from "../src/core.ts";
import { eventually } from "./helpers/eventually.ts";
import { type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";

let primary: RedisServer;
let replica: RedisServer;

before(async () => {
  primary = await startRedis();
  replica = await startRedis({ args: ["--replicaof", `127.0.0.1 ${primary.port}`] });
  const raw = await rawClient(replica.port);
  await eventually(async () => `${await raw.command("INFO", "replication")}`.includes("master_link_status:up"));
  raw.close();
});
after(async () => {
  replica?.resume();
  await replica?.stop();
  await primary?.stop();
});

describe("invalidateTags with confirm", () => {
  it("answers true when a replica has it, and false when the replica is frozen", async () => {
    await using client = createCacheClient({ url: primary.url, timeout: 20_000, logger: false, env: {} });
    const events: CacheEvent[] = [];
    client.subscribe((event) => events.push(event));
    const cache = client.cache<string>();
    const set = () => cache.set("a", "1", { tags: ["menu"] });
    await set();
    assert.equal(await cache.invalidateTags("menu", { confirm: "replicas" }), true);
    assert.equal(await cache.get("a"), undefined);
    const raw = await rawClient(replica.port);
    assert.equal(await raw.command("EXISTS", "#larder:tag:menu"), 1, "the replica has the mark");
    raw.close();
    await set();
    assert.equal(await cache.invalidateAll({ confirm: "replicas" }), true);
    assert.equal(await cache.get("a"), undefined);
    await set();
    replica.pause();
    assert.equal(await cache.invalidateTags("menu", { confirm: "replicas", timeout: 1000 }), false);
    replica.resume();
    assert.equal(await cache.get("a"), undefined, "the primary took it");
    const errors = events.flatMap((event) => (event.type === "error" ? [event.error.message] : []));
    assert.match(errors.join(), /^No replica confirmed the invalidation within \d+ ms$/);
  });

  it("throws when the driver cannot ask replicas, the client has no such part, or it is another word", async () => {
    await using client = createCacheClient({ driver: "memory", env: {} });
    const cache = client.cache<string>();
    await assert.rejects(cache.invalidateTags("menu", { confirm: "replicas" }), {
      name: "TypeError",
      message:
        'Cannot confirm an invalidation over memory: received "replicas", expected a driver with TCP connections',
    });
    await assert.rejects(cache.invalidateAll({ confirm: "all" as never }), {
      name: "TypeError",
      message: 'Cannot confirm an invalidation over memory: received "all", expected "replicas"',
    });
    await using core = createCore({ driver: memory() });
    await assert.rejects(core.cache().invalidateAll({ confirm: "replicas" }), {
      name: "TypeError",
      message: 'Cannot confirm an invalidation: received "replicas", expected a client for servers',
    });
  });
});
