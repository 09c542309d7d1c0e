import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { findCardNumber } from "../src/services/card_number.ts";

/** Test numbers in the ranges of each brand, most of them as payment providers publish them. */
const TEST_NUMBERS: Record<string, string[]> = {
  Visa: ["4111111111111111", "4012888888881881", "4242424242424242", "4222222222222", "4000056655665556"],
  Mastercard: ["5555555555554444", "5105105105105100", "2223003122003222", "2223000048400011", "5200828282828210"],
  "American Express": ["378282246310005", "371449635398431", "378734493671000"],
  Discover: ["6011111111111117", "6011000990139424", "6445644564456445", "6011981111111113"],
  "Diners Club": ["30569309025904", "38520000023237", "36227206271667", "3056930009020004"],
  JCB: ["3530111333300000", "3566002020360505", "3566111111111113"],
  UnionPay: ["6200000000000005", "6205500000000000004", "8171999927660000", "6243030000000001"],
  Maestro: ["6759649826438453", "6799990100000000019", "5018000000000009", "6304000000000000", "676770000000000005"],
  Mir: ["2201382000000013", "2200000000000004"],
  Verve: ["5060990580000217499", "5061460410120223210"],
  Elo: ["5066991111111118", "6362970000457013"],
  RuPay: ["6521111111111110", "8172870000000001", "6070550000000006"],
  Hipercard: ["6062828888666688"],
  Dankort: ["5019717010103742"],
  Troy: ["9792030394440796"],
};

/** The number with the check digit that Luhn's formula asks for. */
function withCheckDigit(digits: string): string {
  let sum = 0;
  for (let index = 0; index < digits.length; index++) {
    const digit = Number(digits.at(-1 - index));
    const doubled = digit * 2;
    sum += index % 2 === 0 ? (doubled > 9 ? doubled - 9 : doubled) : digit;
  }
  return digits + ((10 - (sum % 10)) % 10);
}

/** The barcode (GTIN) with its check digit. */
function barcode(digits: string): string {
  const sum = [...digits]
    .reverse()
    .reduce((total, digit, index) => total + Number(digit) * (index % 2 === 0 ? 3 : 1), 0);
  return digits + ((10 - (sum % 10)) % 10);
}

const digits = (length: number) =>
  fc.array(fc.integer({ min: 0, max: 9 }), { minLength: length, maxLength: length }).map((list) => list.join(""));

/** Card numbers of the large brands, of 14 digits and more. */
const cardNumber = fc
  .constantFrom(
    ["4", 16],
    ["4", 19],
    ["51", 16],
    ["55", 16],
    ["2221", 16],
    ["2720", 16],
    ["34", 15],
    ["37", 15],
    ["6011", 16],
    ["644", 16],
    ["65", 16],
    ["300", 14],
    ["305", 14],
    ["36", 14],
    ["38", 14],
    ["3528", 16],
    ["3589", 16],
    ["62", 16],
    ["62", 19],
    ["81", 16],
    ["5018", 16],
    ["6759", 18],
    ["2200", 16],
    ["2204", 16],
    ["9792", 16],
  )
  .chain(([prefix, length]) =>
    digits(Number(length) - 1 - String(prefix).length).map((rest) => withCheckDigit(`${prefix}${rest}`)),
  );

const grouped = (number: string, separator: string) =>
  (number.length === 14 || number.length === 15
    ? [number.slice(0, 4), number.slice(4, 10), number.slice(10)]
    : (number.match(/\d{1,4}/g) ?? [])
  ).join(separator);

describe("findCardNumber", () => {
  for (const [brand, numbers] of Object.entries(TEST_NUMBERS)) {
    for (const number of numbers) {
      it(`findCardNumber answers a path when given ${brand}'s ${number}`, () => {
        assert.equal(findCardNumber(number), "");
        assert.equal(findCardNumber({ note: `paid with ${number}, thanks` }), "note");
        assert.equal(findCardNumber([BigInt(number)]), "0");
        if (Number.isSafeInteger(Number(number))) assert.equal(findCardNumber(Number(number)), "");
      });
    }
  }

  for (const text of [
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "4111  1111  1111  1111",
    "4111 - 1111 - 1111 - 1111",
    "4111\u00a01111\u202f1111\u20111111",
    "4111–1111–1111–1111",
    "４１１１ １１１１ １１１１ １１１１",
    "41111111 11111111",
    "3782 822463 10005",
    "3056 930902 5904",
    "6205 5000 0000 0000 004",
    "620550 0000000000004",
    "card:4111111111111111",
    "card_4111111111111111",
    "pan-4111111111111111",
    "No.4111111111111111.",
    "卡号4111111111111111号",
    "1 x 4111 1111 1111 1111",
    "2 4111 1111 1111 1111 12 28 123",
    "5555555555554444 4111111111111112",
    "4111111111111112 5555555555554444",
    "%B4111111111111111^DOE/JOHN^2512101",
    ";4111111111111111=25121011234567890",
    '{"pan":"4111111111111111"}',
    "12,4111111111111111,34",
    "https://shop.example/pay?card=4111111111111111&x=1",
    "tok_4111111111111111",
    "phone +49 151 12345678, card 4111111111111111",
    "IBAN DE89 3704 0044 0532 0130 00 card 4111 1111 1111 1111",
    "AB12 4111 1111 1111 1111",
    `${"word ".repeat(10_000)}4111 1111 1111 1111`,
  ]) {
    it(`findCardNumber answers a path when given ${JSON.stringify(text.slice(-60))}`, () => {
      assert.equal(findCardNumber(text), "");
    });
  }

  for (const value of [
    "",
    "4111111111111112",
    "411111111111111",
    "41111111111111111",
    "4111 1111 1111",
    "4111 11** **** 1111",
    "411111XXXXXX1111",
    "411111••••••1111",
    "**** **** **** 4242",
    "visa ending in 4242, expires 12/2028",
    "0000000000000000",
    "1234567890123456",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    "41 11 11 11 11 11 11 11",
    "0.4111111111111111",
    "17.5555555555554444",
    "a4111111111111111",
    "4111111111111111f",
    "e3b0c44298fc1c4111111111111111b934ca495991b7852b855",
    "550e8400-e29b-4111-8111-411111111111",
    "41111111-1111-4111-8111-111111111111",
    "DE89 3704 0044 0532 0130 00",
    "DE89370400440532013000",
    "GB29 NWBK 6016 1331 9268 19",
    "4006381333931",
    4006381333931,
    "+49 151 12345678",
    "+4915112345678",
    "2026-11-23T06:43:12.123456789Z",
    "2026-11-23 06:43:12",
    1_795_416_192_123,
    1_795_416_192_123_456,
    1_795_416_192_123_456_789n,
    -4111111111111111,
    4111111111111111.5,
    4111.111111111111,
    Number.MAX_SAFE_INTEGER,
    Number.NaN,
    Infinity,
    null,
    undefined,
    true,
    Symbol("4111111111111111"),
    () => 4111111111111111,
    new Date("2026-11-23"),
    new Uint8Array(20),
    { last4: "1111", brand: "visa", expiry: { month: 12, year: 2028 }, token: "pm_1OqX2eKZvKYlo2CT4H7Gq9aB" },
    { amount: 411111111, reference: "ORD-2026-0004711", customer: "cus_9s6XKzkNRiz8i3" },
  ]) {
    const shown = typeof value === "object" ? "" : String(value);
    it(`findCardNumber returns undefined when given ${typeof value} ${shown}`, () => {
      assert.equal(findCardNumber(value), undefined);
    });
  }

  const pan = "4111111111111111";
  const paths: [string, unknown, string][] = [
    ["arrays", [1, ["x", [pan]]], "1.1.0"],
    ["objects", { a: 1, methods: [{ id: "x" }, { note: { text: pan } }] }, "methods.1.note.text"],
    ["several numbers", { a: { b: "x" }, c: pan, d: 5555555555554444 }, "c"],
    ["an object's key", { cards: { [pan]: true } }, "cards.(key)"],
    ["a key before its value", { [`card ${pan}`]: pan }, "(key)"],
    [
      "a map's value",
      {
        m: new Map<unknown, unknown>([
          ["k", 1],
          ["n", pan],
        ]),
      },
      "m.n",
    ],
    ["a map's key", new Map([[BigInt(pan), 1]]), "(key)"],
    ["a map's object key", new Map([[{ deep: [pan] }, 1]]), "(key).deep.0"],
    ["a map's value under an object", new Map([[{}, pan]]), "0"],
    ["a set", { s: new Set(["a", pan]) }, "s.1"],
    ["a URL", { link: new URL(`https://h/${pan}`) }, "link"],
    [
      "an instance",
      {
        card: new (class {
          number = pan;
        })(),
      },
      "card.number",
    ],
    ["an object without prototype", Object.assign(Object.create(null), { x: pan }), "x"],
  ];
  for (const [name, value, path] of paths) {
    it(`findCardNumber answers ${path} when the number is in ${name}`, () => assert.equal(findCardNumber(value), path));
  }

  it("findCardNumber ends when the value refers to itself", () => {
    const array: unknown[] = [];
    const value: Record<string, unknown> = { array, map: new Map(), set: new Set() };
    array.push(value, array);
    (value.map as Map<unknown, unknown>).set(value, value);
    (value.set as Set<unknown>).add(value);
    assert.equal(findCardNumber(value), undefined);
    array.push({ pan });
    assert.equal(findCardNumber(value), "array.2.pan");
  });

  it("findCardNumber takes deep and wide values when they are large", () => {
    let deep: unknown = pan;
    for (let depth = 0; depth < 20_000; depth++) deep = [deep];
    assert.equal(typeof findCardNumber(deep), "string");
    assert.equal(findCardNumber([...new Array(200_000).fill("x"), pan]), "200000");
  });

  it("findCardNumber takes time in proportion to the text when the text is long", () => {
    for (const part of ["1", "1 ", "a", "1a", "1.", "1-", "+1", "AA11 ", "4111 ", "aaaaaaaa-", "%B1"]) {
      const started = performance.now();
      findCardNumber(part.repeat(200_000));
      assert(performance.now() - started < 5_000, part);
    }
  });

  it("findCardNumber finds any card number when it stands alone, in groups or in text", () => {
    fc.assert(
      fc.property(
        cardNumber,
        fc.constantFrom("", " ", "-"),
        fc.constantFrom("", "card ", "№", "(", "pan=", "\n"),
        (number, separator, before) => {
          const text = separator ? grouped(number, separator) : number;
          assert.equal(findCardNumber({ deep: [`${before}${text}`] }), "deep.0");
          assert.equal(findCardNumber(`${before}${text}, exp 12/28`), "");
        },
      ),
      { numRuns: 500 },
    );
  });

  it("findCardNumber finds nothing when one digit of a card number is changed", () => {
    fc.assert(
      fc.property(cardNumber, fc.nat(), fc.integer({ min: 1, max: 9 }), (number, where, change) => {
        const at = where % number.length;
        const changed = number.slice(0, at) + ((Number(number[at]) + change) % 10) + number.slice(at + 1);
        assert.equal(findCardNumber(changed), undefined);
      }),
    );
  });

  it("findCardNumber finds nothing when a card number is masked", () => {
    fc.assert(
      fc.property(
        cardNumber,
        fc.constantFrom("*", "X", "x", "•", "#", "."),
        fc.constantFrom("", " ", "-"),
        (number, mask, separator) => {
          const hidden = number.slice(0, 6) + mask.repeat(number.length - 10) + number.slice(-4);
          const text = separator ? (hidden.match(/.{1,4}/g) ?? []).join(separator) : hidden;
          assert.equal(findCardNumber(text), undefined);
        },
      ),
    );
  });

  const harmless: Record<string, fc.Arbitrary<unknown>> = {
    "a time in milliseconds": fc.integer({ min: 946_684_800_000, max: 2_208_988_800_000 }),
    "a time in microseconds": fc.integer({ min: 946_684_800_000_000, max: 1_999_999_999_999_999 }),
    "a time in nanoseconds": fc.bigInt({ min: 946_684_800_000_000_000n, max: 1_999_999_999_999_999_999n }),
    "a date": fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
    "a compact date": fc
      .date({ noInvalidDate: true, min: new Date("2000-01-01"), max: new Date("2099-12-31") })
      .map((date) => date.toISOString().replace(/\D/g, "")),
    "a UUID": fc.uuid(),
    "a UUID of digits": digits(32).map((text) => text.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5")),
    "a SHA-256 digest with a letter at both ends": digits(62).map((text) => `a${text}f`),
    "a fraction": fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true, minExcluded: true }).map(String),
    "a coordinate": fc.tuple(fc.integer({ min: 0, max: 180 }), digits(16)).map((parts) => parts.join(".")),
    "a barcode": fc
      .tuple(fc.constantFrom("4", "50", "57", "67", ""), digits(11))
      .map(([a, b]) => barcode((a + b).slice(0, 12))),
    "a phone number": fc
      .tuple(fc.constantFrom("4", "5", "6", "30", "36"), digits(11))
      .map((parts) => `+${parts.join("")}`),
    "a German IBAN in groups": digits(18).map((bban) => {
      const check = 98n - (BigInt(`${bban}131400`) % 97n);
      return (`DE${String(check).padStart(2, "0")}${bban}`.match(/.{1,4}/g) ?? []).join(" ");
    }),
    "digits two by two": fc.array(digits(2), { minLength: 6, maxLength: 12 }).map((pairs) => pairs.join(" ")),
    "any price": fc.integer({ min: 0, max: 999_999_999_999 }).map((cents) => (cents / 100).toFixed(2)),
  };
  for (const [name, arbitrary] of Object.entries(harmless)) {
    it(`findCardNumber answers undefined when given ${name}`, () => {
      fc.assert(
        fc.property(arbitrary, (value) => {
          assert.equal(findCardNumber(value), undefined);
          assert.equal(findCardNumber({ note: `before ${value} after` }), undefined);
        }),
        { numRuns: 300 },
      );
    });
  }

  it("findCardNumber answers a path free of the number, or undefined, when given any value", () => {
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withMap: true, withSet: true, withNullPrototype: true, withTypedArray: true }),
        cardNumber,
        (value, number) => {
          const path = findCardNumber({ value, [number]: number });
          assert(path !== undefined && !path.includes(number));
        },
      ),
    );
  });
});
