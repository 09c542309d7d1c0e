import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import superjson from "superjson";
import { decode, encode } from "../src/codec.ts";

/** Keys that mean something to superjson, to JavaScript or to paths. */
const key = fc.oneof(
  fc.string(),
  fc.constantFrom("", "a.b", "a\\.b", "\\", "0", "json", "meta", "values", "toString", "constructor", "prototype", "é"),
);
const anything = fc.anything({
  key,
  maxDepth: 4,
  withBigInt: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withTypedArray: true,
  withSparseArray: true,
  withNullPrototype: true,
});

/** What superjson makes of a value; `undefined` where it throws. */
function reference(value: unknown): { text: string; plain: boolean; back: unknown } | undefined {
  try {
    const { meta } = superjson.serialize(value);
    const text = superjson.stringify(value);
    return { text, plain: meta === undefined, back: superjson.parse(text) };
  } catch {
    return undefined;
  }
}

/** The value with lists in place of its Maps and Sets: Bun holds two Maps to differ when keys of one are alike. */
function listed(value: unknown): unknown {
  if (value instanceof Map) return { map: [...value].map(listed) };
  if (value instanceof Set) return { set: [...value].map(listed) };
  if (Array.isArray(value)) return value.map(listed);
  if (typeof value !== "object" || value === null) return value;
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  const copy = Object.fromEntries(Object.entries(value).map(([name, inside]) => [name, listed(inside)]));
  return Object.setPrototypeOf(copy, prototype);
}

describe("codec", () => {
  it("decode gives back what superjson does, and encode writes its document where it is plain", () => {
    let plain = 0;
    let rich = 0;
    fc.assert(
      fc.property(anything, (value) => {
        if (value === undefined) return;
        const theirs = reference(value);
        if (!theirs) return;
        const text = encode(value);
        const back = listed(theirs.back);
        assert.deepStrictEqual(listed(decode(text)), back);
        assert.deepStrictEqual(listed(superjson.parse(text)), back);
        if (theirs.plain) {
          plain++;
          assert.equal(text, theirs.text);
        } else rich++;
      }),
      { numRuns: 2000 },
    );
    assert.ok(plain > 100 && rich > 100, `${plain} plain, ${rich} rich`);
  });

  it("encode writes superjson's document byte by byte when the value is JSON", () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        const theirs = reference(value);
        const text = encode(value);
        assert.deepStrictEqual(decode(text), value);
        if (theirs?.plain) assert.equal(text, theirs.text);
      }),
      { numRuns: 1000 },
    );
  });

  it("decode gives back what superjson throws at when it is plain JSON", () => {
    for (const text of ['{"constructor":1}', '{"prototype":{"a":[1]}}', '{"__proto__":{"polluted":true}}']) {
      const value = JSON.parse(text);
      assert.equal(encode(value), `{"json":${text}}`);
      assert.deepStrictEqual(decode(encode(value)), value);
    }
    assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  });

  it("decode gives back references, cycles and special values as they were", () => {
    const shared = { n: 1 };
    const value: Record<string, unknown> = {
      a: shared,
      b: [shared],
      date: new Date(0),
      map: new Map<unknown, unknown>([[1, new Set([-0, Number.NaN])]]),
      big: 2n ** 80n,
      url: new URL("https://example.com/?q=1"),
      expression: /a+/giu,
      none: undefined,
      error: new Error("kept"),
      infinite: Number.NEGATIVE_INFINITY,
    };
    value.self = value;
    const back = decode(encode(value)) as typeof value;
    assert.equal(back.self, back);
    assert.equal((back.b as unknown[])[0], back.a);
    assert.ok("none" in back && back.none === undefined);
    assert.equal((back.error as Error).message, "kept");
    assert.deepStrictEqual(
      [back.date, back.map, back.big, String(back.url), String(back.expression), back.infinite],
      [value.date, value.map, value.big, "https://example.com/?q=1", "/a+/giu", Number.NEGATIVE_INFINITY],
    );
  });

  it("encode leaves the value as it was", () => {
    const value = { map: new Map([["k", { date: new Date(5) }]]), list: [undefined, 1n] };
    const copy = structuredClone(value);
    encode(value);
    assert.deepStrictEqual(value, copy);
  });

  it("encode names the path when something in the value cannot be stored", () => {
    const cases: [unknown, RegExp][] = [
      [undefined, /the value: undefined/],
      [() => 1, /the value: function/],
      [Symbol("s"), /the value: symbol/],
      [{ a: [{ f() {} }] }, /"a\.0\.f": function/],
      [new Map([["k", Symbol("s")]]), /"k": symbol/],
      [new Map([[Symbol("s"), 1]]), /"\(key\)": symbol/],
      [new Set([() => 1]), /"\(item\)": function/],
      [[1, [() => 1]], /"1\.0": function/],
      [Promise.resolve(1), /the value: promise/],
      [{ a: Promise.resolve(1) }, /"a": promise/],
      [{ toJSON: () => 1 }, /"toJSON": function/],
    ];
    for (const [value, message] of cases) {
      assert.throws(
        () => encode(value),
        (error) => error instanceof TypeError && message.test(error.message) && /accepted/.test(error.message),
      );
    }
  });

  it("decode throws when the text is no document of superjson's", () => {
    for (const text of ["", "{", "null", "[]", '"a"', "true", "{}", '{"meta":{}}', "S3CRET"]) {
      assert.throws(() => decode(text), Error, text);
    }
    for (const values of [{ "__proto__.polluted": ["Date"] }, { "constructor.prototype.polluted": ["Date"] }]) {
      const text = JSON.stringify({ json: { a: 1 }, meta: { values } });
      try {
        decode(text);
      } catch {
        // Refused: as good as ignored.
      }
      assert.equal(({} as { polluted?: unknown }).polluted, undefined);
    }
  });

  it("decode gives a number when the text is a counter's", () => {
    assert.equal(decode("42"), 42);
    assert.equal(decode("-1"), -1);
  });

  it("decode never gives anything but a value or an exception, whatever the text", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((json) => `{"json":${json},"meta":${json}}`),
        ),
        (text) => {
          try {
            decode(text);
          } catch (error) {
            assert.ok(error instanceof Error);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});
