import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { parseTtl, type Ttl } from "../src/base/ttl.ts";

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const YEARS_100 = 36_525 * UNITS.d;

describe("parseTtl", () => {
  const accepted: [Ttl, number | undefined][] = [
    [1, 1_000],
    [3600, 3_600_000],
    [0.5, 500],
    [0.0001, 1],
    [1e-12, 1],
    [Number.MIN_VALUE, 1],
    ["1ms", 1],
    ["500ms", 500],
    ["30s", 30_000],
    ["5m", 300_000],
    ["2h", 7_200_000],
    ["1d", 86_400_000],
    ["1.5h", 5_400_000],
    ["1.1h", 3_960_000],
    ["0.2ms", 1],
    ["1.0001s", 1_001],
    ["007s", 7_000],
    ["36525d", YEARS_100],
    ["forever", undefined],
  ];
  for (const [ttl, milliseconds] of accepted) {
    it(`parseTtl answers ${milliseconds} when given ${JSON.stringify(ttl)}`, () => {
      assert.equal(parseTtl(ttl), milliseconds);
    });
  }

  for (const ttl of [
    0,
    -0,
    -1,
    Number.NaN,
    Infinity,
    -Infinity,
    36_525 * 86_400 + 1,
    1e300,
    "0s",
    "0.0h",
    "-5m",
    "36526d",
  ]) {
    it(`parseTtl throws a RangeError when given ${Object.is(ttl, -0) ? "-0" : ttl}`, () => {
      assert.throws(
        () => parseTtl(ttl as Ttl),
        (error: unknown) => {
          assert(error instanceof RangeError);
          assert(error.message.includes(typeof ttl === "string" ? `"${ttl}"` : String(ttl)), error.message);
          assert.match(error.message, /"500ms".*100 years.*"forever"$/);
          return true;
        },
      );
    });
  }

  const wrong = [
    "",
    "5",
    "5 m",
    " 5m",
    "5m ",
    "5 minutes",
    "5M",
    "1h30m",
    "1e3s",
    "0x10s",
    ".5s",
    "5.s",
    "s",
    "٣s",
    "Forever",
    "5toString",
    "constructor",
    null,
    undefined,
    true,
    5n,
    {},
    [],
    ["5m"],
    () => 5,
    Symbol("5m"),
    new Date(0),
  ];
  for (const ttl of wrong) {
    it(`parseTtl throws a TypeError when given ${typeof ttl === "string" ? JSON.stringify(ttl) : typeof ttl}`, () => {
      assert.throws(() => parseTtl(ttl as Ttl), TypeError);
    });
  }

  it("parseTtl names the owner of the TTL when it is given", () => {
    assert.throws(
      () => parseTtl("soon" as Ttl, "CACHE_TTL_CARTS"),
      /^TypeError: Cannot set CACHE_TTL_CARTS: received "soon", expected /,
    );
  });

  it("parseTtl keeps its message short when the string is long", () => {
    assert.throws(
      () => parseTtl("x".repeat(1e5) as Ttl),
      (error: Error) => error.message.length < 300,
    );
  });

  it("parseTtl multiplies by the unit exactly when the amount is whole", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("ms", "s", "m", "h", "d"),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (unit, share) => {
          const amount = Math.max(1, Math.floor((share * YEARS_100) / UNITS[unit]));
          assert.equal(parseTtl(`${amount}${unit}`), amount * UNITS[unit]);
        },
      ),
    );
  });

  it("parseTtl rounds up to whole milliseconds, never to 0, when the amount has decimals", () => {
    fc.assert(
      fc.property(fc.nat({ max: 10 ** 6 }), fc.nat({ max: 9_999_999 }), (whole, decimals) => {
        fc.pre(whole + decimals > 0);
        const exact = BigInt(whole) * 10n ** 7n + BigInt(decimals); // in 1e-7 s
        const expected = Number((exact + 9_999n) / 10_000n); // 1 ms is 1e4 of them
        const text = `${whole}.${String(decimals).padStart(7, "0")}`;
        assert.equal(parseTtl(`${text}s` as Ttl), expected);
        assert.equal(parseTtl(Number(text)), expected);
      }),
    );
  });

  it("parseTtl answers whole milliseconds in range or throws when given any string or number", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.double(), fc.stringMatching(/^-?\d{0,15}\.?\d{0,3}(ms|s|m|h|d|)$/)),
        (ttl) => {
          let milliseconds: number | undefined;
          try {
            milliseconds = parseTtl(ttl as Ttl);
          } catch (error) {
            assert(error instanceof TypeError || error instanceof RangeError);
            return;
          }
          if (ttl === "forever") return assert.equal(milliseconds, undefined);
          assert(Number.isInteger(milliseconds) && Number(milliseconds) >= 1 && Number(milliseconds) <= YEARS_100);
        },
      ),
      { numRuns: 500 },
    );
  });
});

/** Calls that must not compile. Never called. */
export function types(): void {
  const fine: Ttl[] = [1, "1ms", "30s", "1.5h", "5m", "1d", "forever"];
  // @ts-expect-error a unit is a short letter
  fine.push("5 minutes");
  // @ts-expect-error a string needs a unit
  fine.push("5");
  // @ts-expect-error no weeks
  fine.push("1w");
  // @ts-expect-error "forever" is the word
  fine.push("never");
  // @ts-expect-error not a TTL
  fine.push(null);
}
