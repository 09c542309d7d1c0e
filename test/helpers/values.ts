import fc from "fast-check";

/** Keys that mean something to superjson, to JavaScript or to paths. */
export const key: fc.Arbitrary<string> = fc.oneof(
  fc.string(),
  fc.constantFrom(
    "",
    "a.b",
    "a\\.b",
    "\\",
    "0",
    "json",
    "meta",
    "values",
    "kinds",
    "toString",
    "constructor",
    "prototype",
    "é",
  ),
);

const bytes = fc.uint8Array({ maxLength: 24 });

/** Typed arrays, other views and buffers, of those kinds that the runtime has. */
const views: fc.Arbitrary<unknown> = bytes.chain((data) => {
  const names = [
    "Int8Array",
    "Uint8Array",
    "Uint8ClampedArray",
    "Int16Array",
    "Uint16Array",
    "Int32Array",
    "Uint32Array",
  ];
  names.push("Float16Array", "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array", "DataView");
  const whole = data.slice(0, data.length - (data.length % 8)).buffer;
  const types = names.flatMap(
    (name) => (globalThis as unknown as Record<string, new (of: ArrayBuffer) => unknown>)[name] ?? [],
  );
  const shared = new SharedArrayBuffer(data.length);
  new Uint8Array(shared).set(data);
  const made = types.map((type) => () => new type(whole));
  return fc
    .constantFrom(
      ...made,
      () => data.subarray(data.length >> 1),
      () => whole,
      () => shared,
    )
    .map((make) => make());
});

const errors: fc.Arbitrary<Error> = fc
  .record({
    type: fc.constantFrom(Error, TypeError, RangeError, SyntaxError),
    message: fc.string(),
    name: fc.option(fc.constantFrom("Odd", "TypeError", "")),
    cause: fc.option(fc.oneof(fc.string(), fc.date(), fc.constant(undefined)), { nil: null }),
    more: fc.dictionary(fc.constantFrom("code", "status", "data"), fc.oneof(fc.string(), fc.date(), bytes)),
  })
  .map(({ type, message, name, cause, more }) => {
    const error = new type(message, ...(cause === null ? [] : [{ cause }]));
    if (name !== null) error.name = name;
    return Object.assign(error, more);
  });

/** Everything that a cache takes besides JSON. */
const rich: fc.Arbitrary<unknown> = fc.oneof(
  fc.date({ noInvalidDate: false }),
  fc.bigInt(),
  fc.double(),
  fc.constantFrom(undefined, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
  fc.webUrl().map((url) => new URL(url)),
  fc
    .constantFrom("/", "a.b", "\\/", "\n", "(x)|[/]")
    .chain((source) => fc.constantFrom("", "g", "iu", "my").map((flags) => new RegExp(source, flags))),
  errors,
  views,
);

/** Values that no cache can bring back. */
const hostile: fc.Arbitrary<unknown> = fc
  .constantFrom<() => unknown>(
    () => () => 1,
    () => Symbol("s"),
    () => Promise.resolve(1),
    () => new WeakMap(),
    () => new Headers({ a: "b" }),
    () => new URLSearchParams("a=1"),
    () => new Map([["a", 1]]).entries(),
    () => Object(1),
    () => ({ [Symbol("s")]: 1 }),
    () =>
      new (class Money {
        cents = 1;
      })(),
    () => new (class extends Map {})(),
    () => new (class extends Error {})(),
    () => "a1".match(/(a)/),
    () => Object.assign(/a/g, { lastIndex: 1 }),
    // biome-ignore lint/suspicious/noSparseArray: holes are what is tried
    () => [1, , 2],
    () => Object.create({ inherited: 1 }),
  )
  .map((make) => make());

/** Any value: all that comes back, nested, with what is met again in several places; `bad` puts in what does not. */
export function anyValue(bad = false): fc.Arbitrary<unknown> {
  const leaf = fc.oneof(
    { weight: 4, arbitrary: fc.jsonValue({ maxDepth: 1 }) },
    { weight: 8, arbitrary: rich },
    ...(bad ? [{ weight: 1, arbitrary: hostile }] : []),
  );
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      leaf,
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(key, tie("value"), { maxKeys: 4 }),
      fc.array(fc.tuple(tie("value"), tie("value")), { maxLength: 3 }).map((entries) => new Map(entries)),
      fc.array(tie("value"), { maxLength: 3 }).map((items) => new Set(items)),
      tie("value").chain((item) =>
        fc
          .constantFrom<(a: unknown) => unknown>(
            (a) => [a, { again: a }],
            (a) =>
              new Map([
                [a, 1],
                ["second", a],
              ] as [unknown, unknown][]),
            (a) => ({ set: new Set([a, [a]]), also: a }),
            (a) => ({ error: new Error("of", { cause: a }), cause: a }),
            (a) => {
              const round: Record<string, unknown> = { a };
              round.map = new Map([[round, { round, list: [round] }]]);
              return round;
            },
          )
          .map((share) => share(item)),
      ),
    ),
  }));
  return value;
}

/**
 * Graphs of arrays, objects, Maps with plain keys, and leaves: each part may occur anywhere, also inside itself. It is
 * what superjson's reader joins without a fault.
 */
export function anyGraph(): fc.Arbitrary<unknown> {
  const leaf = fc.oneof(
    fc.jsonValue({ maxDepth: 1 }),
    fc.date(),
    fc.bigInt(),
    fc.constantFrom(
      undefined,
      -0,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      new Date(5),
      new URL("https://example.com"),
      /a/g,
    ),
    fc.uniqueArray(fc.double()).map((items) => new Set<unknown>(items)),
  );
  const fields = key.filter((name) => !/^(__proto__|constructor|prototype)$/.test(name));
  return fc
    .tuple(
      fc.array(fc.constantFrom("array", "object", "map"), { minLength: 1, maxLength: 5 }),
      fc.array(
        fc.tuple(
          fc.nat(),
          fields,
          fc.oneof(
            fc.nat(20),
            leaf.map((value) => ({ value })),
          ),
        ),
      ),
    )
    .map(([shapes, edges]) => {
      const nodes = shapes.map((shape) => ({ array: [], object: {}, map: new Map() })[shape] as object);
      for (const [from, name, to] of edges) {
        const node = nodes[from % nodes.length];
        const value = typeof to === "number" ? nodes[to % nodes.length] : to.value;
        if (node instanceof Map) node.set(name, value);
        else if (Array.isArray(node)) node.push(value);
        else (node as Record<string, unknown>)[name] = value;
      }
      return nodes[0];
    });
}
