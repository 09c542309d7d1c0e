/** warm and doctor as a user runs them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { type CacheClient, createCacheClient } from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { larder, RUNTIME, startLarder } from "./helpers/larder.ts";
import { freePort, type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";
import type { Ended } from "./helpers/run.ts";
import { serve } from "./helpers/serve.ts";

describe("larder warm and doctor", () => {
  let redis: RedisServer;
  let client: CacheClient;
  let env: Record<string, string>;
  let folder: string;
  before(async () => {
    redis = await startRedis();
    client = createCacheClient({ url: redis.url, timeout: 5000 });
    env = { CACHE_URL: redis.url };
  });
  after(async () => {
    await client?.close();
    await redis?.stop();
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "larder-warm-"));
  });
  afterEach(async () => {
    rmSync(folder, { recursive: true });
    await rawCommand(redis.port, ["FLUSHALL"]);
  });

  const file = (name: string, ...lines: unknown[]): string => {
    const path = join(folder, name);
    writeFileSync(path, lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join(""));
    return path;
  };
  const dish = (id: number) => ({ id, name: `dish ${id}` });

  it("warm writes a file through the typed collection, with TTLs and tags", async () => {
    const lines = [
      { id: 1, value: dish(1), ttl: "2h", tags: ["menu"] },
      { id: 2, value: dish(2) },
      "",
      { id: 3, value: dish(3) },
    ];
    const ended = await larder(["warm", "product", "--from", file("a.jsonl", ...lines)], { env });
    assert.deepEqual(ended, { code: 0, stdout: "3 values written to product.products\n", stderr: "" });
    const { products } = client.service("product");
    assert.deepEqual(await products.get(2), dish(2));
    const left = await products.ttl(1);
    assert.ok(typeof left === "number" && left > 7000, `${left}`);
    await products.invalidateTags("menu");
    assert.deepEqual([await products.has(1), await products.has(2)], [false, true]);
  });

  it("warm reports each reject with its line, and ends with 1", async () => {
    const path = file(
      "a.jsonl",
      { id: 1, value: dish(1) },
      { id: 2, value: { id: 2 } },
      "not json",
      "[1]",
      { value: dish(5) },
      { id: 6, value: dish(6), more: 1 },
      { id: 7, value: dish(7), ttl: "soon" },
    );
    const [told, json] = await Promise.all([
      larder(["warm", "product", "-f", path], { env }),
      larder(["warm", "product", "-f", path, "--json", "--dry-run"]),
    ]);
    assert.deepEqual([told.code, told.stdout], [1, "1 value written to product.products, 6 rejects\n"]);
    assert.match(told.stderr, /^line 2: Cannot write to product.products: name: /m);
    assert.match(told.stderr, /^line 3: it is not JSON$/m);
    assert.match(told.stderr, /^line 5: it has no "id"/m);
    const values = json.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      values
        .slice(0, -1)
        .map(({ line }) => line)
        .sort(),
      [2, 3, 4, 5, 6, 7],
    );
    assert.deepEqual(values.at(-1), {
      ...{ service: "product", collection: "products", written: 1, rejected: 6, dryRun: true, done: true },
    });
    assert.deepEqual([json.code, json.stderr], [1, ""]);
  });

  it("warm --dry-run needs no store and writes nothing, --id takes plain values, - is standard input", async () => {
    const path = file("a.jsonl", dish(1), dish(2), { name: "no id" });
    const dry = await larder(["warm", "product", "--from", path, "--id", "id", "--dry-run"]);
    assert.equal(dry.code, 1);
    assert.equal(dry.stdout, "2 values would be written to product.products, 1 reject\n");
    assert.match(dry.stderr, /^line 3: it has no "id"\n$/);
    const options = { env, input: `${JSON.stringify({ id: "soup", name: "Soup" })}` };
    const args = ["warm", "-s", "product", "--collection", "categories", "--from", "-", "--id", "id"];
    assert.equal((await larder(args, options)).stdout, "1 value written to product.categories\n");
    assert.deepEqual(await client.service("product").categories.get("soup"), { id: "soup", name: "Soup" });
    const none = await larder(["warm", "product", "--from", join(folder, "missing")], { env });
    assert.equal(none.code, 1);
    assert.match(none.stderr, /^error: Cannot read .*missing: no such file or folder\n$/);
  });

  it("warm takes the iterable of a module in every runtime", async () => {
    const loop = `for (let id = 1; id <= 200; id++) yield { id, value: { id, name: "x" } };`;
    const source = `export async function* items() { ${loop} }`;
    const script = file("warm.mjs", source);
    const typed = file(
      "warm.ts",
      `const items: Iterable<unknown> = [{ id: 9, value: { id: 9, name: "y" } }];\nexport default items;`,
    );
    const bug = file(
      "bug.mjs",
      `export default (async function* () {
        yield { id: 1, value: { id: 1, name: "z" } };
        throw new Error("their own bug");
      })();`,
    );
    const nothing = file("nothing.mjs", "export const dishes = [];");
    const [written, types, failed, none] = (await Promise.all(
      [script, typed, bug, nothing].map((path) => larder(["warm", "product", "--module", path], { env })),
    )) as [Ended, Ended, Ended, Ended];
    assert.deepEqual(written, { code: 0, stdout: "200 values written to product.products\n", stderr: "" });
    if (RUNTIME[0] !== "node" || types.code === 0) {
      assert.deepEqual([types.code, types.stdout], [0, "1 value written to product.products\n"], types.stderr);
    } else {
      assert.match(types.stderr, /^error: Cannot load .*warm.ts: Node .* cannot run it: expected .js or .mjs, or Bun,/);
      assert.equal(types.code, 1);
    }
    // An unexpected error is a bug, here of the module, so its stack is shown.
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /their own bug[\s\S]*bug\.mjs/);
    assert.match(none.stderr, /^error: Cannot warm from .*nothing.mjs: expected .* an iterable/);
  });

  it("warm stops at Ctrl-C while it waits for more", async () => {
    const warming = startLarder(["warm", "product", "--from", "-", "--concurrency", "1"], {
      env,
      open: true,
      input: `${JSON.stringify({ id: 1, value: dish(1) })}\n`,
    });
    const { products } = client.service("product");
    while (!(await products.has(1)));
    warming.signal("SIGINT");
    const { code, stdout } = await warming.ended;
    assert.deepEqual([code, stdout], [130, "Stopped: 1 value written to product.products\n"]);
  });

  it("doctor shows problems with their evidence and advice", async () => {
    const [found, json] = await Promise.all([larder(["doctor"], { env }), larder(["doctor", "--json"], { env })]);
    assert.equal(found.code, 1, found.stderr);
    assert.match(found.stdout, /^redis:\/\/127\.0\.0\.1:\d+\n✓ connection +/);
    assert.match(found.stdout, /\n! eviction +.*noeviction.*\n +set maxmemory /);
    const findings = json.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    const eviction = findings.find(({ check }) => check === "eviction");
    assert.equal(eviction.level, "warning");
    assert.ok(eviction.evidence && eviction.advice);
    for (const { check, level } of findings) assert.ok(check && /^(ok|info|warning|error)$/.test(level));
  });

  it("doctor ends with 3 when the store is away, and names the checks that REST does not support", async () => {
    const port = await freePort();
    const rest = await serve(bridge({ driver: memory(), token: "t" }));
    const [away, far] = await Promise.all([
      larder(["doctor"], { env: { REDIS_URL: `redis://:s3cret@127.0.0.1:${port}` } }),
      larder(["doctor"], { env: { UPSTASH_REDIS_REST_URL: rest.url, UPSTASH_REDIS_REST_TOKEN: "t" } }),
    ]);
    await rest.close();
    assert.equal(away.code, 3);
    assert.match(away.stdout, /\n✗ connection +.*\n +check that the store is running/);
    assert.doesNotMatch(away.stdout + away.stderr, /s3cret/);
    assert.notEqual(far.code, 3, far.stdout);
    assert.match(far.stdout, /· .*not available/);
  });

  it("doctor describes an odd password only when the store refuses it", async () => {
    const redis = await startRedis({ args: ["--requirepass", "s3cret"] });
    const ask = (password: string) =>
      larder(["doctor"], { env: { REDIS_HOST: "127.0.0.1", REDIS_PORT: `${redis.port}`, REDIS_PASSWORD: password } });
    const [quoted, broken, plain, right] = await Promise.all(['"s3cret"', "s3cret\n", "secret", "s3cret"].map(ask));
    await redis.stop();
    const advice = "check the user, and the password or token, in the configuration";
    assert.match(quoted?.stdout ?? "", new RegExp(`${advice}: the password stands in quotes\n`));
    assert.match(broken?.stdout ?? "", new RegExp(`${advice}: the password ends in a line break\n`));
    assert.match(plain?.stdout ?? "", new RegExp(`${advice}\n`));
    assert.doesNotMatch(right?.stdout ?? "", /the password|✗/);
    assert.doesNotMatch(`${quoted?.stdout}${broken?.stdout}`, /s3cret/);
  });
});
