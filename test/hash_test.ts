import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import { hashInScript, sha256 } from "../src/runtime/sha256.ts";

const expected = (text: string) => createHash("sha256").update(text, "utf8").digest("hex");

describe("sha256", () => {
  for (const [name, hash] of Object.entries({ sha256, hashInScript: (text: string) => hashInScript("sha256", text) })) {
    it(`${name} answers what FIPS 180-4 says`, () => {
      assert.equal(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
      assert.equal(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    });

    it(`${name} answers what node:crypto does at every length around a block`, () => {
      for (let length = 0; length <= 200; length++)
        assert.equal(hash("x".repeat(length)), expected("x".repeat(length)));
      const long = "phở 🍜 ".repeat(20_000);
      assert.equal(hash(long), expected(long));
    });

    it(`${name} answers what node:crypto does for any text, lone surrogates among it`, () => {
      const unit = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("\ud800", "\udfff", "a", "\u0000"));
      fc.assert(
        fc.property(fc.array(unit, { maxLength: 20 }), (parts) => {
          assert.equal(hash(parts.join("")), expected(parts.join("")));
        }),
        { numRuns: 500 },
      );
    });
  }
});
