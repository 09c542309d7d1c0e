import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { globMatch } from "../drivers/glob.ts";
import { memory } from "../drivers/memory.ts";
import { collection, createCacheClient, defineService } from "../mod.ts";
import { collectionKeys, type Id, MAX_ID_LENGTH, prefixOf, rawKeys, Shard } from "../src/entry/keyspace.ts";
import { hashInScript } from "../src/runtime/sha256.ts";

/** Characters that mean something in keys, in globs or in encodings, and others. */
const piece = fc.constantFrom(..."ab:%*?[]^\\-{}/ .~@é日🍜\u0000\n", "\ud800", "\udc00", "%25", "%u0041", "db1:");
const text = fc.oneof(
  fc.array(piece, { maxLength: 8 }).map((parts) => parts.join("")),
  fc.string({ unit: "binary", maxLength: 12 }),
);
const id = text.filter((each) => each !== "");
const wellFormed = text.filter((each) => each.isWellFormed());

describe("collectionKeys", () => {
  const shape = collectionKeys("product:{id}");

  it("encode gives two keys to two ids, and decode gives the ids back", () => {
    fc.assert(
      fc.property(id, id, (a, b) => {
        assert.equal(shape.decode(shape.encode(a)), a);
        assert.equal(shape.encode(a) === shape.encode(b), a === b);
      }),
      { numRuns: 3000 },
    );
  });

  it("encode stays in its collection, without a character of globs or joins", () => {
    fc.assert(
      fc.property(id, (each) => {
        const key = shape.encode(each);
        assert.ok(key.startsWith("product:") && key.isWellFormed());
        const rest = key.slice("product:".length);
        assert.doesNotMatch(rest, /[:*?[\]^\\{} \n/]/);
        assert.match(rest, /^(?:[^%]|%[0-9A-F]{2}|%u[0-9A-F]{4})+$/);
      }),
      { numRuns: 1000 },
    );
  });

  it("encode gives numbers, bigints and their text one key", () => {
    fc.assert(
      fc.property(fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.bigInt()), (number) => {
        assert.equal(shape.encode(number), shape.encode(`${number}`));
        assert.equal(shape.decode(shape.encode(number)), `${number}`);
      }),
    );
  });

  it("encode throws when the id is empty, too long or of no accepted type", () => {
    const bad = ["", "x".repeat(MAX_ID_LENGTH + 1), "*".repeat(400), Number.NaN, Number.POSITIVE_INFINITY];
    for (const each of [...bad, null, undefined, true, Symbol("s"), () => 1]) {
      assert.throws(
        () => shape.encode(each as string),
        (error) => error instanceof TypeError && /expected/.test(error.message) && error.message.length < 300,
        String(each),
      );
    }
    assert.equal(shape.encode("x".repeat(MAX_ID_LENGTH)).length, "product:".length + MAX_ID_LENGTH);
  });

  it("collectionKeys throws when the pattern has another form", () => {
    for (const bad of [
      "",
      "product",
      "product:",
      "{id}",
      ":{id}",
      "a:{id}:b",
      "a:{id}:{id}",
      "a*:{id}",
      "a b:{id}",
      "a:b:{id}",
    ]) {
      assert.throws(() => collectionKeys(bad), /expected/, bad);
    }
  });

  it("encode hashes an id whatever the order of its keys, and never alike for two values", () => {
    const hashed = collectionKeys("search:{hash}", true);
    const value = fc.jsonValue({ maxDepth: 3 });
    const shuffled = (each: unknown): unknown => {
      if (Array.isArray(each)) return each.map(shuffled);
      if (typeof each !== "object" || each === null) return each;
      return Object.fromEntries(
        Object.entries(each)
          .reverse()
          .map(([name, inner]) => [name, shuffled(inner)]),
      );
    };
    fc.assert(
      fc.property(value, value, (a, b) => {
        const [first, second] = [{ a }, { a: b }];
        assert.match(hashed.encode(first), /^search:[0-9a-f]{40}$/);
        assert.equal(hashed.encode(first), hashed.encode(shuffled(first) as object));
        const same = JSON.stringify(shuffled(shuffled(first))) === JSON.stringify(shuffled(shuffled(second)));
        if (same) assert.equal(hashed.encode(first), hashed.encode(second));
        else if (hashed.encode(first) === hashed.encode(second)) assert.deepEqual(first, second);
      }),
      { numRuns: 1000 },
    );
    const apart: unknown[] = [
      "1",
      1,
      1n,
      ["1"],
      [1],
      { 1: 1 },
      [[1]],
      "[1]",
      new Date(1),
      "@1",
      { a: null },
      {},
      [null],
    ];
    assert.equal(new Set(apart.map((each) => hashed.encode(each as object))).size, apart.length);
    for (const bad of ["", Number.NaN, null, undefined, true, { f: () => 1 }, { m: new Map() }, { s: Symbol("s") }]) {
      assert.throws(() => hashed.encode(bad as string), /expected/, String(bad));
    }
  });
});

describe("the keys of hashed ids", () => {
  it("encode keeps them, so that entries of earlier processes are found", () => {
    const ids: readonly (readonly [Id, string])[] = [
      ["pho", "f077e5209e58a6ff591093e41239f00505ecced7"],
      ["\ud800phở 🍜", "17fd488d6b91475a8975646c0ee75d566df7e23d"],
      ['a"b\\c\n\u2028', "0757017bcdcf367bb27df7ac38f0a8bdb967e20d"],
      [7, "7902699be42c8a8e46fbbb4501726517e86b22c5"],
      [-0, "5feceb66ffc86f38d952786c6d696c79c2dbc239"],
      [1.5e300, "ba5b9d007ed3bac3aed4e53fff4395ec6e034ab0"],
      [12345678901234567890n, "ac396d3ffc8d84724d6ef6ab396e6f5c352a5696"],
      [
        { text: "pho", page: 1, filters: { open: true, cuisine: ["thai", null, false] } },
        "b24d9a9f138469d3d58a7215c9a281f82042f1bf",
      ],
      [{ b: 1, a: undefined, "10": 2, "9": 3, 'é"': 4 }, "b47a9d35e96588366f773125d910fe71870160e0"],
      [[], "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d"],
      [[[1, "1"], {}], "3b1fae52e4b8ceade4ebf3394e4d37de7ed99fa8"],
      // biome-ignore lint/suspicious/noSparseArray: a hole has a text of its own
      [[, 1], "2b3646f1ef5cf8b30a71b9e140e89b77da7eb435"],
      [{ at: new Date(1234), n: [Number.NaN, Infinity, -0], x: 9n }, "c694fa49e0348b6f2500951d9db4df37f7648a9d"],
      [Object.assign(Object.create(null), { z: 1, a: {} }), "818628aabccf3d87b013f60fbcbd36db69f94338"],
    ];
    const { encode } = collectionKeys("search:{hash}", true);
    for (const [id, hash] of ids) assert.equal(encode(id), `search:${hash}`);
  });

  it("encode reads no part again for each of the parts around it", () => {
    let reads = 0;
    let id: object = {
      at: new Date(0),
      get a() {
        return ++reads > 0;
      },
    };
    for (let depth = 0; depth < 500; depth++) id = depth % 2 ? [id] : { id };
    collectionKeys("search:{hash}", true).encode(id);
    assert.ok(reads < 10, `${reads} reads`);
  });

  it("encode hashes what is spelled out key by key, whatever stands in an id", () => {
    const key = fc.oneof(fc.string({ unit: "binary", maxLength: 3 }), fc.constantFrom("10", "9", "a", "__proto__"));
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.oneof(fc.jsonValue({ maxDepth: 1 }), fc.double(), fc.bigInt(), fc.date(), fc.constantFrom("\ud800", -0)),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(key, fc.option(tie("value"), { nil: undefined }), { maxKeys: 4 }),
      ),
    }));
    const spelled = (part: unknown): string => {
      if (typeof part === "bigint") return `${part}n`;
      if (typeof part === "number") return String(part);
      if (part instanceof Date) return `@${part.getTime()}`;
      if (typeof part !== "object" || part === null) return JSON.stringify(part);
      if (Array.isArray(part)) return `[${part.map(spelled)}]`;
      const items = Object.entries(part).filter(([, item]) => item !== undefined);
      items.sort(([a], [b]) => (a < b ? -1 : 1));
      return `{${items.map(([name, item]) => `${JSON.stringify(name)}:${spelled(item)}`)}}`;
    };
    const { encode } = collectionKeys("search:{hash}", true);
    fc.assert(
      fc.property(value, (id) => {
        assert.equal(
          encode({ id } as object),
          `search:${hashInScript("sha256", `{"id":${spelled(id)}}`).slice(0, 40)}`,
        );
      }),
      { numRuns: 2000 },
    );
  });
});

describe("Shard", () => {
  it("key gives two homes to two databases, prefixes or services, and strip takes away what it added", () => {
    const place = fc.record({
      database: fc.nat(15),
      prefix: id,
      segment: fc.constantFrom("loyalty", "rival", "db1", "a"),
    });
    fc.assert(
      fc.property(
        place,
        place,
        wellFormed,
        wellFormed,
        fc.boolean(),
        fc.boolean(),
        (a, b, first, second, numbered, shared) => {
          const open = ({ database, prefix, segment }: typeof a) =>
            new Shard(numbered ? database : 0, prefixOf({ numbered, prefix, ...(shared && { segment }) }, database));
          const [here, there] = [open(a), open(b)];
          assert.equal(here.strip(here.key(first)), first);
          const [x, y] = [
            [here.database, here.key(first)],
            [there.database, there.key(second)],
          ];
          const same =
            a.database === b.database &&
            a.prefix === b.prefix &&
            (!shared || a.segment === b.segment) &&
            first === second;
          assert.equal(JSON.stringify(x) === JSON.stringify(y), same);
          if (here.database === there.database) {
            assert.equal(globMatch(here.match("*"), there.key(second)), there.key(second).startsWith(here.prefix));
            assert.equal(there.key(second).startsWith(here.prefix), here.prefix === there.prefix);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("rawKeys", () => {
  it("encode takes keys as they are, and throws when the wire could not", () => {
    fc.assert(
      fc.property(id, (each) => {
        if (each.isWellFormed()) assert.equal(rawKeys.encode(each), each);
        else assert.throws(() => rawKeys.encode(each), /expected/);
      }),
    );
    for (const bad of ["", "x".repeat(MAX_ID_LENGTH + 1), {}, null, undefined, true]) {
      assert.throws(() => rawKeys.encode(bad as string), /expected/);
    }
  });
});

describe("patterns of a collection", () => {
  const shop = defineService({
    name: "shop",
    database: 8,
    collections: { items: collection<number>({ key: "item:{id}" }), others: collection<number>({ key: "items:{id}" }) },
  });
  const element = fc.constantFrom(
    "*",
    "*",
    "?",
    "??",
    "[a-c]",
    "[^a]",
    "[",
    "[^",
    "\\",
    "\\*",
    "[]",
    "[b-",
    "[a-]",
    "[a-\\]",
    "%",
    ":",
  );
  const part = fc.oneof(piece, element, element);
  /** Ids, and a pattern: any, or one that comes from an id by replacing some of its characters. */
  const question = fc.uniqueArray(id, { minLength: 1, maxLength: 15 }).chain((ids) => {
    const derived = fc.tuple(...[...(ids[0] ?? "")].map((char) => fc.oneof(fc.constant(char), element)));
    const pattern = fc
      .oneof(derived, derived, fc.array(part, { minLength: 1, maxLength: 6 }))
      .map((parts) => parts.join(""))
      .filter((each) => each !== "" && each.isWellFormed());
    return fc.tuple(fc.constant(ids), pattern);
  });

  it("keys and deletePattern find the ids that the glob matches, and no other", async () => {
    let matched = 0;
    await fc.assert(
      fc.asyncProperty(question, async ([ids, glob]) => {
        const driver = memory();
        const client = createCacheClient({ env: {}, driver, prefix: "t[1]*" });
        const { items, others } = client.service(shop);
        await Promise.all(ids.flatMap((each) => [items.set(each, 1), others.set(each, 1)]));
        const expected = ids.filter((each) => globMatch(glob, each)).sort();
        const found: string[] = [];
        for await (const each of items.keys(glob)) found.push(each);
        assert.deepEqual(found.sort(), expected);
        matched += found.length;
        assert.equal(await items.deletePattern(glob), expected.length);
        assert.equal(await items.clear(), ids.length - expected.length);
        assert.equal(await others.clear(), ids.length);
        await driver.close();
      }),
      { numRuns: 300 },
    );
    assert.ok(matched > 5, `${matched} ids matched`);
  });
});
