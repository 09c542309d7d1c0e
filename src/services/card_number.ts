/**
 * Finds payment card numbers (PANs) in values, so that none is stored: digits with the prefix and the length of a brand
 * and a valid check digit, in one piece or in the groups in which cards print them. Text that only looks like one is
 * ignored: masked numbers, UUIDs, IBANs, barcodes, phone numbers with a `+`, decimal fractions, digits inside a word or
 * a token.
 *
 * @module
 */

/** Prefixes and lengths of the brands. */
const BRANDS = new RegExp(
  `^(?:${[
    "4(?:\\d{12}|\\d{15}|\\d{18})", // Visa
    "(?:5[1-5]\\d\\d|222[1-9]|22[3-9]\\d|2[3-6]\\d\\d|27[01]\\d|2720)\\d{12}", // Mastercard
    "3[47]\\d{13}", // American Express
    "6(?:011|4[4-9]\\d|5\\d\\d)\\d{12,15}", // Discover, RuPay, Troy
    "3(?:0[0-5]\\d|095|[689]\\d\\d)\\d{10,15}", // Diners Club
    "35(?:2[89]|[3-8]\\d)\\d{12,15}", // JCB
    "(?:62|8[12])\\d{14,17}", // UnionPay, RuPay
    "(?:50(?:18|20|38)|5[6-8]\\d\\d|6304|6390|67\\d\\d)\\d{8,15}", // Maestro
    "220[0-4]\\d{12,15}", // Mir
    "50(?:41|6\\d|7[89]|8[5-9]|9\\d)\\d{12,15}", // Elo, Verve, RuPay
    // RuPay, Hipercard, Elo, Dankort, Troy, Uzcard, Humo
    "(?:60(?:6[29]|[78]\\d)|6277|636[23]|5019|9792|8600|9860)\\d{12}",
  ].join("|")})$`,
);

/** The sizes of the groups in which a number is written: one piece, 4-4-4-4, 4-6-5, 4-4-4-4-3, 6-13, 8-8, ... */
const GROUPS = /^(?:1\d|[48](?:,[3-6])+(?:,[12])?|6,1[03]|8,8)$/;

const UUID = /[\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12}/gi;
const IBAN = /\b[A-Z]{2}\d\d(?:[ -]?[A-Z\d]{4}){2,7}(?:[ -]?[A-Z\d]{1,3})?\b/g;
const RUN = /\+?\d+(?:[ -]{1,3}\d+)*/g;

/**
 * Finds the first payment card number in a value: in strings (inside longer text too), numbers and bigints, at any
 * depth of arrays, objects, maps and sets, and in their keys. Cycles are fine.
 *
 * @param value Any value.
 * @returns The path of what carries the number, such as `"methods.0.note"`, empty for the value itself, `(key)` as the
 * last part for a key; `undefined` if no number is found. The path never holds the number.
 *
 * @example
 * ```ts ignore
 * findCardNumber({ methods: [{ note: "4111 1111 1111 1111" }] }); // "methods.0.note"
 * findCardNumber({ last4: "1111", token: "tok_4111111111111111" }); // "token"
 * findCardNumber({ last4: "**** **** **** 1111" }); // undefined
 * ```
 */
export function findCardNumber(value: unknown): string | undefined {
  const seen = new Set<unknown>();
  const todo: [path: string, value: unknown][] = [["", value]];
  for (let next = todo.pop(); next; next = todo.pop()) {
    const [path, item] = next;
    if (typeof item !== "object" || item === null || item instanceof URL) {
      if (isText(item) && hasCardNumber(String(item))) return path;
    } else if (!seen.has(item) && !ArrayBuffer.isView(item)) {
      seen.add(item);
      for (const child of children(item, path).reverse()) todo.push(child);
    }
  }
  return undefined;
}

/** The values in a container with their paths, each key before its value. */
function children(container: object, path: string): [path: string, value: unknown][] {
  const at = (key: unknown) => (path === "" ? `${key}` : `${path}.${key}`);
  if (Array.isArray(container) || container instanceof Set) {
    return Array.from(container, (item, index) => [at(index), item]);
  }
  const entries = container instanceof Map ? [...container] : Object.entries(container);
  return entries.flatMap(([key, item], index): [string, unknown][] => [
    [at("(key)"), key],
    [at(typeof key === "string" || typeof key === "number" ? key : index), item],
  ]);
}

function isText(value: unknown): boolean {
  const number = typeof value === "bigint" || Number.isInteger(value);
  return typeof value === "string" || value instanceof URL || (number && (value as number) > 0);
}

function hasCardNumber(text: string): boolean {
  // Full-width digits, as East Asian keyboards give them
  const normal = text.replace(/[\uff10-\uff19]/g, (digit) => String(digit.charCodeAt(0) - 0xff10));
  if (!/\d(?:\D{0,3}\d){11}/.test(normal)) return false;
  const plain = normal
    .replace(/\p{Zs}/gu, " ")
    .replace(/\p{Pd}/gu, "-")
    .replace(/%B(?=\d)/g, " ") // The start of the magnetic stripe's first track
    .replace(UUID, "x")
    .replace(IBAN, (iban) => (isIban(iban) ? "x" : iban))
    .replace(/[a-z\d]+/gi, (word) => (/[a-z]/i.test(word) ? "x" : word))
    .replace(/\d+(\.\d+)?/g, (number, fraction) => (fraction ? "x" : number));
  for (const [run] of plain.matchAll(RUN)) {
    const groups = run.replace("+", "").split(/[ -]+/);
    // E.164 phone numbers have at most 15 digits.
    if (run.startsWith("+") && groups.join("").length <= 15) continue;
    for (let from = 0; from < groups.length; from++) {
      for (let to = from + 1; to <= groups.length && to <= from + 6; to++) {
        if (isCardNumber(groups.slice(from, to))) return true;
      }
    }
  }
  return false;
}

function isCardNumber(groups: readonly string[]): boolean {
  const digits = groups.join("");
  if (!BRANDS.test(digits) || !GROUPS.test(groups.map((group) => group.length).join())) return false;
  // Barcodes of 12 and 13 digits have a check digit of their own.
  return checksum(digits, luhn) && !(digits.length < 14 && checksum(digits, (digit) => digit * 3));
}

/** Doubles a digit as Luhn's formula does. */
function luhn(digit: number): number {
  return digit > 4 ? digit * 2 - 9 : digit * 2;
}

/** Returns whether the digits add up to a multiple of 10, every second one from the right changed by `weigh`. */
function checksum(digits: string, weigh: (digit: number) => number): boolean {
  const sum = [...digits].reverse().reduce((sum, digit, index) => sum + (index % 2 ? weigh(+digit) : +digit), 0);
  return sum % 10 === 0;
}

function isIban(text: string): boolean {
  const compact = text.replace(/[ -]/g, "");
  const digits = [...compact.slice(4), ...compact.slice(0, 4)]
    .map((character) => Number.parseInt(character, 36))
    .join("");
  return BigInt(digits) % 97n === 1n;
}
