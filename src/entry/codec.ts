/**
 * Values as text, in superjson's format: `{"json":...}`, with `meta` where JSON alone would lose something.
 *
 * Most cached values are plain JSON. For them {@linkcode encode} is JSON.stringify behind a look at the value, which is
 * the document that superjson would write after a longer walk. Everything else goes through superjson, behind a walk
 * that refuses what would not come back equal, with its path, and hands superjson a copy in which
 *
 * - bytes are base64 (superjson writes lists of numbers, and cannot read a Buffer, a BigInt64Array or a NaN among
 *   floats);
 * - what is met again stands for itself where superjson could not join it to the first one: in a Set, as a key of a
 *   Map, in an error or an instance.
 *
 * What superjson has no word for (bytes, invalid dates, the class of an error, objects without a prototype) stands in
 * `meta.kinds`, a list of `[kind, ...path]` that it passes over: its own `parse` brings back the rest, with base64 in
 * the place of bytes.
 */
import SuperJSON from "superjson";
import { fromBase64, toBase64 } from "../base/base64.ts";
import { describe, refuse } from "../base/check.ts";

/** A class whose instances can be stored. */
// biome-ignore lint/suspicious/noExplicitAny: stands for constructors of every kind
export type AnyClass = abstract new (...args: any[]) => unknown;

/**
 * A class whose instances can be stored: by its name, or with what superjson's `registerClass` takes, the identifier
 * that is stored (a minifier changes names), and which properties are stored (all enumerable ones of its own where it
 * is not said).
 */
export type SuperClass =
  | AnyClass
  | readonly [
      type: AnyClass,
      options: string | { readonly identifier?: string; readonly allowProps?: readonly string[] },
    ];

/** superjson with the classes of one client, as far as it is used. */
export interface Known {
  serialize(value: unknown): { json: unknown; meta?: object };
  deserialize(document: { json: unknown; meta?: unknown }, options: { readonly inPlace: boolean }): unknown;
  readonly classRegistry: {
    getIdentifier(type: unknown): string | undefined;
    getAllowedProps(type: unknown): string[] | undefined;
  };
}

/**
 * Registers the classes of one client.
 *
 * @param classes The classes.
 * @returns What {@linkcode encode} and {@linkcode decode} take.
 * @throws {TypeError} For what is no class, and for two classes with one identifier.
 */
export function knowClasses(classes: readonly SuperClass[]): Known {
  // What is met again is `null` in the document: without that, superjson loses some cycles.
  const known = new SuperJSON({ dedupe: true });
  known.allowErrorProps("stack");
  known.registerCustom(
    { isApplicable: (_): _ is never => false, serialize: String, deserialize: toError as never },
    ERROR,
  );
  if (!Array.isArray(classes)) refuse(`superClasses ${describe(classes)}`, "lists of classes");
  for (const entry of classes) {
    const [type, options] = (Array.isArray(entry) ? entry : [entry]) as [AnyClass, Exclude<SuperClass, AnyClass>[1]?];
    if (typeof type !== "function" || !type.prototype) refuse(`${describe(type)} in superClasses`, "classes");
    const { identifier = type.name } = typeof options === "string" ? { identifier: options } : (options ?? {});
    if (identifier === "" || known.classRegistry.getValue(identifier)) {
      refuse(`the identifier ${describe(identifier)} in superClasses`, "one for each class: [class, identifier]");
    }
    known.registerClass(type as never, options as string);
  }
  return known as unknown as Known;
}

/**
 * Turns a value into a superjson document.
 *
 * @param value Any value that can be brought back; not `undefined`.
 * @param known The classes beside those that superjson knows itself.
 * @returns The document.
 * @throws {TypeError} For what cannot be stored, with its path.
 */
export function encode(value: unknown, known?: Known): string {
  return isPlain(value, new Set()) ? `{"json":${JSON.stringify(value)}}` : JSON.stringify(serialize(value, known));
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
  const { copy, kinds } = new Preparation(known).of(value);
  const { json, meta } = known.serialize(copy);
  if (kinds.length > 0) return { json, meta: { ...meta, kinds, v: 1 } };
  return meta ? { json, meta } : { json };
}

/** A stored document: superjson's, and before it what is known of the entry. */
export interface Document {
  /** The clock of its keyspace when it was loaded. */
  readonly born?: number;
  /** Its tags, as in the keys of their marks. */
  readonly tags?: readonly string[];
  /** When it was written, by the writer's clock, and for how many milliseconds from then it is fresh; absent where its expiry says it. */
  readonly at?: number;
  readonly ttl?: number;
  /** How long its load took, in milliseconds. */
  readonly load?: number;
  /** The version of its schema. @default 1 */
  readonly version?: number;
  /** Whether the loader found nothing. */
  readonly none?: 1;
  /** The encrypted or compressed document, in the place of `json` and `meta`. */
  readonly sealed?: string;
  readonly packed?: string;
  /** How many bytes `packed` has, before base64. */
  readonly size?: number;
  readonly json?: unknown;
  readonly meta?: unknown;
}

/**
 * Reads a stored text.
 *
 * @param text The document, or a counter's bare integer.
 * @returns The document, or the count.
 * @throws {SyntaxError} When the text is no such document.
 */
export function parse(text: string): Document | number {
  const document = JSON.parse(text);
  if (typeof document === "number") return document;
  if (
    typeof document !== "object" ||
    document === null ||
    !("json" in document || "sealed" in document || "packed" in document)
  ) {
    throw new SyntaxError("not a superjson document");
  }
  return document;
}

/**
 * The value of a document; of what its `json` holds it is made. @throws {Error} For one that cannot be brought back.
 */
export function fromDocument({ json, meta }: Document, known: Known = STANDARD): unknown {
  if (meta === undefined) return json;
  const { kinds = [], values } = meta as Meta;
  const root = { json };
  const made: unknown[] = [];
  for (const kind of kinds) made.push(replace(root, kind, made));
  const errors = kinds.some(([kind]) => kind.startsWith(ERROR));
  return known.deserialize(
    { json: root.json, meta: errors ? { ...meta, values: withErrors(values) } : meta },
    { inPlace: true },
  );
}

/**
 * Turns a superjson document back into its value.
 *
 * @param text The document, or a counter's bare integer.
 * @param known As for {@linkcode encode}.
 * @returns The value.
 * @throws {Error} When the text is no such document.
 */
export function decode(text: string, known?: Known): unknown {
  const document = parse(text);
  return typeof document === "number" ? document : fromDocument(document, known);
}

/** Whether JSON.stringify alone keeps all of the value: a document of it has no `meta`. */
function isPlain(value: unknown, seen: Set<object>): boolean {
  if (typeof value === "string" || typeof value === "boolean" || value === null) return true;
  if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0);
  if (typeof value !== "object" || seen.has(value)) return false;
  seen.add(value);
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isPlain(value[i], seen)) return false;
    if (Object.getPrototypeOf(value) !== Array.prototype || Object.keys(value).length !== value.length) return false;
  } else {
    if (Object.getPrototypeOf(value) !== Object.prototype) return false;
    for (const key in value) if (!isPlain((value as Record<string, unknown>)[key], seen)) return false;
  }
  return Object.getOwnPropertySymbols(value).length === 0;
}

/** What a value is that superjson has no word for, and the path to it in `json`. */
type Kind = readonly [kind: string, ...path: string[]];

/** superjson's notes, and this file's. */
interface Meta {
  readonly values?: unknown;
  readonly referentialEqualities?: unknown;
  readonly v?: number;
  readonly kinds?: readonly Kind[];
}

/** What is made of bytes, and comes back from base64. */
const BYTES = /^((Big)?(Ui|I)nt(8|8Clamped|16|32|64)Array|Float(16|32|64)Array|DataView|(Shared)?ArrayBuffer)$/;
const ERRORS = /^(Eval|Range|Reference|Syntax|Type|URI)?Error$/;
/**
 * The kinds beside bytes; that of an error is followed by the name of its class, that of the same bytes by the number
 * of their kind.
 */
const BARE = "null";
const NUMBER = "number";
const BIGINT = "bigint";
const NO_DATE = "Invalid Date";
const ERROR = "error ";
/** Where the json of an error has its kind, for superjson to hand it on. */
const OF_ERROR = Symbol("kind");
const SAME = "same ";

type Fields = Record<string, unknown>;

/** Goes through one value, refuses what would not come back, and makes of the rest what superjson brings back. */
class Preparation {
  readonly #known: Known;
  readonly #kinds: Kind[] = [];
  /** Where it is: as superjson says it, and as people do. */
  readonly #path: string[] = [];
  readonly #shown: string[] = [];
  /** What was met, and its copy. superjson tells bigints and NaN from other primitives, and joins them like objects. */
  readonly #copies = new Map<unknown, unknown>();
  /** Of bytes that were met: their text, and the number of their kind. */
  readonly #texts = new Map<object, readonly [text: string, kind: number]>();
  /** What is met again inside itself, if it is. */
  readonly #open = new Set<object>();
  /** How many of those around it superjson could not join it in. */
  #apart = 0;

  constructor(known: Known) {
    this.#known = known;
  }

  of(value: unknown): { copy: unknown; kinds: readonly Kind[] } {
    if (value === undefined) this.#refuse("undefined");
    return { copy: this.#copy(value), kinds: this.#kinds };
  }

  /** `apart`: superjson could not join it to the first one. */
  #copy(value: unknown, apart = this.#apart > 0): unknown {
    if (typeof value === "function" || typeof value === "symbol") this.#refuse(typeof value);
    const again = this.#copies.has(value);
    if (typeof value === "bigint" || Number.isNaN(value)) {
      this.#copies.set(value, value);
      if (!again || !apart) return value;
      this.#kinds.push([typeof value, ...this.#path]);
      return String(value);
    }
    if (typeof value !== "object" || value === null) return value;
    if (again && !apart) return this.#copies.get(value);
    if (this.#open.has(value)) this.#refuse("what holds itself through a Set, a key, an error or an instance");
    this.#open.add(value);
    const copy = this.#object(value);
    this.#open.delete(value);
    return copy;
  }

  #object(value: object): unknown {
    const prototype = Object.getPrototypeOf(value);
    const brand = Object.prototype.toString.call(value).slice(8, -1);
    if (BYTES.test(brand)) return this.#bytes(value as ArrayBufferView | ArrayBuffer, brand);
    if (prototype === null || isObject(prototype)) {
      if (prototype === null) this.#kinds.push([BARE, ...this.#path]);
      return this.#fields(value, Object.keys(value), {});
    }
    if (value instanceof URL && prototype === URL.prototype) return this.#met(value, new URL(value));
    const name: unknown = prototype.constructor?.name;
    // An Array, Map or Error is one of the language's own, of whatever realm, where its class stands right above
    // Object.
    const above = Object.getPrototypeOf(prototype);
    const keys = Object.keys(value);
    if (Array.isArray(value)) {
      if (isObject(above) && keys.length === value.length) return this.#fields(value, keys, []);
      this.#refuse(isObject(above) ? "an array with holes or properties" : "a subclass of Array");
    }
    if (brand === "Error") {
      const own = name === "Error" ? isObject(above) : isObject(above && Object.getPrototypeOf(above));
      if (own && ERRORS.test(name as string)) return this.#error(value as Error, name as string, keys);
    } else if (isObject(above) && name === brand && /^(Date|RegExp|Map|Set)$/.test(brand)) {
      this.#noSymbols(value);
      if (keys.length > 0) this.#refuse(`a ${brand} with properties`);
      return this.#builtIn(value as never, brand);
    }
    const type = value.constructor;
    // Of a subclass of Map or Promise, say, only the properties would come back.
    if (prototype === type?.prototype && (brand === "Object" || !Object.hasOwn(globalThis, brand))) {
      const { classRegistry } = this.#known;
      if (classRegistry.getIdentifier(type)) {
        const copy = Object.create(prototype);
        return this.#within(() => this.#fields(value, classRegistry.getAllowedProps(type) ?? keys, copy), value, copy);
      }
    }
    if (brand === "Promise") this.#refuse("promise");
    const named = Object.hasOwn(prototype, "constructor") && typeof name === "string" && name !== "";
    return this.#refuse(`an instance of ${named ? name : brand}`);
  }

  /** The members of an object or array, put into its copy. */
  #fields(value: object, keys: readonly string[], copy: object): object {
    this.#noSymbols(value);
    this.#met(value, copy);
    for (const key of keys) {
      // superjson refuses to go through them.
      if (/^(__proto__|constructor|prototype)$/.test(key)) this.#refuse("a property of this name", key);
      (copy as Fields)[key] = this.#inside((value as Fields)[key], [key], key);
    }
    return copy;
  }

  #builtIn(value: Date & RegExp & Map<unknown, unknown>, brand: string): unknown {
    if (brand === "Date") {
      const copy = new Date(Date.prototype.getTime.call(value));
      if (!Number.isNaN(copy.getTime())) return this.#met(value, copy);
      this.#kinds.push([NO_DATE, ...this.#path]);
      return NO_DATE;
    }
    if (brand === "RegExp") {
      if (value.lastIndex !== 0) this.#refuse("a RegExp with a lastIndex");
      return this.#met(value, new RegExp(value));
    }
    // superjson takes what is in them from these methods: in the Map or Set itself, two texts that stand for bytes
    // would meet.
    const rows: unknown[] = [];
    if (brand === "Set") {
      const copy = this.#met(value, Object.assign(new Set(), { values: () => rows }));
      Set.prototype.forEach.call(value, (item) => {
        rows.push(this.#inside(item, [`${rows.length}`], "(item)", true));
      });
      return copy;
    }
    const copy = this.#met(value, Object.assign(new Map(), { entries: () => rows }));
    Map.prototype.forEach.call(value, (item, key) => {
      const row = `${rows.length}`;
      const shown = typeof key === "object" ? "(value)" : String(key);
      rows.push([this.#inside(key, [row, "0"], "(key)", true), this.#inside(item, [row, "1"], shown)]);
    });
    return copy;
  }

  #error(value: Error, type: string, keys: readonly string[]): Error {
    this.#noSymbols(value);
    for (const key of keys) if (key !== "name") this.#refuse("a property of an error", key);
    for (const key of ["name", "message", "stack"] as const) {
      if (typeof value[key] !== "string") this.#refuse(typeof value[key], key);
    }
    if (Object.hasOwn(value, "name") && (value.name === type || keys.length === 0)) this.#refuse("a name", "name");
    const caused = Object.hasOwn(value, "cause");
    this.#kinds.push([`${ERROR}${type}${caused ? " cause" : ""}`, ...this.#path]);
    const copy = new Error(value.message);
    copy.name = value.name;
    copy.stack = value.stack as string;
    const fill = (): Error => {
      if (caused) copy.cause = this.#inside(value.cause, ["cause"], "cause");
      return copy;
    };
    return this.#within(fill, value, copy);
  }

  /** Goes through what is in an error or an instance, which superjson does not change any more once it is made. */
  #within<T>(walk: () => T, value: object, copy: object): T {
    this.#met(value, copy);
    this.#apart++;
    const walked = walk();
    this.#apart--;
    return walked;
  }

  #met<T>(value: object, copy: T): T {
    this.#copies.set(value, copy);
    return copy;
  }

  #bytes(value: ArrayBufferView | ArrayBuffer, brand: string): string {
    const name = value.constructor?.name;
    if (name !== brand && name !== "Buffer") this.#refuse(`an instance of ${name}`);
    const { resizable, growable } = value as { resizable?: boolean; growable?: boolean };
    if (resizable || growable) this.#refuse(`a resizable ${brand}`);
    const bytes = ArrayBuffer.isView(value)
      ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
      : new Uint8Array(value);
    const known = this.#texts.get(value);
    const [text, kind] = known ?? [toBase64(bytes), this.#kinds.length];
    this.#texts.set(value, [text, kind]);
    this.#kinds.push([known ? SAME + kind : brand, ...this.#path]);
    return text;
  }

  #inside(value: unknown, path: string[], shown: string, apart?: boolean): unknown {
    this.#path.push(...path);
    this.#shown.push(shown);
    const copy = this.#copy(value, apart);
    this.#path.length -= path.length;
    this.#shown.length--;
    return copy;
  }

  #noSymbols(value: object): void {
    const [symbol] = Object.getOwnPropertySymbols(value);
    if (symbol) this.#refuse("a symbol key", String(symbol));
  }

  #refuse(what: string, ...inside: string[]): never {
    const path = [...this.#shown, ...inside].join(".");
    throw new TypeError(
      `cannot store the value${path || this.#shown.length > 0 ? ` at "${path}"` : ""}: ${what} is not serializable; ` +
        "accepted are JSON values, bytes, and what superjson knows, such as Date, Map, Set, BigInt, URL, " +
        "and instances of superClasses",
    );
  }
}

/** Whether it is the prototype of plain objects, in whatever realm. */
function isObject(prototype: object | null): boolean {
  return (
    prototype === Object.prototype ||
    (prototype !== null && Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf"))
  );
}

/** Puts what a kind says into the place of what stands for it in a document, and answers it. */
function replace(root: { json: unknown }, [kind, ...path]: Kind, made: readonly unknown[]): unknown {
  const parent = at(root, ["json", ...path].slice(0, -1)) as Fields;
  const key = path.at(-1) ?? "json";
  const json = Object.hasOwn(parent, key) ? parent[key] : undefined;
  if (kind === BARE) return Object.setPrototypeOf(json, null);
  if (kind.startsWith(ERROR)) return Object.assign(Object(json), { [OF_ERROR]: kind.slice(ERROR.length) });
  parent[key] = kind.startsWith(SAME) ? made[Number(kind.slice(SAME.length))] : revive(kind, json as string);
  return parent[key];
}

function revive(kind: string, text: string): unknown {
  if (kind === NUMBER) return Number.NaN;
  if (kind === BIGINT) return BigInt(text);
  return kind === NO_DATE ? new Date(Number.NaN) : toBytes(kind, text);
}

/** What stands at a path of a document. @throws {SyntaxError} Where there is nothing. */
function at(from: unknown, path: readonly string[]): object {
  let value = from;
  for (const key of path) {
    value = Object(value) === value && Object.hasOwn(value as object, key) ? (value as Fields)[key] : undefined;
  }
  if (Object(value) === value) return value as object;
  throw new SyntaxError("a path leads nowhere");
}

/** superjson's notes, with this file's errors in the place of its own: it makes all of one class. */
function withErrors(notes: unknown): unknown {
  if (!Array.isArray(notes)) {
    return Object.fromEntries(Object.entries(Object(notes)).map(([path, inner]) => [path, withErrors(inner)]));
  }
  const [type, inner] = notes;
  return [type === "Error" ? ["custom", ERROR] : type, ...(inner ? [withErrors(inner)] : [])];
}

function toError(json: object): Error {
  const { name, message, stack, cause, [OF_ERROR]: kind } = json as Fields & { readonly [OF_ERROR]?: string };
  const [type = "", caused] = (kind ?? "").split(" ");
  if (!ERRORS.test(type)) throw new TypeError("no known error");
  const error = new (globally(type))(message, caused ? { cause } : undefined) as Error;
  if (error.name !== name) error.name = String(name);
  error.stack = String(stack);
  return error;
}

function toBytes(kind: string, base64: string): unknown {
  const bytes = fromBase64(base64);
  if (kind === "Uint8Array") return bytes;
  if (kind === "ArrayBuffer") return bytes.buffer;
  if (!BYTES.test(kind)) throw new TypeError("no known kind");
  const type = globally(kind);
  if (kind !== "SharedArrayBuffer") return new type(bytes.buffer);
  const buffer = new type(bytes.length) as SharedArrayBuffer;
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

/** One of the language's classes. Newer ones are missing on older runtimes: then calling it throws. */
function globally(name: string): new (...of: unknown[]) => unknown {
  return (globalThis as unknown as Record<string, never>)[name] as never;
}

/** What superjson knows itself. */
const STANDARD = knowClasses([]);
