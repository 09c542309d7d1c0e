import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { collection, createCacheClient, defineService } from "../mod.ts";
import { larder } from "./helpers/larder.ts";
import { type RedisServer, startRedis } from "./helpers/redis_server.ts";

const LIMIT = { timeout: 120_000 };

const own = (name: string, database?: number) =>
  defineService({
    name,
    ...(database !== undefined && { database }),
    collections: { dishes: collection<{ name: string }>({ key: "dish:{id}", ttl: "1h" }) },
  });

for (const databases of ["numbered", "prefixed"] as const) {
  describe(`larder and services of one's own, ${databases}`, () => {
    let redis: RedisServer;
    let other: RedisServer;
    let env: Record<string, string>;
    const folder = mkdtempSync(join(tmpdir(), "larder-"));
    before(async () => {
      [redis, other] = await Promise.all([startRedis(), startRedis()]);
      env = { CACHE_URL: redis.url, CACHE_DATABASES: databases, CACHE_PREFIX: "shop" };
    });
    after(async () => {
      await Promise.all([redis.stop(), other.stop()]);
      rmSync(folder, { recursive: true });
    });

    /** Writes two dishes of each service; without shared statistics, unless they are asked for. */
    const fill = async (fleetStats: boolean): Promise<void> => {
      await using client = createCacheClient({ env, timeout: 5000, fleetStats });
      for (const service of [own("menu"), own("bar"), own("loyalty", 9)]) {
        const { dishes } = client.service(service);
        await dishes.set(1, { name: "Pho" }, { tags: ["soups"] });
        await dishes.set(2, { name: "Bun" });
        await client.service(service).invalidateTags(["salads"]);
      }
    };
    const keysOf = async (...args: string[]): Promise<string[]> => {
      const { stdout, stderr, code } = await larder(["list", ...args, "--json"], { env });
      assert.equal(code, 0, stderr);
      const lines = stdout.trim().split("\n").filter(Boolean);
      return lines.map((line) => JSON.parse(line).key).sort();
    };

    it("list uses database 8 and says so when the service has no statistics", LIMIT, async () => {
      await fill(false);
      assert.deepEqual(await keysOf("menu"), ["dish:1", "dish:2"]);
      assert.deepEqual(await keysOf("--service", "loyalty"), []);
      const { stderr } = await larder(["list", "menu"], { env });
      assert.equal(stderr, "No statistics of menu found: using its keys in database 8\n");
      // The library's own keys of services that share the database are not listed.
      assert.deepEqual(await keysOf("--database", "8"), ["bar:dish:1", "bar:dish:2", "menu:dish:1", "menu:dish:2"]);
    });

    it("get, backup, restore, copy and clear find a service by its statistics, and touch no other", LIMIT, async () => {
      await fill(true);
      assert.deepEqual(await keysOf("loyalty"), ["dish:1", "dish:2"]);
      const found = await larder(["get", "menu", "dish:1"], { env });
      assert.deepEqual(JSON.parse(found.stdout), { name: "Pho" });
      for (const service of ["menu", "loyalty"]) {
        const file = join(folder, `${service}.jsonl`);
        const options = { env };
        const saved = await larder(["backup", service, "--output", file, "--yes"], options);
        assert.match(saved.stdout, /^2 keys of \w+ \(/, saved.stderr);
        const cleared = await larder(["clear", service, "--yes"], options);
        assert.deepEqual(cleared, { code: 0, stdout: `2 keys of ${service} deleted\n`, stderr: "" });
        assert.deepEqual(await keysOf("bar"), ["dish:1", "dish:2"]);
        const restored = await larder(["restore", service, file], options);
        assert.equal(restored.stdout, `2 keys of ${service} written\n`, restored.stderr);
        const copied = await larder(["copy", service, "--to", other.url], options);
        assert.equal(copied.stdout, `2 keys of ${service} written\n`, copied.stderr);
      }
      await using there = createCacheClient({ env, url: other.url, timeout: 5000 });
      for (const service of [own("menu"), own("loyalty", 9)]) {
        assert.deepEqual(await there.service(service).dishes.get(1), { name: "Pho" });
      }
      const stats = await larder(["stats", "--json"], { env });
      const services = JSON.parse(stats.stdout).services as { service: string; keys: number }[];
      for (const name of ["menu", "bar", "loyalty"]) {
        assert.equal(services.find(({ service }) => service === name)?.keys, 2, name);
      }
    });
  });
}
