/** Checks of arguments, and the one voice of the errors that they end in. */

/** Marks errors about bad arguments, for every copy of the package in a process. */
const ARGUMENT = Symbol.for("@foodfast/larder argument");

/**
 * Makes the error of a bad argument: `Cannot set a TTL: received -1, expected seconds or a string such as "5m"`.
 *
 * @param action What was attempted, such as `"set a TTL"`.
 * @param value The value received. It is shown as {@linkcode describe} does, so it must not be a secret.
 * @param expected What is accepted.
 * @param Kind The class of the error. @default `RangeError` for numbers, otherwise `TypeError`
 * @returns The error, to be thrown.
 */
export function invalid(action: string, value: unknown, expected: string, Kind: ErrorKind = kindOf(value)): Error {
  return refusal(action, describe(value), expected, Kind);
}

/** Makes the error of {@linkcode invalid}, but shows only the type of the value: it may be a secret or cached data. */
export function invalidType(action: string, value: unknown, expected: string): Error {
  const type = value === null ? "null" : Array.isArray(value) ? "an array" : `a value of type ${typeof value}`;
  return refusal(action, type, expected, kindOf(value));
}

/** Returns whether an error was made by {@linkcode invalid} or {@linkcode invalidType}. */
export function isInvalid(error: unknown): error is TypeError | RangeError {
  return error instanceof Error && ARGUMENT in error;
}

type ErrorKind = TypeErrorConstructor | RangeErrorConstructor;

function refusal(action: string, received: string, expected: string, Kind: ErrorKind): Error {
  const error = new Kind(`Cannot ${action}: received ${received}, expected ${expected}`);
  return Object.defineProperty(error, ARGUMENT, { value: true });
}

function kindOf(value: unknown): ErrorKind {
  return typeof value === "number" ? RangeError : TypeError;
}

/** Shows a value in an error message: strings quoted and cut at 60 characters, objects and functions by their type. */
export function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  return Object(value) === value ? typeof value : String(value);
}

/** Throws for what is not among what is accepted. */
export function refuse(given: string, accepted: string): never {
  throw new TypeError(`cannot use ${given}: accepted are ${accepted}`);
}

/**
 * Throws for what is no object, and for an option of a name that is not known.
 *
 * @param options What was given.
 * @param known The names.
 * @param what Whose options they are, for the message.
 * @param also What is accepted in the place of an object, for the message.
 * @throws {TypeError} By the name that is not known, with those that are.
 */
export function checkNames(options: unknown, known: readonly string[], what: string, also = ""): void {
  const isObject = typeof options === "object" && options !== null;
  const unknown = isObject && Object.keys(options).find((name) => !known.includes(name));
  if (isObject && unknown === undefined) return;
  const given = isObject ? `option ${describe(unknown)} of ${what}` : `${what} ${describe(options)}`;
  refuse(given, `${also}{ ${known.join(", ")} }`);
}

/** Throws for what is no function. What it is instead may be a value to be cached, so the message tells its type only. */
export function checkFunction(given: unknown, what: string): void {
  if (typeof given !== "function") refuse(`${what} of type ${typeof given}`, "functions");
}

/** Throws for what is no whole number within bounds: a RangeError for numbers, a TypeError for anything else. */
export function checkWhole(given: unknown, name: string, least: number, most: number = Number.MAX_SAFE_INTEGER): void {
  if (Number.isSafeInteger(given) && (given as number) >= least && (given as number) <= most) return;
  const bounds = most === Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`;
  const kind = typeof given === "number" ? RangeError : TypeError;
  throw new kind(`cannot use ${name} ${describe(given)}: accepted are whole numbers ${bounds}`);
}

/** Throws for tags that are no list; the tags in it are looked at when they are encoded. */
export function checkTags(tags: unknown): void {
  if (!Array.isArray(tags)) refuse(`tags of type ${typeof tags}`, "lists of strings, and functions that give one");
}
