import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import process from "node:process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

/** `.ts` among the sources, `.js` in what was compiled of them. */
const extension = import.meta.url.slice(-3);
const manifest = new URL(extension === ".js" ? "../../deno.json" : "../deno.json", import.meta.url);
const entries = Object.values(
  (JSON.parse(readFileSync(manifest, "utf8")) as { exports: Record<string, string> }).exports,
);

describe("the package in CommonJS", () => {
  it("require gives what import gives, of every entry", async (context) => {
    const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
    if (major < 20 || (major === 20 && minor < 19) || (major === 22 && minor < 12)) {
      return context.skip("this Node requires no ES modules");
    }
    const require = createRequire(import.meta.url);
    for (const entry of entries) {
      const file = new URL(`../${entry.replace(".ts", extension)}`, import.meta.url);
      const required = Object.keys(require(fileURLToPath(file)) as object);
      assert.deepEqual(required.sort(), Object.keys(await import(file.href)).sort(), entry);
    }
    assert.ok(entries.length > 10);
  });
});
