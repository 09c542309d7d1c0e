import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { escapeGlob, globMatch } from "../drivers/glob.ts";
import { type RawClient, type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";

/** Characters that make matches and near misses likely, of one to four bytes. */
const piece = fc.constantFrom(..."ab-]^[\\*?cé日😀", "ab", "aa");
const text = fc.oneof(
  { weight: 4, arbitrary: fc.array(piece, { maxLength: 6 }).map((all) => all.join("")) },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 8 }) },
);
const element = fc.constantFrom("*", "?", "??", "[a-c]", "[c-a]", "[^a]", "[", "[^", "[a", "\\", "[a-", "[\\]]", "[é]");
const join = (parts: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.array(parts, { maxLength: 6 }).map((all) => all.join(""));

/** Keys, and a pattern: any, or one that comes from a key by replacing some of its characters. */
const question = fc.uniqueArray(text, { minLength: 1, maxLength: 60 }).chain((keys) => {
  const parts = [...(keys[0] ?? "")].map((char) => fc.oneof(fc.constant(char), fc.constant(`\\${char}`), element));
  const derived = fc.tuple(...parts).map((all) => all.join(""));
  return fc.tuple(fc.constant(keys), fc.oneof(derived, derived, join(fc.oneof(piece, element)), text));
});

describe("glob", () => {
  let redis: RedisServer;
  let client: RawClient;
  before(async () => {
    redis = await startRedis();
    client = await rawClient(redis.port);
  });
  after(async () => {
    client.close();
    await redis.stop();
  });

  /** The keys that Redis finds with KEYS, and with SCAN MATCH. */
  async function found(keys: readonly string[], glob: string): Promise<string[][]> {
    const replies = await client.pipeline([
      ["FLUSHALL"],
      ["MSET", ...keys.flatMap((key) => [key, ""])],
      ["KEYS", glob],
      ["SCAN", 0, "MATCH", glob, "COUNT", 1000],
    ]);
    const scanned = (replies[3] as [string, string[]])[1];
    return [replies[2] as string[], scanned].map((all) => [...all].sort());
  }

  it("globMatch answers as KEYS and SCAN MATCH do when keys and patterns are any Unicode", async () => {
    let matches = 0;
    await fc.assert(
      fc.asyncProperty(question, async ([keys, glob]) => {
        const ours = keys.filter((key) => globMatch(glob, key)).sort();
        assert.deepEqual(await found(keys, glob), [ours, ours]);
        matches += ours.length;
      }),
      { numRuns: 5000 },
    );
    assert.ok(matches > 500, `only ${matches} matches: the test compares nothing`);
  });

  it("globMatch answers as KEYS does for patterns that end too early", async () => {
    const keys = ["", "a", "b", "\\", "[", "]", "-", "^", "a-", "ab", "a\\", "é", "*", "\u0000"];
    for (const glob of [
      "",
      "*",
      "**",
      "[",
      "[^",
      "[a",
      "[^a",
      "[a-",
      "[a-c",
      "[]",
      "[^]",
      "[\\",
      "[a\\",
      "a\\",
      "\\",
      "[]-a]",
    ]) {
      const ours = keys.filter((key) => globMatch(glob, key)).sort();
      assert.deepEqual(await found(keys, glob), [ours, ours], `pattern ${glob}`);
    }
  });

  it("globMatch takes one byte for ? when a character has more", () => {
    assert.equal(globMatch("?", "é"), false);
    assert.equal(globMatch("??", "é"), true);
    assert.equal(globMatch("????", "😀"), true);
  });

  it("globMatch ends soon when the pattern is hostile", () => {
    const from = performance.now();
    assert.equal(globMatch(`${"a*".repeat(50)}b`, "a".repeat(2000)), false);
    assert.equal(globMatch(`*${"?*".repeat(500)}[^a]`, "a".repeat(2000)), false);
    assert.ok(performance.now() - from < 5000);
  });

  it("escapeGlob makes a pattern that matches only the text itself", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(text, { minLength: 1, maxLength: 40 }), async (keys) => {
        const [own = ""] = keys;
        const glob = escapeGlob(own);
        assert.deepEqual(
          keys.filter((key) => globMatch(glob, key)),
          [own],
        );
        assert.deepEqual(await found(keys, glob), [[own], [own]]);
        assert.equal(globMatch(`${glob}*`, `${own}x`), true);
      }),
      { numRuns: 300 },
    );
  });
});
