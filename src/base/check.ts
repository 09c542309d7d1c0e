/** Marks errors about bad arguments, for every copy of the package in a process. */
const ARGUMENT = Symbol.for("@foodfast/larder argument");

/**
 * Makes the error of a bad argument: `Cannot set a TTL: received -1, expected seconds or a string such as "5m"`.
 *
 * @param action The attempted action, such as `"set a TTL"`.
 * @param value The value received.
 * @param expected The accepted values.
 * @param Kind The class of the error. @default `RangeError` for numbers, otherwise `TypeError`
 * @param received The value in words. @default by {@linkcode describe}, so the value must not be a secret
 * @returns The error, to be thrown.
 */
export function invalid(
  action: string,
  value: unknown,
  expected: string,
  Kind: TypeErrorConstructor | RangeErrorConstructor = typeof value === "number" ? RangeError : TypeError,
  received: string = describe(value),
): Error {
  const error = new Kind(`Cannot ${action}: received ${received}, expected ${expected}`);
  return Object.defineProperty(error, ARGUMENT, { value: true });
}

/** Makes a TypeError as {@linkcode invalid} does, but shows only the type: the value may be secret or cached data. */
export function invalidType(action: string, value: unknown, expected: string): Error {
  return invalid(action, value, expected, TypeError, `a value of type ${typeOf(value)}`);
}

/**
 * Returns a part that clients of the core get by an option, so that bundles without it stay small.
 *
 * @param part The part, if the client has it.
 * @param action The attempted action that needs it.
 * @param option The name of the option.
 * @throws {TypeError} If the client does not have it.
 */
export function needed<T>(part: T | undefined, action: string, option: string): T {
  if (part) return part;
  throw invalid(action, part, `a client of the core with the option ${option}`);
}

/** Returns whether an error was made by {@linkcode invalid} or {@linkcode invalidType}. */
export function isInvalid(error: unknown): error is TypeError | RangeError {
  return error instanceof Error && ARGUMENT in error;
}

/** Shows a value in an error message: strings quoted and cut at 60 characters, objects and functions by their type. */
export function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  return Object(value) === value ? typeOf(value) : String(value);
}

function typeOf(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
}

/** A rule for an option: the accepted values in words, and a test. */
export type Rule = readonly [expected: string, test: (value: never) => boolean];

/** The options of a function by name; those without a rule are checked elsewhere. */
export type Rules = Readonly<Record<string, Rule | undefined>>;

/**
 * Throws if options are not an object, or have an unknown name.
 *
 * @param options The options.
 * @param known The known names.
 * @param what What the options belong to, for the message.
 * @param also What is accepted instead of an object, for the message.
 * @throws {TypeError} With the unknown name and the known ones.
 */
export function checkNames(options: unknown, known: readonly string[], what: string, also = ""): void {
  const isObject = typeOf(options) === "object";
  const unknown = isObject && Object.keys(options as object).find((name) => !known.includes(name));
  if (isObject && unknown === undefined) return;
  const show = isObject ? invalid : invalidType;
  throw show(`set the options of ${what}`, isObject ? unknown : options, `${also}{ ${known.join(", ")} }`);
}

/**
 * Throws if options have an unknown name, or a value that its rule does not accept.
 *
 * @param options The options; those that are `undefined` count as left out.
 * @param rules The known options.
 * @param what What the options belong to, for the message.
 * @throws {TypeError | RangeError} With the name of the option.
 */
export function checkOptions(options: unknown, rules: Rules, what: string): void {
  checkNames(options, Object.keys(rules), what);
  for (const [name, value] of Object.entries(options as object)) {
    const rule = rules[name];
    if (rule && value !== undefined) check(value, `${name} of ${what}`, rule);
  }
}

/**
 * Throws if a rule does not accept a value: a RangeError for numbers, otherwise a TypeError. The message does not show
 * text, because it may be a secret in the wrong place.
 */
export function check(value: unknown, name: string, [expected, test]: Rule): void {
  if (!test(value as never)) throw (typeof value === "string" ? invalidType : invalid)(`set ${name}`, value, expected);
}

/** Throws if a value is not a whole number within bounds, as {@linkcode check} does. */
export function checkWhole(value: unknown, name: string, least: number, most?: number): void {
  // The rule has words, which only an error needs.
  if (!isWhole(value, least, most)) check(value, name, whole(least, most));
}

function isWhole(value: unknown, least: number, most = Number.MAX_SAFE_INTEGER): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
}

/** Returns the rule for whole numbers within bounds. */
export function whole(least: number, most: number = Number.MAX_SAFE_INTEGER): Rule {
  const bounds = most === Number.MAX_SAFE_INTEGER ? `of ${least} or more` : `from ${least} to ${most}`;
  return [`a whole number ${bounds}`, (value) => isWhole(value, least, most)];
}

/** The rule for functions. */
export const FUNCTION: Rule = ["a function", (value: unknown) => typeof value === "function"];

/** The rule for switches. */
export const FLAG: Rule = ["true or false", (value: unknown) => typeof value === "boolean"];

/** The rule for text. */
export const TEXT: Rule = ["a string", (value: unknown) => typeof value === "string"];

/** Throws if a value is not a function. The message shows only its type, because it may be a value to be cached. */
export function checkFunction(value: unknown, what: string): void {
  if (typeof value !== "function") throw invalidType(`call ${what}`, value, "a function");
}

/** Throws if tags are not a list. The tags in it are checked when they are encoded. */
export function checkTags(tags: unknown): void {
  if (!Array.isArray(tags)) throw invalidType("set tags", tags, "a list of strings, or a function that returns one");
}
