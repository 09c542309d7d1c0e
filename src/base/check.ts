/** What may be said of arguments that are no times, ids or values. */
import { describe } from "./ttl.ts";

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
