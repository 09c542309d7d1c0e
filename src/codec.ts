/**
 * Values as text, in superjson's format: `{"json":...}`, with `meta` where JSON alone would lose something.
 *
 * Most cached values are plain JSON. For them {@linkcode encode} is JSON.stringify behind a look at the value. The rest is
 * written and read here and not by superjson, which loses some of it without a word: it gives errors another class, gives
 * shared keys of Maps each other's values, and makes `{}` of what it does not know. What comes back equal is written, and
 * everything else refused with its path.
 *
 * `meta.values` and `meta.referentialEqualities` are superjson's: its `parse` brings a document back. What it has no word for
 * stands in `meta.kinds`, a list of `[kind, ...path]`, which it passes over: bytes, errors of a class, objects without a
 * prototype. So a reader by `superjson.parse` finds base64 in the place of bytes. Types of superjson's own for that would
 * not do: a "custom" one makes its `parse` throw away the whole value, and a "typed-array" takes lists of numbers only.
 */
import SuperJSON from "superjson";
import { refuse } from "./check.ts";
import { fromBase64, toBase64 } from "./seal.ts";
import { describe } from "./ttl.ts";

/** A class whose instances can be stored. */
// biome-ignore lint/suspicious/noExplicitAny: stands for constructors of every kind
export type AnyClass = abstract new (...args: any[]) => unknown;

/**
 * A class whose instances can be stored: by its name, or with what superjson's `registerClass` takes, the identifier that is
 * stored (a minifier changes names), and which properties are stored (all enumerable ones of its own where it is not said).
 */
export type SuperClass =
  | AnyClass
  | readonly [
      type: AnyClass,
      options: string | { readonly identifier?: string; readonly allowProps?: readonly string[] },
    ];

/** What is read of an instance of superjson: the classes and transformers that were registered with it. */
export interface Known {
  readonly classRegistry: {
    getIdentifier(type: unknown): string | undefined;
    getValue(identifier: string): AnyClass | undefined;
    getAllowedProps(type: never): string[] | undefined;
  };
  readonly customTransformerRegistry: {
    findApplicable(value: unknown): { name: string; serialize(value: unknown): unknown } | undefined;
    findByName(name: string): { deserialize(json: never): unknown } | undefined;
  };
}

/** What was registered by `superjson.registerClass` and `superjson.registerCustom`, for all. */
const SHARED = (SuperJSON as unknown as { readonly defaultInstance: Known }).defaultInstance;

/**
 * Registers the classes of one client.
 *
 * @param classes The classes.
 * @returns What {@linkcode encode} and {@linkcode decode} take.
 * @throws {TypeError} For what is no class, and for two classes with one identifier.
 */
export function knowClasses(classes: readonly SuperClass[]): Known {
  const known = new SuperJSON();
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
export function serialize(value: unknown, known?: Known): { json: unknown; meta?: Meta } {
  return new Writer(known).write(value);
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

/** The value of a document; of what its `json` holds it is made. @throws {Error} For one that cannot be brought back. */
export function fromDocument({ json, meta }: Document, known?: Known): unknown {
  return meta === undefined ? json : new Reader(known).read(json, meta as Meta);
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

/** superjson's word for what a value is. */
type Type = string | readonly [string, string];
/** The types in a value: its own and those inside it by their paths, or only those. */
type Notes = readonly [Type] | readonly [Type, Notes] | { [path: string]: Notes };

interface Meta {
  readonly values?: Notes;
  readonly referentialEqualities?: unknown;
  readonly v?: number;
  readonly kinds?: readonly (readonly [kind: string, ...path: string[]])[];
}

/** What stands for a value. */
interface Written {
  readonly json: unknown;
  readonly notes?: Notes | undefined;
}

/** What is made of bytes, and comes back from base64. */
const BYTES = [
  "Uint8Array",
  "Int8Array",
  "Uint8ClampedArray",
  "Int16Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
  "BigInt64Array",
  "BigUint64Array",
  "Float16Array",
  "Float32Array",
  "Float64Array",
  "DataView",
  "ArrayBuffer",
  "SharedArrayBuffer",
];
const ERRORS = ["Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError"];
/** What an error has that is no property like others: not enumerable, mostly. */
const OF_ERRORS = ["name", "message", "stack", "cause"] as const;
/** The kind of objects without a prototype. */
const BARE = "null";

type Fields = Record<string, unknown>;

/** One walk through a value. */
class Writer {
  readonly #known: readonly Known[];
  /** Where it is: as superjson says it, and as people do. */
  readonly #path: string[] = [];
  readonly #shown: string[] = [];
  readonly #seen = new Map<object, { path: string[]; also: string[]; written: Written }>();
  readonly #kinds: [string, ...string[]][] = [];

  constructor(known: Known | undefined) {
    this.#known = known ? [known, SHARED] : [SHARED];
  }

  write(value: unknown): { json: unknown; meta?: Meta } {
    if (value === undefined) this.#refuse("undefined");
    const { json, notes } = this.#walk(value);
    const equal: Record<string, string[]> = {};
    let root: string[] | undefined;
    for (const { path, also } of this.#seen.values()) {
      if (also.length === 0) continue;
      if (path.length === 0) root = also;
      else equal[joined(path)] = also;
    }
    const others = Object.keys(equal).length > 0 ? equal : undefined;
    const meta: Meta = {
      ...(notes && { values: notes }),
      ...((root || others) && { referentialEqualities: root ? (others ? [root, others] : [root]) : others }),
      ...(this.#kinds.length > 0 && { kinds: this.#kinds }),
    };
    return Object.keys(meta).length > 0 ? { json, meta: { ...meta, v: 1 } } : { json };
  }

  #walk(value: unknown): Written {
    switch (typeof value) {
      case "string":
      case "boolean":
        return { json: value };
      case "number":
        if (Number.isFinite(value) && !Object.is(value, -0)) return { json: value };
        return { json: value === 0 ? "-0" : String(value), notes: ["number"] };
      case "bigint":
        return { json: String(value), notes: ["bigint"] };
      case "undefined":
        return { json: null, notes: ["undefined"] };
      case "object":
        break;
      default:
        this.#refuse(typeof value);
    }
    if (value === null) return { json: value };
    const before = this.#seen.get(value);
    if (before) {
      before.also.push(joined(this.#path));
      return before.written;
    }
    // What is met again inside itself is `null` there.
    const seen = { path: [...this.#path], also: [], written: { json: null } as Written };
    this.#seen.set(value, seen);
    seen.written = this.#object(value);
    return seen.written;
  }

  #object(value: object): Written {
    const prototype = Object.getPrototypeOf(value);
    const brand = Object.prototype.toString.call(value).slice(8, -1);
    if (BYTES.includes(brand)) return this.#bytes(value as ArrayBufferView | ArrayBuffer, brand);
    if (value instanceof URL && prototype === URL.prototype) return { json: value.href, notes: ["URL"] };
    if (prototype === null || isObject(prototype)) {
      if (prototype === null) this.#kinds.push([BARE, ...this.#path]);
      return this.#fields(value as Fields, Object.keys(value));
    }
    const name: unknown = prototype.constructor?.name;
    // An Array, Map or Error is one of the language's own, of whatever realm, where its class stands right above Object.
    const base = isObject(Object.getPrototypeOf(prototype));
    if (Array.isArray(value)) {
      const keys = Object.keys(value);
      if (base && keys.length === value.length) return this.#fields(value as unknown as Fields, keys);
      this.#refuse(base ? "an array with holes or properties" : "a subclass of Array");
    }
    if (brand === "Error") {
      const known = base ? name === "Error" : isObject(Object.getPrototypeOf(Object.getPrototypeOf(prototype)));
      if (known && ERRORS.includes(name as string)) return this.#error(value as Error, name as string);
    } else if (base && name === brand) {
      const written = this.#builtIn(value, brand);
      if (written) return written;
    }
    for (const { classRegistry } of this.#known) {
      const type = value.constructor;
      const identifier = prototype === type?.prototype && brand !== "Error" && classRegistry.getIdentifier(type);
      // Of a subclass of Map or Promise, say, only the properties would come back.
      if (!identifier || (brand !== "Object" && Object.hasOwn(globalThis, brand))) continue;
      const keys = classRegistry.getAllowedProps(type as never) ?? Object.keys(value);
      return this.#fields(value as Fields, keys, ["class", identifier]);
    }
    for (const { customTransformerRegistry } of this.#known) {
      const custom = customTransformerRegistry.findApplicable(value);
      if (!custom) continue;
      const json = custom.serialize(value);
      if (isPlain(json, new Set())) return { json, notes: [["custom", custom.name]] };
    }
    if (brand === "Promise") this.#refuse("promise");
    const named = Object.hasOwn(prototype, "constructor") && typeof name === "string" && name !== "";
    return this.#refuse(`an instance of ${named ? name : brand}`);
  }

  #builtIn(value: object, brand: string): Written | undefined {
    if (!/^(Date|Map|Set|RegExp)$/.test(brand)) return undefined;
    if (Object.keys(value).length > 0) this.#refuse(`a ${brand} with properties`);
    this.#noSymbols(value);
    if (brand === "Date") {
      const time = Date.prototype.getTime.call(value);
      return { json: Number.isNaN(time) ? "Invalid Date" : new Date(time).toISOString(), notes: ["Date"] };
    }
    if (brand === "RegExp") {
      if ((value as RegExp).lastIndex !== 0) this.#refuse("a RegExp with a lastIndex");
      return { json: String(value), notes: ["regexp"] };
    }
    const json: unknown[] = [];
    const inner: Record<string, Notes> = {};
    if (brand === "Set") {
      Set.prototype.forEach.call(value, (item) => {
        json.push(this.#inside(item, [`${json.length}`], "(item)", inner));
      });
    } else {
      Map.prototype.forEach.call(value, (item, key) => {
        const row = `${json.length}`;
        const first = this.#inside(key, [row, "0"], "(key)", inner);
        const shown = typeof key === "object" ? "(value)" : String(key);
        json.push([first, this.#inside(item, [row, "1"], shown, inner)]);
      });
    }
    return { json, notes: noted(brand.toLowerCase(), inner) };
  }

  /** The members of an object or array; of a type, if it is no plain one. */
  #fields(value: Fields, keys: readonly string[], type?: Type): Written {
    const json: Fields = Array.isArray(value) ? ([] as unknown as Fields) : {};
    const inner: Record<string, Notes> = {};
    this.#noSymbols(value);
    for (const key of keys) {
      // superjson's parse refuses to go through them.
      const item = value[key];
      if (key === "__proto__" || (/^(constructor|prototype)$/.test(key) && !isPlain(item, new Set()))) {
        this.#refuse("a property of this name", key);
      }
      json[key] = this.#inside(item, [key], key, inner);
    }
    return { json, notes: type ? noted(type, inner) : Object.keys(inner).length > 0 ? inner : undefined };
  }

  #error(value: Error, type: string): Written {
    const fields = { ...value } as Fields;
    const own = OF_ERRORS.filter((key) => Object.hasOwn(fields, key));
    for (const key of OF_ERRORS) if (Object.hasOwn(value, key)) fields[key] = value[key];
    fields.name = value.name;
    fields.message = value.message;
    for (const key of ["name", "message", "stack"]) {
      if (typeof (fields[key] ?? "") !== "string") this.#refuse(typeof fields[key], key);
    }
    if (Object.hasOwn(value, "name") && value.name === type) this.#refuse("a name of its own like its class's", "name");
    const kind = [type, ...own].join(" ");
    if (kind !== usualError(value.name)) this.#kinds.push([kind, ...this.#path]);
    return this.#fields(fields, Object.keys(fields), "Error");
  }

  #bytes(value: ArrayBufferView | ArrayBuffer, brand: string): Written {
    const name = value.constructor?.name;
    if (name !== brand && name !== "Buffer") this.#refuse(`an instance of ${name}`);
    const { resizable, growable } = value as { resizable?: boolean; growable?: boolean };
    if (resizable || growable) this.#refuse(`a resizable ${brand}`);
    const bytes = ArrayBuffer.isView(value)
      ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
      : new Uint8Array(value);
    this.#kinds.push([brand, ...this.#path]);
    return { json: toBase64(bytes) };
  }

  /** What stands for a value inside another; its notes are added to the other's. */
  #inside(value: unknown, path: string[], shown: string, inner: Record<string, Notes>): unknown {
    this.#path.push(...path);
    this.#shown.push(shown);
    const { json, notes } = this.#walk(value);
    this.#path.length -= path.length;
    this.#shown.length--;
    const at = joined(path);
    if (Array.isArray(notes)) inner[at] = notes;
    else for (const key in notes) inner[`${at}.${key}`] = (notes as Record<string, Notes>)[key] as Notes;
    return json;
  }

  #noSymbols(value: object): void {
    const [symbol] = Object.getOwnPropertySymbols(value);
    if (symbol) this.#refuse("a symbol key", String(symbol));
  }

  #refuse(what: string, ...inside: string[]): never {
    const path = [...this.#shown, ...inside].join(".");
    throw new TypeError(
      `cannot store ${path || this.#shown.length > 0 ? `the value at "${path}"` : "the value"}: ${what} is not serializable; accepted ` +
        "are JSON values, bytes, and what superjson knows, such as Date, Map, Set, BigInt, URL, and instances of superClasses",
    );
  }
}

/** A place in a document that something is said of. */
interface Place {
  readonly json: unknown;
  readonly inside: Map<string, Place>;
  type?: Type;
  kind?: string;
  /** Where the same value stands. */
  same?: Place;
  value?: unknown;
  made?: boolean;
}

/** Brings one document back. */
class Reader {
  readonly #known: readonly Known[];

  constructor(known: Known | undefined) {
    this.#known = known ? [known, SHARED] : [SHARED];
  }

  read(json: unknown, { values, referentialEqualities: equal, kinds = [], v = 0 }: Meta): unknown {
    const root = place(json);
    const legacy = v < 1;
    const note = (at: Place, notes: Notes): void => {
      const [type, inner] = Array.isArray(notes) ? notes : [undefined, notes as Record<string, Notes>];
      for (const path in inner) note(find(at, split(path, legacy)), inner[path] as Notes);
      if (type !== undefined) at.type = type;
    };
    if (values) note(root, values);
    for (const [kind, ...path] of kinds) find(root, path).kind = kind;
    const join = (same: Place, paths: readonly string[]): void => {
      for (const path of paths) {
        const other = first(find(root, split(path, legacy)));
        if (other !== first(same)) other.same = first(same);
      }
    };
    const [rootPaths, others] = Array.isArray(equal) ? equal : [[], equal];
    join(root, rootPaths);
    for (const path in others) join(find(root, split(path, legacy)), others[path]);
    return this.#make(root);
  }

  #make(given: Place): unknown {
    const at = first(given);
    if (!at.made) {
      at.made = true;
      this.#value(at);
    }
    return at.value;
  }

  /** Makes the value: first what others may refer to, then what is in it. */
  #value(at: Place): void {
    const { json, type, kind } = at;
    if (type === undefined) {
      at.value = json;
      if (kind === BARE) Object.setPrototypeOf(json, null);
      else if (kind !== undefined) at.value = toBytes(kind, json as string);
      this.#fill(at);
    } else if (type === "undefined") at.value = undefined;
    else if (type === "number") at.value = Number(json);
    else if (type === "bigint") at.value = BigInt(json as string);
    else if (type === "Date") at.value = new Date(json as string);
    else if (type === "URL") at.value = new URL(json as string);
    else if (type === "regexp") {
      const text = json as string;
      const end = text.lastIndexOf("/");
      at.value = new RegExp(text.slice(1, end), text.slice(end + 1));
    } else if (type === "set") {
      const set = new Set();
      at.value = set;
      for (const [i, item] of (json as unknown[]).entries()) set.add(this.#at(at, `${i}`, item));
    } else if (type === "map") {
      const map = new Map();
      at.value = map;
      for (const [i, row] of (json as unknown[]).entries()) {
        const [key, item] = this.#at(at, `${i}`, row) as [unknown, unknown];
        map.set(key, item);
      }
    } else if (type === "Error") this.#error(at);
    else this.#special(at, type);
  }

  #error(at: Place): void {
    const fields = at.json as Fields;
    const [name, ...own] = (at.kind ?? usualError(fields.name)).split(" ") as [string, ...string[]];
    if (!ERRORS.includes(name)) throw new TypeError("no known error");
    const error = new (globally(name))(fields.message) as Error;
    at.value = error;
    this.#fill(at);
    for (const key in fields) {
      const special = (OF_ERRORS as readonly string[]).includes(key);
      if (key === "name" && fields.name === name) continue;
      const value = fields[key];
      Object.defineProperty(error, key, {
        value,
        enumerable: !special || own.includes(key),
        writable: true,
        configurable: true,
      });
    }
    // superjson keeps none, and that of this place would mislead.
    if (fields.stack === undefined) error.stack = String(error);
  }

  /** What was registered with superjson, and its lists of numbers. */
  #special(at: Place, [type, name = ""]: Type): void {
    const json = at.json as never;
    if (type === "typed-array") {
      const kind = name === "Buffer" ? "Uint8Array" : name;
      if (!BYTES.includes(kind) || !Array.isArray(json)) throw new TypeError("no known typed array");
      at.value = new (globally(kind))(json);
      return;
    }
    for (const { classRegistry, customTransformerRegistry } of this.#known) {
      const known = type === "class" && classRegistry.getValue(name);
      const custom = type === "custom" && customTransformerRegistry.findByName(name);
      if (known) {
        at.value = Object.create(known.prototype);
        this.#fill(at);
        Object.assign(at.value as object, json);
        return;
      }
      if (custom) {
        this.#fill(at);
        at.value = custom.deserialize(json);
        return;
      }
    }
    throw new TypeError("no known type");
  }

  /** Puts what is in a place where its json holds what stands for it. */
  #fill({ json, inside }: Place): void {
    for (const [key, place] of inside) (json as Fields)[key] = this.#make(place);
  }

  #at({ inside }: Place, key: string, json: unknown): unknown {
    const place = inside.get(key);
    return place ? this.#make(place) : json;
  }
}

function place(json: unknown): Place {
  return { json, inside: new Map() };
}

/** The one of the places of a value that it is made at. */
function first(at: Place): Place {
  let one = at;
  while (one.same) one = one.same;
  return one;
}

/** The place at a path, through what is the same as something that stands elsewhere. @throws {SyntaxError} Where there is none. */
function find(from: Place, path: readonly string[]): Place {
  let at = from;
  for (const key of path) {
    at = first(at);
    let next = at.inside.get(key);
    if (!next) {
      const { json } = at;
      if (typeof json !== "object" || json === null || key === "__proto__" || !Object.hasOwn(json, key)) {
        throw new SyntaxError("a path leads nowhere");
      }
      next = place((json as Fields)[key]);
      at.inside.set(key, next);
    }
    at = next;
  }
  return at;
}

function noted(type: Type, inner: Record<string, Notes>): Notes {
  return Object.keys(inner).length > 0 ? [type, inner] : [type];
}

/** The kind of an error that only has a name: its class, and what is enumerable. */
function usualError(name: unknown): string {
  return ERRORS.includes(name as string) ? (name as string) : "Error name";
}

/** Whether it is the prototype of plain objects, in whatever realm. */
function isObject(prototype: object | null): boolean {
  return (
    prototype === Object.prototype ||
    (prototype !== null && Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf"))
  );
}

function toBytes(kind: string, base64: string): unknown {
  const bytes = fromBase64(base64);
  if (kind === "Uint8Array") return bytes;
  if (kind === "ArrayBuffer") return bytes.buffer;
  if (!BYTES.includes(kind)) throw new TypeError("no known kind");
  const type = globally(kind);
  if (kind !== "SharedArrayBuffer") return new type(bytes.buffer);
  const buffer = new type(bytes.length) as SharedArrayBuffer;
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

/** One of the language's classes. Newer ones are missing on older runtimes: then calling it throws. */
function globally(name: string): new (of: unknown) => unknown {
  return (globalThis as unknown as Record<string, new (of: unknown) => unknown>)[name] as never;
}

/** A path as superjson writes it. */
function joined(path: readonly string[]): string {
  return path.map((key) => key.replace(/[\\.]/g, "\\$&")).join(".");
}

/** The parts of superjson's path; in documents of before 2.2.3 a backslash stands for itself but before a point. */
function split(path: string, legacy: boolean): string[] {
  const parts = [""];
  path.replace(legacy ? /\\\.|[\s\S]/g : /\\[\\.]|[\s\S]/g, (sign) => {
    if (sign === ".") parts.push("");
    else parts.push(`${parts.pop()}${sign.at(-1)}`);
    return "";
  });
  return parts;
}
