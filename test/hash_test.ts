import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import { sha256 } from "../src/base/hash.ts";

const expected = (text: string) => createHash("sha256").update(text, "utf8").digest("hex");

describe("sha256", () => {
  it("sha256 answers what FIPS 180-4 says", () => {
    assert.equal(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert.equal(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  });

  it("sha256 answers what node:crypto does at every length around a block", () => {
    for (let length = 0; length <= 200; length++)
      assert.equal(sha256("x".repeat(length)), expected("x".repeat(length)));
    const long = "phở 🍜 ".repeat(20_000);
    assert.equal(sha256(long), expected(long));
  });

  it("sha256 answers what node:crypto does for any text, lone surrogates among it", () => {
    const unit = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("\ud800", "\udfff", "a", "\u0000"));
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 20 }), (parts) => {
        assert.equal(sha256(parts.join("")), expected(parts.join("")));
      }),
      { numRuns: 500 },
    );
  });
});
