import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { describe, it } from "node:test";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import superjson, { SuperJSON } from "superjson";
import { readJson } from "../src/base/read_json.ts";
import { decode, encode, knowClasses, type SuperClass, serialize } from "../src/entry/codec.ts";
import { same } from "./helpers/same.ts";
import { anyGraph, anyValue, key } from "./helpers/values.ts";

/** Returns superjson's document and the value it reads from it; `undefined` if it throws. */
function reference(value: unknown): { text: string; plain: boolean; back: unknown } | undefined {
  try {
    const { meta } = superjson.serialize(value);
    const text = superjson.stringify(value);
    return { text, plain: meta === undefined, back: superjson.parse(text) };
  } catch {
    return undefined;
  }
}

describe("codec", () => {
  it("decode gives back an equal value, and so does superjson's parse when its format can hold all of it", () => {
    let plain = 0;
    let rich = 0;
    const anything = fc.oneof(
      anyValue(),
      fc.anything({
        key,
        maxDepth: 4,
        withBigInt: true,
        withDate: true,
        withMap: true,
        withSet: true,
        withTypedArray: true,
      }),
      fc.anything({ withNullPrototype: true, withSparseArray: true, withBoxedValues: true }),
    );
    fc.assert(
      fc.property(anything, (value) => {
        if (value === undefined) return;
        let text: string;
        try {
          text = encode(value);
        } catch (error) {
          assert.ok(error instanceof TypeError && /, expected /.test(error.message), String(error));
          return;
        }
        assert.ok(same(decode(text), value), text);
        const { meta } = JSON.parse(text) as { meta?: { kinds?: unknown; referentialEqualities?: unknown } };
        if (meta === undefined) {
          plain++;
          assert.equal(text, reference(value)?.text ?? text);
        } else rich++;
        // Of references superjson loses some itself, of errors most.
        if (meta?.kinds || meta?.referentialEqualities || text.includes('["Error"')) return;
        assert.ok(same(superjson.parse(text), value), text);
      }),
      { numRuns: 2000 },
    );
    assert.ok(plain > 100 && rich > 100, `${plain} plain, ${rich} rich`);
  });

  it("encode throws, or decode gives back an equal value, when parts of the value cannot be stored", () => {
    let refused = 0;
    fc.assert(
      fc.property(anyValue(true), (value) => {
        if (value === undefined) return;
        let text: string;
        try {
          text = encode(value);
        } catch (error) {
          assert.ok(
            error instanceof TypeError && /^Cannot store the value.*, expected /.test(error.message),
            String(error),
          );
          refused++;
          return;
        }
        assert.ok(same(decode(text), value), text);
      }),
      { numRuns: 1000 },
    );
    assert.ok(refused > 100, `${refused} refused`);
  });

  it("encode writes superjson's document byte for byte when the value is JSON", () => {
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

  it("serialize gives superjson's document when superjson can hold and join all of the value", () => {
    const theirs = new SuperJSON({ dedupe: true });
    theirs.allowErrorProps("stack");
    const compared = { plain: 0, joined: 0, errors: 0 };
    const graph = anyGraph().map((value) => ({ value, joins: true }));
    const tree = anyValue().map((value) => ({ value, joins: false }));
    fc.assert(
      fc.property(fc.oneof(graph, tree), ({ value, joins }) => {
        let ours: ReturnType<typeof serialize>;
        try {
          ours = serialize(value);
        } catch {
          return;
        }
        const { kinds = [], ...meta } = ours.meta ?? {};
        const document = theirs.serialize(value);
        const equalities = document.meta?.referentialEqualities !== undefined;
        if ((equalities && !joins) || !kinds.every(([kind]) => /^(error |null)/.test(kind))) return;
        compared[equalities ? "joined" : kinds.length > 0 ? "errors" : "plain"]++;
        assert.equal(JSON.stringify(ours.json), JSON.stringify(document.json));
        assert.ok(same(decode(JSON.stringify(ours)), value));
        assert.deepEqual(ours.meta && meta, document.meta ?? (kinds.length > 0 ? { v: 1 } : undefined));
      }),
      { numRuns: 3000 },
    );
    assert.ok(compared.joined > 500 && compared.plain > 500 && compared.errors > 50, JSON.stringify(compared));
  });

  it("decode keeps keys with backslashes apart when documents of one shape follow each other", () => {
    const keys = ["\\\\", "\\.", "\\x", "a\\\\b", "a\\bc", "\\", ".", 'a\\"', "\\u005c", "\n\\", "\\\n"];
    for (const first of keys) {
      for (const second of keys) {
        for (const key of [first, second]) {
          const value = { before: 1, [key]: [1], after: new Set([key]) };
          assert.deepStrictEqual(decode(encode(value)), value);
          assert.deepStrictEqual(decode(encode({ [key]: 1 })), { [key]: 1 });
          const joined = { set: new Set([1]), [key]: new Set([2]) };
          assert.deepStrictEqual(decode(encode(joined)), joined);
        }
      }
    }
  });

  it("readJson gives back the keys of the text, whatever texts were read before", () => {
    const escaped = fc.string({ unit: fc.constantFrom("\\", '"', "\n", ".", "a", "\ue000"), maxLength: 3 });
    const record = fc.dictionary(escaped, fc.oneof(escaped, fc.dictionary(escaped, escaped, { maxKeys: 2 })), {
      maxKeys: 3,
    });
    fc.assert(
      fc.property(record, (value) => {
        const text = JSON.stringify(value);
        assert.equal(JSON.stringify(readJson(text)), text);
      }),
      { numRuns: 3000 },
    );
    for (const wrong of ['{"\\q":1}', '{"\\n":}', '{"\\":1', '"\\n":1'])
      assert.throws(() => readJson(wrong), SyntaxError);
  });

  it("decode gives back plain JSON that superjson refuses to read", () => {
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

  it("encode writes bytes as base64 when they are in any kind of view or buffer, and a Buffer as a Uint8Array", () => {
    const bytes = Uint8Array.from({ length: 3000 }, (_, i) => i);
    const base64 = Buffer.from(bytes).toString("base64");
    assert.equal(encode(bytes), `{"json":"${base64}","meta":{"kinds":[["Uint8Array"]],"v":1}}`);
    for (const value of [Buffer.from(bytes), new Uint8Array([0, ...bytes, 0]).subarray(1, -1)]) {
      const text = encode({ "a.b": [value] });
      assert.equal(text, `{"json":{"a.b":["${base64}"]},"meta":{"kinds":[["Uint8Array","a.b","0"]],"v":1}}`);
      assert.ok(same(decode(text), { "a.b": [bytes] }));
      assert.deepEqual(superjson.parse(text), { "a.b": [base64] });
    }
    const values = [bytes.buffer, new DataView(bytes.buffer, 8, 16), new BigUint64Array([2n ** 64n - 1n])];
    values.push(new Float64Array([Number.NaN, Number.POSITIVE_INFINITY, -0]) as never);
    for (const value of values) {
      assert.ok(encode(value).length < value.byteLength * 1.4 + 100);
      assert.ok(same(decode(encode(value)), value));
    }
    const keys = new Map<unknown, unknown>([[new Uint8Array([1]), new Set([new Uint8Array([2]).buffer])]]);
    assert.ok(same(decode(encode(keys)), keys));
  });

  it("decode reads documents that superjson wrote, also those with lists of bytes and with older paths", () => {
    const shared = { n: 1 };
    const value: Record<string, unknown> = {
      "a.b\\c": [new Uint8Array([1, 2]), new Float32Array([0.5])],
      map: new Map<unknown, unknown>([[new Date(5), new Set([1n, shared])]]),
      shared: [shared, undefined, -0, /a\/b/g, new URL("https://example.com/?q=1")],
    };
    value.self = value;
    assert.ok(same(decode(superjson.stringify(value)), value));
    assert.ok(same(decode(superjson.stringify(new Uint8Array([7]))), new Uint8Array([7])));
    const older = JSON.stringify({ json: { "a\\x": { "b.c": "1" } }, meta: { values: { "a\\x.b\\.c": ["bigint"] } } });
    assert.deepEqual(decode(older), { "a\\x": { "b.c": 1n } });
    assert.deepEqual(superjson.parse(older), decode(older));
  });

  it("decode gives back objects that occur again in Maps, Sets and causes, which superjson mixes up", () => {
    const [a, b] = [{ name: "a" }, { name: "b" }];
    const keys = {
      map: new Map<unknown, unknown>([
        [a, 1],
        [b, 2],
      ]),
      list: [a, b],
    };
    const again = decode(encode(keys)) as typeof keys;
    assert.ok(same(again, keys));
    assert.deepEqual(
      [...again.map.keys()].map((key, i) => key === again.list[i]),
      [true, true],
    );
    const round: { p: { c?: unknown }; q: { b?: unknown } } = { p: {}, q: {} };
    Object.assign(round.p, { c: round.q });
    Object.assign(round.q, { b: round.p });
    const back = decode(encode(round)) as typeof round;
    assert.ok(same(back, round));
    assert.ok(back.p.c === back.q && back.q.b === back.p);
    const failure = new Error("of", { cause: a });
    const caused = { failure, a, again: failure };
    assert.ok(same(decode(encode(caused)), caused));
    const deep = superjson.parse<typeof caused>(encode(caused));
    assert.equal(deep.failure.message, "of");
  });

  it("decode gives errors of the language back with class, name, stack and cause", () => {
    const error = new RangeError("r", { cause: new TypeError("t", { cause: { at: new Date(3) } }) });
    error.name = "Odd";
    const back = decode(encode({ error })) as { error: typeof error };
    assert.ok(same(back.error, error));
    assert.ok(back.error instanceof RangeError && back.error.cause instanceof TypeError);
    assert.deepEqual(Object.keys(back.error), ["name"]);
    assert.deepEqual(Object.keys(back.error.cause), []);
    for (const type of [Error, TypeError, RangeError, SyntaxError]) {
      const plain = new type("p", { cause: { n: 1 } });
      assert.deepStrictEqual(decode(encode(plain)), plain);
    }
    const { error: theirs } = superjson.parse<typeof back>(encode({ error }));
    assert.deepEqual([theirs.name, theirs.message, (theirs.cause as Error).message], ["Odd", "r", "t"]);
    const read = decode(superjson.stringify(error)) as Error;
    assert.deepEqual([read.name, read.message], ["Odd", "r"]);
  });

  it("encode takes objects and arrays of another realm, and decode gives back those of this realm", () => {
    const theirs = runInNewContext(
      '({ a: [{ b: 1 }], d: new Date(5), m: new Map([[1, new Set([2])]]), e: new TypeError("t") })',
    );
    const back = decode(encode(theirs)) as Record<string, unknown>;
    assert.ok(back.d instanceof Date && back.e instanceof TypeError && back.m instanceof Map);
    assert.ok(same({ ...back, e: 0 }, { a: [{ b: 1 }], d: new Date(5), m: new Map([[1, new Set([2])]]), e: 0 }));
    assert.equal(encode(runInNewContext("({ a: [1, null] })")), '{"json":{"a":[1,null]}}');
  });

  it("encode names the path when something in the value cannot be stored", () => {
    class Money {
      cents = 5;
      toJSON() {
        return 1;
      }
    }
    const instance = (name: string) => new RegExp(`: received an instance of ${name}, expected `);
    const cases: [unknown, RegExp][] = [
      [undefined, /the value: received undefined/],
      [() => 1, /the value: received function/],
      [Symbol("s"), /the value: received symbol/],
      [{ a: [{ f() {} }] }, /"a\.0\.f": received function/],
      [new Map([["k", Symbol("s")]]), /"k": received symbol/],
      [new Map([[Symbol("s"), 1]]), /"\(key\)": received symbol/],
      [new Map([[{}, new WeakSet()]]), /"\(value\)": received an instance of WeakSet/],
      [new Set([() => 1]), /"\(item\)": received function/],
      [[1, [() => 1]], /"1\.0": received function/],
      [Promise.resolve(1), /the value: received promise/],
      [{ a: Promise.resolve(1) }, /"a": received promise/],
      [{ toJSON: () => 1 }, /"toJSON": received function/],
      [{ a: { [Symbol("secret")]: 1 } }, /"a\.Symbol\(secret\)": received a symbol key/],
      [Object.assign([1], { [Symbol("s")]: 1 }), /"Symbol\(s\)": received a symbol key/],
      [{ a: [new Money()] }, /"a\.0": received an instance of Money, expected .*superClasses/],
      [new Error("e", { cause: new Money() }), /"cause": received an instance of Money/],
      [Object.assign(new Error("e"), { response: new Response("x") }), /"response": received a property of an error/],
      // biome-ignore lint/suspicious/noSparseArray: a hole is what is tried
      [{ a: [1, , 2] }, /"a": received an array with holes or properties/],
      [{ a: "a1".match(/(a)/) }, /"a": received an array with holes or properties/],
      [Object.assign(new Map(), { extra: 1 }), /the value: received a Map with properties/],
      [Object.assign(/a/g, { lastIndex: 1 }), /the value: received a RegExp with a lastIndex/],
      [{ d: new Date(5), constructor: { prototype: 1n } }, /"constructor": received a property of this name/],
      [Object.assign(new Error("e"), { message: 5 }), /"message": received number/],
    ];
    for (const type of [
      "Array",
      "Map",
      "Set",
      "Date",
      "RegExp",
      "Uint8Array",
      "URL",
      "Promise",
      "Error",
      "TypeError",
    ]) {
      const base = (globalThis as unknown as Record<string, new (of: never) => object>)[type] as new (
        of: never,
      ) => object;
      const Mine = { Mine: class extends base {} }.Mine;
      const args = { URL: "https://example.com", Promise: () => {}, Uint8Array: 1 } as Record<string, unknown>;
      cases.push([
        { a: new Mine(args[type] as never) },
        type === "Promise" ? /"a": received promise/ : /"a": received an? (instance of Mine|subclass of Array)/,
      ]);
    }
    const objects: [string, () => unknown][] = [
      ["Response", () => new Response("x")],
      ["Request", () => new Request("https://example.com")],
      ["Headers", () => new Headers()],
      ["FormData", () => new FormData()],
      ["URLSearchParams", () => new URLSearchParams("a=1")],
      ["Blob", () => new Blob(["x"])],
      ["AbortSignal", () => new AbortController().signal],
      ["ReadableStream", () => new ReadableStream()],
      ["WeakMap", () => new WeakMap()],
      ["WeakRef", () => new WeakRef({})],
      ["Map Iterator", () => new Map().keys()],
      ["Array Iterator", () => [1].values()],
      ["Generator", () => (function* () {})()],
      ["NumberFormat", () => new Intl.NumberFormat("en")],
      ["Number", () => Object(1)],
      ["String", () => Object("s")],
      ["BigInt", () => Object(1n)],
      ["Symbol", () => Object(Symbol("s"))],
      ["DOMException", () => new DOMException("x")],
      ["AggregateError", () => new AggregateError([])],
      ["Money", () => new Money()],
    ];
    const { Temporal } = globalThis as unknown as { Temporal?: { Now: { instant(): unknown } } };
    if (Temporal) objects.push(["Instant", () => Temporal.Now.instant()]);
    for (const [name, make] of objects) {
      cases.push(
        [make(), instance(name)],
        [{ a: new Map([["b", make()]]) }, new RegExp(`"a\\.b"${instance(name).source}`)],
      );
    }
    for (const [value, message] of cases) {
      assert.throws(
        () => encode(value),
        (error) => error instanceof TypeError && message.test(error.message) && /, expected /.test(error.message),
        String(message),
      );
    }
  });

  it("encode takes instances of classes that are registered, of one client, and no others", () => {
    class Point {
      x: unknown;
      constructor(x: unknown) {
        this.x = x;
      }
    }
    class Secret {
      name = "n";
      password = "p";
    }
    class Names extends Map<string, string> {}
    const known = knowClasses([Point, Names, [Secret, { identifier: "shop.Secret", allowProps: ["name"] }]]);
    const point = new Point(new Map([[new Point(1), new Uint8Array([1, 2])]]));
    const value = { point, again: point };
    const text = encode(value, known);
    assert.ok(same(decode(text, known), value));
    assert.throws(() => encode(value), /"point": received an instance of Point/);
    assert.throws(() => decode(text), /unknown class/);
    const secret = decode(encode(new Secret(), known), known);
    assert.ok(secret instanceof Secret);
    assert.deepEqual({ ...secret }, { name: "n" });
    assert.match(encode(new Secret(), known), /"class","shop.Secret"/);
    assert.throws(() => encode(new Names([["a", "b"]]), known), /an instance of Names/);
    assert.throws(() => encode(Object.create(point), known), /an instance of Object/);
    assert.throws(() => encode(new Point(() => 1), known), /"x": received function/);
    const bad: [unknown, RegExp][] = [
      [[5], /received 5, expected classes/],
      [[() => 1], /register superClasses: received function, expected classes/],
      [[Point, [Secret, "Point"]], /received "Point", expected another identifier for each class/],
      [[class {}], /received "", expected another identifier for each class/],
    ];
    for (const [classes, message] of bad) assert.throws(() => knowClasses(classes as SuperClass[]), message);
  });

  it("decode throws when the text is not a superjson document", () => {
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

  it("decode ends and changes nothing else when the notes belong to another value or go in circles", () => {
    const ends = (json: unknown, meta: unknown): void => {
      try {
        decode(JSON.stringify({ json, meta }));
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    };
    const parts = anyValue().map((value): { json: unknown; meta?: unknown } => {
      try {
        return serialize(value ?? null);
      } catch {
        return { json: [{}] };
      }
    });
    fc.assert(
      fc.property(parts, parts, (one, other) => ends(one.json, other.meta)),
      { numRuns: 1000 },
    );
    const json = { a: { b: {} }, c: [{}], d: 1000 };
    const equals = [
      { a: ["c"], c: ["a"] },
      { a: ["a"], "a.b": ["a"] },
      [["a"], { a: ["a.b"], "c.0": ["c"] }],
      [[""], {}],
      [["a.b", "c.0"]],
    ];
    for (const referentialEqualities of equals) ends(json, { referentialEqualities, v: 1 });
    for (const type of [
      ["typed-array", "Uint8Array"],
      ["typed-array", "ArrayBuffer"],
      ["class", "Object"],
      ["custom", "toString"],
      "map",
    ]) {
      ends(json, { values: { d: [type], a: [type], c: [type] }, v: 1 });
      ends(json, { values: [type, { "__proto__.x": ["Date"], "constructor.prototype.x": ["Date"] }], v: 1 });
    }
    for (const kind of ["Function", "ArrayBuffer", "null", "Error name", "Uint8Array"]) {
      ends(json, { kinds: [[kind, "d"], [kind, "a", "b"], [kind]], values: { c: ["Error"] }, v: 1 });
      ends(json, {
        kinds: [
          [kind, "__proto__"],
          [kind, "a", "constructor", "prototype"],
        ],
        v: 1,
      });
    }
    assert.deepEqual(Object.getOwnPropertyNames({ ...Object.prototype }), []);
    assert.equal(Object.getPrototypeOf({}.constructor), Function.prototype);
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
