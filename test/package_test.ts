/** The npm package, installed in an application on this runtime. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { installPackage } from "./helpers/package.ts";
import { type RedisServer, startRedis } from "./helpers/redis_server.ts";
import { installed, start } from "./helpers/run.ts";

const LIMIT = { timeout: 60_000 };
const entries = Object.entries(
  (JSON.parse(readFileSync("deno.json", "utf8")) as { exports: Record<string, string> }).exports,
);
const names = entries.map(([subpath]) => `@foodfast/larder${subpath.slice(1)}`);

describe("the npm package", () => {
  const folder = mkdtempSync(join(tmpdir(), "larder-package-"));
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
    await installPackage(folder, ["@opentelemetry/api"]);
  });
  after(async () => {
    await redis?.stop();
    rmSync(folder, { recursive: true });
  });

  /** Runs a module of the application. Returns what it prints. */
  async function run(code: string): Promise<string> {
    const file = join(folder, "app.mjs");
    writeFileSync(file, code);
    const { code: status, stdout, stderr } = await start(process.execPath, [...runtime(), file]).ended;
    assert.equal(status, 0, stderr);
    return stdout;
  }

  const runtime = () => ("Deno" in globalThis ? ["run", "-A", "--quiet"] : []);

  it("exports from every entry what the entry's source exports", LIMIT, async () => {
    const own = await Promise.all(
      entries.map(async ([subpath, source]) => {
        const file = import.meta.url.endsWith(".js") ? source.replace(/\.ts$/, ".js") : source;
        return [subpath, Object.keys(await import(new URL(`../${file}`, import.meta.url).href)).sort()];
      }),
    );
    const found = await run(`
      const found = [];
      for (const name of ${JSON.stringify(names)}) {
        found.push([name.replace("@foodfast/larder", "."), Object.keys(await import(name)).sort()]);
      }
      console.log(JSON.stringify(found));`);
    assert.deepEqual(JSON.parse(found), own);
    assert.ok(own.length > 20);
  });

  it("has one copy of every class and function, whatever entries an application imports", LIMIT, async () => {
    const twice = await run(`
      const seen = new Map();
      const twice = [];
      for (const entry of ${JSON.stringify(names)}) {
        for (const [name, value] of Object.entries(await import(entry))) {
          if (seen.has(name) && seen.get(name) !== value) twice.push(name + " of " + entry);
          seen.set(name, value);
        }
      }
      console.log(twice.join());`);
    // Each door has its own.
    assert.equal(twice.trim(), "createCacheClient of @foodfast/larder/core");
  });

  it("serves over every store without the client packages, and throws its own errors", LIMIT, async () => {
    const told = await run(`
      import { createCacheClient, isCacheError, StoreError } from "@foodfast/larder";
      import { nodeRedis } from "@foodfast/larder/drivers/node-redis";
      const url = ${JSON.stringify(redis.url)};
      const told = [];
      for (const options of [{ driver: "memory" }, { url }, { driver: nodeRedis({ url }) }]) {
        const client = createCacheClient({ env: {}, timeout: "20s", ...options });
        const { products } = client.service("product");
        told.push(client.driver, await products.set(1, { id: 1, name: "Pho" }), (await products.get(1)).name);
        await client.close();
        if (options.driver?.send) await options.driver.close();
      }
      const away = createCacheClient({ env: {}, url: "redis://127.0.0.1:1", logger: false });
      const error = await away.cache().get("k", { onError: "throw" }).catch((error) => error);
      told.push(error instanceof StoreError, isCacheError(error), error.kind);
      await away.close();
      console.log(told.join());`);
    const served = ["memory", "node-redis", "node-redis"].flatMap((name) => [name, true, "Pho"]);
    assert.equal(told.trim(), [...served, true, true, "connection"].join());
  });

  it("shows the names of functions in stack traces", LIMIT, async () => {
    const stack = await run(`
      import { parseConfig } from "@foodfast/larder";
      try {
        parseConfig({ CACHE_DRIVER: "nothing" });
      } catch (error) {
        console.log(error.stack);
      }`);
    assert.match(stack, /\bparseConfig(With)?\b.*\bshared\.js:\d+/);
  });

  it("is loaded by Bun as it is, without compiling it once more", LIMIT, async () => {
    const file = join(folder, "compiled.mjs");
    const cache = join(folder, "compiled");
    const own = names.filter((name) => !name.includes("opentelemetry"));
    writeFileSync(file, `for (const name of ${JSON.stringify(own)}) await import(name);`);
    mkdirSync(cache);
    const { code, stderr } = await start(installed("bun"), [file], { BUN_RUNTIME_TRANSPILER_CACHE_PATH: cache }).ended;
    assert.equal(code, 0, stderr);
    assert.deepEqual(readdirSync(cache), []);
  });

  it("has the command", LIMIT, async () => {
    const bin = join(folder, "node_modules/@foodfast/larder/dist/npm/cli.js");
    const { code, stdout, stderr } = await start(process.execPath, [...runtime(), bin, "list", "product"], {
      CACHE_URL: redis.url,
    }).ended;
    assert.equal(code, 0, stderr);
    assert.match(stdout, /product:1/);
  });

  it("keeps near caches coherent over TCP", LIMIT, async () => {
    const told = await run(`
      import { createCacheClient } from "@foodfast/larder";
      const options = { env: {}, url: ${JSON.stringify(redis.url)}, timeout: "20s" };
      const reader = createCacheClient({ ...options, near: { ttl: "1h" } });
      const writer = createCacheClient(options);
      const cache = reader.cache();
      await writer.cache().set("near", 0);
      let count = 0;
      for (; count < 5 && cache.stats().nearHits < 5; count++) {
        while ((await cache.get("near")) !== count) await new Promise((done) => setTimeout(done, 5));
        while (cache.stats().nearHits <= count) await cache.get("near");
        await writer.cache().set("near", count + 1);
      }
      console.log(count);
      await Promise.all([reader.close(), writer.close()]);`);
    assert.equal(told.trim(), "5");
  });

  it("loads its TCP client in an application's bundle in ESM format, which has no require", LIMIT, async () => {
    const source = join(folder, "bundled.mjs");
    const file = join(folder, "bundle.mjs");
    writeFileSync(
      source,
      `import { createCacheClient } from "@foodfast/larder";
      const client = createCacheClient({ env: {}, url: ${JSON.stringify(redis.url)}, timeout: "20s" });
      client.cache().set("bundled", 1).then(async (written) => {
        console.log(written);
        await client.close();
      });`,
    );
    const how = ["--bundle", "--platform=node", "--format=esm", `--outfile=${file}`];
    const bundled = await start(installed("esbuild"), [source, ...how]).ended;
    assert.equal(bundled.code, 0, bundled.stderr);
    const { stdout, stderr } = await start(process.execPath, [...runtime(), file]).ended;
    assert.equal(stdout, "true\n", stderr);
  });

  it("names the license of each package that is in a bundle", () => {
    const home = join(folder, "node_modules/@foodfast/larder/dist/npm");
    const licenses = new Map<string, string[]>();
    for (const file of readdirSync(home)) {
      const text = readFileSync(join(home, file), "utf8");
      const named = [...text.matchAll(/^(?:Parts|The \w+) of (\S+) v?\d/gm)].map(([, name = ""]) => name);
      if (named.length > 0) licenses.set(file, named);
      if (text.includes("// node_modules/")) assert.notDeepEqual(named, [], file);
    }
    assert.deepEqual(licenses.get("shared.js"), ["superjson", "valibot"]);
    assert.deepEqual(licenses.get("drivers-upstash.js"), ["@upstash/redis"]);
    assert.ok([...licenses.values()].flat().includes("@redis/client"));
  });
});
