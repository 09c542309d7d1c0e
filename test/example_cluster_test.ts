/** The example of a cluster runs in the runtime that runs these tests, and its visitors see no error. */
import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { installed, start } from "./helpers/run.ts";

const LIMIT = { timeout: 120_000 };

describe("examples/cluster", () => {
  it(
    "main shows what visitors notice when a master dies: no errors, and hits again after the failover",
    LIMIT,
    async () => {
      const [command, ...args] = process.versions.bun
        ? [installed("bun"), "examples/cluster/main.ts"]
        : "Deno" in globalThis
          ? [installed("deno"), "run", "-A", "--no-check", "examples/cluster/main.ts"]
          : ["node", "dist/examples/cluster/main.js"];
      const { code, stdout, stderr } = await start(command as string, args).ended;
      assert.deepEqual([code, stderr], [0, ""], stdout);
      assert.match(stdout, /^A cluster of 3 masters and 3 replicas keeps (\d+) of \1 products\n/);
      assert.match(
        stdout,
        /kill -9 of 127\.0\.0\.1:\d+, .*\n(.*\n)* +127\.0\.0\.1:\d+, its replica, has become a master, /,
      );
      assert.match(stdout, /the invalidation is done, [\d.]+ s after the kill\n/);
      assert.match(stdout, /\nNo visitor saw an error\n$/);
      const shares = [...stdout.matchAll(/^ +[\d.]+ s +\d+ +([\d.]+) % +(\d+) /gm)].map(([, share]) => Number(share));
      assert.ok((shares.at(-1) as number) > 95, stdout);
      assert.ok(Math.min(...shares.slice(2)) > 20, stdout);
    },
  );
});
