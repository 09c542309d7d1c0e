/**
 * The kinds of values that superjson's format cannot hold: bytes, invalid dates, the class of an error, objects without
 * a prototype, and repeated values that superjson cannot link to their first occurrence.
 *
 * A document lists them in `meta.kinds`, as `[kind, ...path]`. superjson ignores the list: its own `parse` returns the
 * rest of the value, with base64 instead of bytes.
 */
import { fromBase64 } from "../base/base64.ts";

/** The kind of a value, and the path to it in `json`. */
export type Kind = readonly [kind: string, ...path: string[]];

/** The brands of values that are stored as base64. */
export const BYTES: RegExp =
  /^((Big)?(Ui|I)nt(8|8Clamped|16|32|64)Array|Float(16|32|64)Array|DataView|(Shared)?ArrayBuffer)$/;
/** The names of the language's errors that can be stored. */
export const ERRORS: RegExp = /^(Eval|Range|Reference|Syntax|Type|URI)?Error$/;
/** The kind of an object without a prototype. */
export const BARE = "null";
/** The kind of an invalid date. */
export const NO_DATE = "Invalid Date";
/** The kind of an error: the name of its class follows, then `" cause"` if it has one. */
export const ERROR = "error ";
/** The kind of bytes that occur again: the index of their first kind follows. */
export const SAME = "same ";

/** The key under which the json of an error carries its kind through superjson. */
const OF_ERROR = Symbol("kind");

type Fields = Record<string, unknown>;

/**
 * Puts the values of all kinds into a document, in place.
 *
 * @param root The object that holds the document's `json`.
 * @param kinds The document's kinds.
 * @returns Whether one of them is an error: superjson then needs {@linkcode withErrors} and {@linkcode toError}.
 * @throws {Error} If the kinds do not fit the document.
 */
export function revive(root: { json: unknown }, kinds: readonly Kind[]): boolean {
  const made: unknown[] = [];
  let errors = false;
  for (const [kind, ...path] of kinds) {
    const parent = objectAt(root, ["json", ...path].slice(0, -1));
    const key = path.at(-1) ?? "json";
    const json = Object.hasOwn(parent, key) ? parent[key] : undefined;
    if (kind === BARE) Object.setPrototypeOf(json, null);
    else if (kind.startsWith(ERROR)) {
      errors = true;
      Object.assign(Object(json), { [OF_ERROR]: kind.slice(ERROR.length) });
    } else parent[key] = kind.startsWith(SAME) ? made[Number(kind.slice(SAME.length))] : ofKind(kind, json as string);
    made.push(parent[key]);
  }
  return errors;
}

/** Returns the object at a path. @throws {SyntaxError} If the path leads to none. */
function objectAt(from: unknown, path: readonly string[]): Fields {
  let value = from;
  for (const key of path) {
    value = Object(value) === value && Object.hasOwn(value as object, key) ? (value as Fields)[key] : undefined;
  }
  if (Object(value) === value) return value as Fields;
  throw new SyntaxError("unknown path");
}

function ofKind(kind: string, text: string): unknown {
  if (kind === "number") return Number.NaN;
  if (kind === "bigint") return BigInt(text);
  if (kind === NO_DATE) return new Date(Number.NaN);
  const bytes = fromBase64(text);
  if (kind === "Uint8Array") return bytes;
  if (kind === "ArrayBuffer") return bytes.buffer;
  if (!BYTES.test(kind)) throw new TypeError("unknown kind");
  const type = globally(kind);
  if (kind !== "SharedArrayBuffer") return new type(bytes.buffer);
  const buffer = new type(bytes.length) as SharedArrayBuffer;
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

/** Returns superjson's notes with {@linkcode ERROR} instead of its own errors, which are all of one class. */
export function withErrors(notes: unknown): unknown {
  if (!Array.isArray(notes)) {
    return Object.fromEntries(Object.entries(Object(notes)).map(([path, inner]) => [path, withErrors(inner)]));
  }
  const [type, inner] = notes;
  return [type === "Error" ? ["custom", ERROR] : type, ...(inner ? [withErrors(inner)] : [])];
}

/** Makes an error from its json, which {@linkcode revive} marked with its kind. */
export function toError(json: object): Error {
  const { name, message, stack, cause, [OF_ERROR]: kind } = json as Fields & { readonly [OF_ERROR]?: string };
  const [type = "", caused] = (kind ?? "").split(" ");
  if (!ERRORS.test(type)) throw new TypeError("unknown kind");
  const error = new (globally(type))(message, caused ? { cause } : undefined) as Error;
  if (error.name !== name) error.name = String(name);
  error.stack = String(stack);
  return error;
}

/** Returns a class of the language by its name. Older runtimes lack newer ones: calling the result throws there. */
function globally(name: string): new (...of: unknown[]) => unknown {
  return (globalThis as unknown as Record<string, never>)[name] as never;
}
