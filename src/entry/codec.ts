/**
 * Values as text, in superjson's format: `{"json":...}`, with `meta` if JSON alone would lose something.
 *
 * Most cached values are plain JSON. For them {@linkcode encode} is JSON.stringify after one look at the value, and
 * {@linkcode decode} is JSON.parse. {@linkcode ValueWriter} writes all other values, and superjson reads them.
 */
import { invalid, needed } from "../base/check.ts";
import { readJson } from "../base/read_json.ts";
import { ERROR, revive, toError, withErrors } from "./kinds.ts";
import type { KeyRing, Sealing, SealOptions } from "./seal.ts";
import { readerWith } from "./superjson.ts";
import { type Meta, type StoredClass, ValueWriter } from "./value_writer.ts";

/** A class whose instances can be stored. */
// biome-ignore lint/suspicious/noExplicitAny: stands for constructors of every kind
export type AnyClass = abstract new (...args: any[]) => unknown;

/**
 * A class whose instances can be stored, or the class with the options of superjson's `registerClass`: `identifier` is
 * stored instead of the class's name, which a minifier changes; `allowProps` are the properties to store, by default
 * all enumerable ones of the instance itself. A string is the identifier.
 */
export type SuperClass =
  | AnyClass
  | readonly [
      type: AnyClass,
      options: string | { readonly identifier?: string; readonly allowProps?: readonly string[] },
    ];

/** The values that one client can store. */
export interface Known {
  /** The classes, for {@linkcode ValueWriter}. */
  readonly classes: ReadonlyMap<unknown, StoredClass>;
  /** Reads a document by superjson, which knows the classes. */
  readonly read: (document: { readonly json: unknown; readonly meta: unknown }) => unknown;
  /** Encryption and compression, if the client has them. */
  readonly sealing: Sealing | undefined;
}

/**
 * Registers the classes of one client.
 *
 * @param classes The classes.
 * @param sealing Encryption and compression, if the client has them.
 * @returns The argument for {@linkcode encode} and {@linkcode decode}.
 * @throws {TypeError} If one is not a class, occurs twice, or has the identifier of another.
 */
export function knowClasses(classes: readonly SuperClass[] = [], sealing?: Sealing): Known {
  const reader = readerWith(ERROR, toError);
  const stored = new Map<unknown, StoredClass>();
  const action = "register superClasses";
  if (!Array.isArray(classes)) throw invalid(action, classes, "a list of classes", TypeError);
  for (const entry of classes) {
    const [type, given] = (Array.isArray(entry) ? entry : [entry]) as [AnyClass, Exclude<SuperClass, AnyClass>[1]?];
    if (typeof type !== "function" || !type.prototype) throw invalid(action, type, "classes", TypeError);
    const options = typeof given === "string" ? { identifier: given } : given;
    const { identifier = type.name, allowProps }: Partial<StoredClass> = options ?? {};
    if (!identifier || stored.has(type) || reader.classRegistry.getValue(identifier)) {
      throw invalid(action, identifier, "another identifier for each class: [class, identifier]");
    }
    stored.set(type, { identifier, allowProps });
    reader.registerClass(type as never, identifier);
  }
  return { classes: stored, read: (document) => reader.deserialize(document as never, { inPlace: true }), sealing };
}

/** Returns the encryption and compression of a client. @throws {TypeError} If it has none. */
export function sealingOf({ sealing }: Known): Sealing {
  return needed(sealing, "encrypt or compress", "sealing");
}

/** Returns the options to seal values with. @throws {TypeError} If the client cannot seal. */
export function sealOptions(
  known: Known,
  ring: KeyRing | undefined,
  compressAbove: number | false = false,
): SealOptions | undefined {
  if (!ring && compressAbove === false) return undefined;
  sealingOf(known);
  return { ring, compressAbove: compressAbove === false ? undefined : compressAbove };
}

/**
 * Turns a value into a superjson document.
 *
 * @param value Any value that can be stored; not `undefined`.
 * @param known The client's own classes. @default only those that superjson knows
 * @returns The document.
 * @throws {TypeError} With the path of a part that cannot be stored.
 */
export function encode(value: unknown, known?: Known): string {
  const plain = isScalar(value) || isPlain(value as object, new Met());
  // The text is one piece, which encoders need, not the sum of several.
  return JSON.stringify(plain ? { json: value } : serialize(value, known));
}

/**
 * Turns a value into the parts of a superjson document.
 *
 * @param value As for {@linkcode encode}.
 * @param known As for {@linkcode encode}.
 * @returns The parts.
 * @throws {TypeError} As {@linkcode encode} does.
 */
export function serialize(value: unknown, known: Known = STANDARD): { json: unknown; meta?: Meta } {
  return new ValueWriter(known.classes).write(value);
}

/** A stored document: the facts of the entry, then the value in superjson's format. */
export interface Document {
  /** The epoch of its keyspace when it was loaded. */
  readonly born?: number;
  /** Its tags, encoded as in the keys of their marks. */
  readonly tags?: readonly string[];
  /** The time at which it was written, by the writer's clock. Absent if the expiry of the key alone decides. */
  readonly at?: number;
  /** The milliseconds from `at` for which it is fresh. */
  readonly ttl?: number;
  /** The duration of its load, in milliseconds. */
  readonly load?: number;
  /** The version of its schema. @default 1 */
  readonly version?: number;
  /** Set if the loader found nothing. */
  readonly none?: 1;
  /** The encrypted document, instead of `json` and `meta`. */
  readonly sealed?: string;
  /** The compressed document, instead of `json` and `meta`. */
  readonly packed?: string;
  /** The bytes of `packed`, before base64. */
  readonly size?: number;
  readonly json?: unknown;
  readonly meta?: unknown;
}

/**
 * Reads a stored text.
 *
 * @param text The document, or the bare integer of a counter.
 * @returns The document, or the count.
 * @throws {SyntaxError} If the text is something else.
 */
export function parse(text: string): Document | number {
  const document = readJson(text) as Document | number | null;
  if (typeof document === "number") return document;
  if (
    typeof document !== "object" ||
    document === null ||
    !("json" in document || "sealed" in document || "packed" in document)
  ) {
    throw new SyntaxError("Expected a superjson document");
  }
  return document;
}

/** Returns the value of a document, whose `json` becomes part of it. @throws {Error} If `meta` does not fit `json`. */
export function fromDocument({ json, meta }: Document, known: Known = STANDARD): unknown {
  if (meta === undefined) return json;
  const { kinds = [], values } = meta as Meta;
  const root = { json };
  const errors = revive(root, kinds);
  return known.read({ json: root.json, meta: errors ? { ...meta, values: withErrors(values) } : meta });
}

/**
 * Turns a superjson document back into its value.
 *
 * @param text The document, or the bare integer of a counter.
 * @param known As for {@linkcode encode}.
 * @returns The value.
 * @throws {Error} If the text is something else.
 */
export function decode(text: string, known?: Known): unknown {
  const document = parse(text);
  return typeof document === "number" ? document : fromDocument(document, known);
}

/** Returns whether a value without parts is kept by JSON.stringify. */
function isScalar(value: unknown): boolean {
  if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0);
  return typeof value === "string" || typeof value === "boolean" || value === null;
}

/** Returns whether JSON.stringify alone keeps all of a value: superjson's document then has no `meta`. */
function isPlain(value: object, met: Met): boolean {
  if (typeof value !== "object" || !met.add(value)) return false;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isScalar(value[i]) && !isPlain(value[i], met)) return false;
    if (Object.getPrototypeOf(value) !== Array.prototype || Object.keys(value).length !== value.length) return false;
  } else {
    if (Object.getPrototypeOf(value) !== Object.prototype) return false;
    for (const key in value) {
      const part = (value as Record<string, unknown>)[key];
      if (!isScalar(part) && !isPlain(part as object, met)) return false;
    }
  }
  return Object.getOwnPropertySymbols(value).length === 0;
}

/** The number of objects from which on a Set finds one faster than a list. */
const MANY = 32;

/** The objects of a value that were met: a list while they are few, because a Set would cost more than the rest. */
class Met {
  readonly #list: object[] = [];
  #set: Set<object> | undefined;

  /** Adds an object. Returns false if it was met before. */
  add(object: object): boolean {
    const list = this.#list;
    if (list.length < MANY) return !list.includes(object) && list.push(object) > 0;
    this.#set ??= new Set(list);
    const { size } = this.#set;
    return this.#set.add(object).size > size;
  }
}

/** The values that a client without classes can store. */
const STANDARD = knowClasses();
