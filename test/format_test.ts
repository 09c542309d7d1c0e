import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatBytes } from "../src/base/format.ts";

describe("formatBytes", () => {
  it("formatBytes returns units of 1024 by their names when given any size", () => {
    const sizes: readonly [size: number, text: string][] = [
      [0, "0 B"],
      [1023, "1023 B"],
      [1024, "1.0 KiB"],
      [1536, "1.5 KiB"],
      [64 * 2 ** 20, "64.0 MiB"],
      [2 ** 30, "1.0 GiB"],
      [2 ** 50, "1024.0 TiB"],
    ];
    for (const [size, text] of sizes) assert.equal(formatBytes(size), text);
  });

  it("formatBytes takes the next unit when rounding reaches it", () => {
    assert.equal(formatBytes(1023.96 * 1024), "1.0 MiB");
    assert.equal(formatBytes(1023.9 * 1024), "1023.9 KiB");
  });
});
