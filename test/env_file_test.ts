/** A client reads each of its files of variables once. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createCacheClient, defineService } from "../mod.ts";

describe(".env.cache", () => {
  it("is read once a client, and each service's own file when the service is first used", async () => {
    const folder = mkdtempSync(join(tmpdir(), "larder-env-"));
    const before = process.cwd();
    try {
      process.chdir(folder);
      writeFileSync(".env.cache", "CACHE_DRIVER=memory\nCACHE_PREFIX=first\n");
      await using client = createCacheClient();
      writeFileSync(".env.cache", "CACHE_DRIVER=memory\nCACHE_PREFIX=second\n");
      writeFileSync(".env.cache.menu", "CACHE_PREFIX=own\n");
      const prefix = async (service?: string) => (await client.locate({ service })).prefix;
      client.service(defineService({ name: "menu", collections: {} }));
      client.service(defineService({ name: "bar", collections: {} }));
      writeFileSync(".env.cache.menu", "this is not an assignment");
      assert.deepEqual(
        [await prefix(), await prefix("product"), await prefix("bar"), await prefix("menu")],
        ["first:", "first:", "first:bar:", "own:menu:"],
      );
      await using later = createCacheClient();
      assert.equal((await later.locate({})).prefix, "second:");
    } finally {
      process.chdir(before);
      rmSync(folder, { recursive: true });
    }
  });
});
