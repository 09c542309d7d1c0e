import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import * as mod from "../mod.ts";
import { collection, defineService } from "../mod.ts";
import { fleetCounts } from "../src/cache/fleet_counts.ts";
import { locks } from "../src/cache/locks.ts";
import * as core from "../src/core.ts";
import * as edge from "../src/edge.ts";
import { sealing } from "../src/entry/seal.ts";
import { nearCache } from "../src/near/public.ts";
import { freePort } from "./helpers/redis_server.ts";

const SHARED = [
  "CacheConfigError",
  "CacheConflictError",
  "CacheError",
  "CacheLockError",
  "CacheSchemaError",
  "CacheTimeoutError",
  "StoreError",
  "collection",
  "createCacheClient",
  "defineService",
  "isCacheError",
  "logTo",
  "parseConfig",
  "parseTtl",
  "redactUrl",
  "withOptions",
  "withSchemas",
];
const WITH_ENVIRONMENT = [...SHARED, "getCacheClient", "getCacheService"].sort();

describe("entries", () => {
  it("mod.ts exports its names, and the edge entry the same", () => {
    assert.deepEqual(Object.keys(mod).sort(), WITH_ENVIRONMENT);
    assert.deepEqual(Object.keys(edge).sort(), WITH_ENVIRONMENT);
    const own = ["createCacheClient", "getCacheClient", "getCacheService"];
    for (const name of WITH_ENVIRONMENT) {
      const [here, there] = [mod, edge].map((entry) => (entry as Record<string, unknown>)[name]);
      if (own.includes(name)) assert.equal(typeof there, "function");
      else assert.equal(here, there, name);
    }
  });

  it("the smallest build exports its names, without a shared client", () => {
    assert.deepEqual(Object.keys(core).sort(), SHARED);
    for (const name of SHARED) {
      if (name === "createCacheClient") continue;
      assert.equal((core as Record<string, unknown>)[name], (mod as Record<string, unknown>)[name], name);
    }
  });

  it("the edge entry opens memory, and names its drivers when TCP is asked for", async () => {
    await using client = edge.createCacheClient({ env: {} });
    await client.cache().set("k", 1);
    assert.equal(await client.cache().get("k"), 1);
    for (const options of [{ driver: "node-redis" }, { url: "redis://:S3CRET@127.0.0.1:1" }] as const) {
      assert.throws(
        () => edge.createCacheClient({ env: {}, ...options }),
        (error: Error) => /memory, upstash/.test(error.message) && !/S3CRET/.test(error.message),
      );
    }
  });
});

describe("the smallest build", () => {
  const encryption = { keys: { k1: new Uint8Array(16).fill(1) } };

  it("has near caches, encryption and compression when they are passed", async () => {
    const driver = memory();
    const safe = defineService({ name: "safe", database: 9, encrypted: true, collections: {} });
    await using client = core.createCacheClient({
      driver,
      nearCache,
      sealing,
      near: true,
      compressAbove: 10,
      encryption,
    });
    const cache = client.cache<string>();
    await cache.set("k", "pho ".repeat(100));
    for (let read = 0; read < 3; read++) assert.equal(await cache.get("k"), "pho ".repeat(100));
    assert.ok(cache.stats().nearHits > 0);
    assert.equal(await client.service(safe).cache.set("secret", "S3CRET"), true);
    const [packed, sealed] = await Promise.all([driver.send(0, [["GET", "k"]]), driver.send(9, [["GET", "secret"]])]);
    assert.match(String(packed), /"packed"/);
    assert.match(String(sealed), /"sealed":"k1/);
    await using bare = core.createCacheClient({ driver, logger: false });
    assert.equal(await bare.cache().get("k"), undefined);
    assert.equal(bare.cache().stats().corrupt, 1);
  });

  it("adds its counts to those of all processes when fleetCounts is passed", async () => {
    const driver = memory();
    const client = core.createCacheClient({ driver, fleetCounts, fleetStats: true });
    await client.cache().set("k", 1);
    await client.close();
    await using reader = core.createCacheClient({ driver, fleetCounts });
    assert.equal((await reader.cache().fleetStats())?.writes, 1);
    await using bare = core.createCacheClient({ driver });
    await assert.rejects(bare.cache().fleetStats(), /the option fleetCounts/);
  });

  it("locks loads and runs functions under a lock when locks is passed", async () => {
    const driver = memory();
    await using client = core.createCacheClient({ driver, locks, lock: true });
    const cache = client.cache<string>();
    assert.equal(await cache.getOrSet("k", () => "pho"), "pho");
    const first = await cache.withLock("menu", ({ token }) => token);
    assert.ok((await cache.withLock("menu", ({ token }) => token)) > first);
    await using bare = core.createCacheClient({ driver });
    await assert.rejects(async () => bare.cache().withLock("menu", () => 1), /Cannot lock: .* the option locks/);
    await assert.rejects(
      bare.cache().getOrSet("new", () => "x", { lock: true }),
      /the option locks/,
    );
  });

  it("refuses options that need a part that it was not passed, by the part's name", () => {
    const make = (options: object) => core.createCacheClient({ driver: memory(), ...options });
    const cases: [() => unknown, RegExp][] = [
      [() => make({ encryption }), /the option sealing/],
      [() => make({ compressAbove: 10 }).cache(), /the option sealing/],
      [() => make({ near: true }).cache(), /the option nearCache/],
      [() => make({ fleetStats: true }).cache(), /the option fleetCounts/],
      [() => make({ lock: true }).cache(), /the option locks/],
      [() => make({ locks: true }), /option locks is true/],
      [() => make({ sealing: 5 }), /option sealing is 5/],
      [() => make({ fleetCounts: 1 }), /option fleetCounts is 1/],
      [() => make({ nearCache: true }), /option nearCache is true/],
    ];
    for (const options of [{ near: true }, { compressAbove: 0 }, { lock: true }]) {
      const menu = defineService({
        name: "menu",
        database: 9,
        collections: { dishes: collection({ key: "d:{id}", ...options }) },
      });
      cases.push([() => make({}).service(menu), /the option (sealing|nearCache|locks)/]);
    }
    for (const [made, message] of cases) assert.throws(made, message);
  });
});

describe("importing mod.ts", () => {
  /** Runs a module in a process of its own and answers what it prints. */
  async function run(code: string): Promise<string> {
    const flags = process.versions.bun ? ["-e"] : "Deno" in globalThis ? ["eval"] : ["--input-type=module", "-e"];
    const child = spawn(process.execPath, [...flags, code], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        output += chunk;
      });
    }
    const [status] = await once(child, "close");
    assert.equal(status, 0, output);
    return output;
  }

  it("loads no client package until a wire is used, and node-redis then", async () => {
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const entry = new URL(`../mod.${extension}`, import.meta.url).href;
    const output = await run(`
      import { createRequire } from "node:module";
      const require = createRequire(${JSON.stringify(entry)});
      const loaded = () => {
        const files = Object.keys(require.cache).map((file) => file.replaceAll("\\\\", "/"));
        return files.some((file) => /node_modules\\/.*@redis\\/client\\//.test(file)) ? "loaded" : "not loaded";
      };
      const { createCacheClient } = await import(${JSON.stringify(entry)});
      console.log("1", loaded());
      const idle = createCacheClient({ env: {}, url: "redis://127.0.0.1:${await freePort()}", logger: false });
      console.log("2", loaded());
      await createCacheClient({ env: {}, driver: "memory" }).cache().get("k");
      console.log("3", loaded());
      await idle.cache().get("k", { timeout: 20_000 });
      console.log("4", loaded());
    `);
    assert.deepEqual(output.trim().split(/\r?\n/), ["1 not loaded", "2 not loaded", "3 not loaded", "4 loaded"]);
  });
});
