/**
 * The part of `node:assert/strict` that the contract uses, for runtimes without `node:` modules. Bundled instead of it.
 */

class AssertionError extends Error {
  override name = "AssertionError";
}

function show(value: unknown): string {
  try {
    return (
      JSON.stringify(value, (_, item) => {
        if (item instanceof Map || item instanceof Set) return [item.constructor.name, ...item];
        return item === undefined || typeof item === "bigint" || Number.isNaN(item) || Object.is(item, -0)
          ? `${typeof item} ${Object.is(item, -0) ? "-0" : item}`
          : item;
      }) ?? String(value)
    );
  } catch {
    return String(value);
  }
}

function fails(what: string, message: string | Error | undefined): never {
  if (message instanceof Error) throw message;
  throw new AssertionError(message === undefined ? what : `${message}: ${what}`);
}

/** Deep strict equality: same prototypes, same own keys, same contents; Maps and Sets by content, in their order. */
function same(a: unknown, b: unknown, seen: Map<object, object>): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (seen.get(a) === b) return true;
  seen.set(a, b);
  if (a instanceof Date) return Object.is(a.getTime(), (b as Date).getTime());
  if (a instanceof RegExp) return String(a) === String(b);
  if (a instanceof URL) return a.href === (b as URL).href;
  if (a instanceof Error && (a.message !== (b as Error).message || a.name !== (b as Error).name)) return false;
  if (a instanceof Map || a instanceof Set) return same([...a], [...(b as Map<unknown, unknown>)], seen);
  const keys = Reflect.ownKeys(a);
  return (
    keys.length === Reflect.ownKeys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && same(Reflect.get(a, key), Reflect.get(b, key), seen))
  );
}

/** The expected error: a class, a pattern for its text, a check, or its fields. */
type Expected = RegExp | (new (...args: never[]) => object) | ((error: unknown) => boolean) | Record<string, unknown>;

function expectError(error: unknown, expected: Expected | undefined, message: string | undefined): void {
  if (expected === undefined) return;
  if (expected instanceof RegExp) {
    if (!expected.test(String(error))) fails(`${String(error)} does not match ${expected}`, message);
  } else if (typeof expected === "function") {
    const isClass = expected === Error || expected.prototype instanceof Error;
    if (isClass ? !(error instanceof expected) : !(expected as (error: unknown) => boolean)(error)) {
      fails(`${String(error)} is not what was expected`, message);
    }
  } else {
    for (const [key, value] of Object.entries(expected)) {
      const actual = Reflect.get(error as object, key);
      const fits = value instanceof RegExp ? value.test(String(actual)) : same(actual, value, new Map());
      if (!fits) fails(`the error's ${key} is ${show(actual)}, not ${show(value)}`, message);
    }
  }
}

/** Fails when the value is falsy. */
export function ok(value: unknown, message?: string | Error): void {
  if (!value) fails(`${show(value)} is not truthy`, message);
}

/** Fails unless `Object.is` holds. */
export function equal(actual: unknown, expected: unknown, message?: string | Error): void {
  if (!Object.is(actual, expected)) fails(`${show(actual)} is not ${show(expected)}`, message);
}

/** Fails when `Object.is` holds. */
export function notEqual(actual: unknown, expected: unknown, message?: string | Error): void {
  if (Object.is(actual, expected)) fails(`${show(actual)} is the same`, message);
}

/** Fails unless both are the same all the way down. */
export function deepEqual(actual: unknown, expected: unknown, message?: string | Error): void {
  if (!same(actual, expected, new Map())) fails(`${show(actual)} is not ${show(expected)}`, message);
}

/** Fails when both are the same all the way down. */
export function notDeepEqual(actual: unknown, expected: unknown, message?: string | Error): void {
  if (same(actual, expected, new Map())) fails(`${show(actual)} is the same`, message);
}

/** Fails unless the text matches. */
export function match(text: string, pattern: RegExp, message?: string | Error): void {
  if (!pattern.test(text)) fails(`${show(text)} does not match ${pattern}`, message);
}

/** Fails when the text matches. */
export function doesNotMatch(text: string, pattern: RegExp, message?: string | Error): void {
  if (pattern.test(text)) fails(`${show(text)} matches ${pattern}`, message);
}

/** Fails always. */
export function fail(message?: string | Error): never {
  fails("failed", message);
}

/** Fails unless the function throws, and what was expected. */
export function throws(run: () => unknown, expected?: Expected, message?: string): void {
  try {
    run();
  } catch (error) {
    expectError(error, expected, message);
    return;
  }
  fails("nothing was thrown", message);
}

/** Fails unless the promise rejects, and with what was expected. */
export async function rejects(
  promise: Promise<unknown> | (() => Promise<unknown>),
  expected?: Expected,
  message?: string,
): Promise<void> {
  try {
    await (typeof promise === "function" ? promise() : promise);
  } catch (error) {
    expectError(error, expected, message);
    return;
  }
  fails("nothing was rejected", message);
}

/** `assert` itself, with the rest as its members. */
export default Object.assign((value: unknown, message?: string | Error): void => ok(value, message), {
  ok,
  equal,
  strictEqual: equal,
  notEqual,
  notStrictEqual: notEqual,
  deepEqual,
  deepStrictEqual: deepEqual,
  notDeepEqual,
  match,
  doesNotMatch,
  fail,
  throws,
  rejects,
}) as unknown as typeof import("node:assert/strict");
