/**
 * Writes a value in superjson's format, or refuses it with the path of the part that would not come back equal.
 *
 * The document is the one that superjson itself writes with `dedupe`, with which the tests compare it, except that
 *
 * - bytes are base64, because superjson writes lists of numbers, and cannot read a Buffer, a BigInt64Array or a NaN
 *   among floats;
 * - a repeated value is written again if superjson's reader could not link it to its first occurrence: in a Set, as the
 *   key of a Map, in an error or an instance of a class;
 * - `meta.kinds` lists the values that superjson's format cannot hold.
 */
import { toBase64 } from "../base/base64.ts";
import { invalid } from "../base/check.ts";
import { BARE, BYTES, ERROR, ERRORS, type Kind, NO_DATE, SAME } from "./kinds.ts";

/** The stored form of the instances of a class: its identifier, and the properties if not all. */
export interface StoredClass {
  readonly identifier: string;
  readonly allowProps?: readonly string[] | undefined;
}

/** The part of a document that JSON alone would lose: superjson's annotations, and the kinds. */
export interface Meta {
  readonly values?: Notes | Note;
  readonly referentialEqualities?: unknown;
  readonly v?: number;
  readonly kinds?: readonly Kind[];
}

/** superjson's annotation of a value: its type, and the notes of the values inside it. */
type Note = [type: unknown, inner?: Notes];
/** Notes by path, from the closest annotated value around them. */
type Notes = Record<string, Note>;

type Fields = Record<string, unknown>;

/** Writes one value. Each value needs a writer of its own. */
export class ValueWriter {
  readonly #classes: ReadonlyMap<unknown, StoredClass>;
  readonly #kinds: Kind[] = [];
  /** The current path: as the format has it, and as messages show it. */
  readonly #path: string[] = [];
  readonly #shown: string[] = [];
  /** The note of the whole value, the notes around the current path, and the length of the path that they start at. */
  #root: Note | undefined;
  #notes: Notes = {};
  #start = 0;
  /** The paths of each object. superjson links repeated bigints and NaN too. */
  readonly #paths = new Map<unknown, string[]>();
  /** The text of bytes, and the index of their kind. */
  readonly #texts = new Map<object, readonly [text: string, kind: number]>();
  /** The objects around the current path. */
  readonly #open = new Set<object>();
  /** The number of them that are errors or instances, inside which superjson links nothing. */
  #apart = 0;

  /** @param classes The classes to accept. */
  constructor(classes: ReadonlyMap<unknown, StoredClass>) {
    this.#classes = classes;
  }

  /**
   * Writes the value.
   *
   * @param value Any value; it is not changed.
   * @returns The parts of the document; `meta` only if JSON alone loses something.
   * @throws {TypeError} If a part of the value cannot be stored.
   */
  write(value: unknown): { json: unknown; meta?: Meta } {
    if (value === undefined) this.#refuse("undefined");
    const json = this.#json(value);
    const values = this.#root ?? (isEmpty(this.#notes) ? undefined : this.#notes);
    const equalities: Record<string, string[]> = {};
    let ofRoot: string[] | undefined;
    for (const [met, [first, ...others]] of this.#paths) {
      if (others.length === 0) continue;
      if (met === value) ofRoot = others;
      else equalities[first as string] = others;
    }
    const noEqualities = isEmpty(equalities);
    const referentialEqualities = ofRoot ? [ofRoot, ...(noEqualities ? [] : [equalities])] : equalities;
    const meta = {
      ...(values && { values }),
      ...((ofRoot || !noEqualities) && { referentialEqualities }),
      ...(this.#kinds.length > 0 && { kinds: this.#kinds }),
    };
    return isEmpty(meta) ? { json } : { json, meta: { ...meta, v: 1 } };
  }

  /** `apart`: superjson could not link the value to its first occurrence here. */
  #json(value: unknown, apart = this.#apart > 0): unknown {
    const type = typeof value;
    if (type === "string" || type === "boolean" || value === null) return value;
    if (type === "function" || type === "symbol") this.#refuse(type);
    if (type === "undefined") {
      this.#note(type);
      return null;
    }
    if (type === "number" && !Number.isNaN(value)) {
      if (Number.isFinite(value) && !Object.is(value, -0)) return value;
      this.#note(type);
      return value === 0 ? "-0" : String(value);
    }
    const paths = this.#paths.get(value);
    if (paths && !apart) {
      paths.push(this.#pathText());
      return null;
    }
    if (type !== "object") {
      if (paths) this.#kind(type);
      else this.#note(type, value);
      return String(value);
    }
    if (this.#open.has(value as object))
      this.#refuse("what holds itself through a Set, a key, an error or an instance");
    this.#open.add(value as object);
    const json = this.#object(value as object);
    this.#open.delete(value as object);
    return json;
  }

  #object(value: object): unknown {
    const prototype = Object.getPrototypeOf(value);
    const brand = Object.prototype.toString.call(value).slice(8, -1);
    if (BYTES.test(brand)) return this.#bytes(value as ArrayBufferView | ArrayBuffer, brand);
    if (prototype === null || isObjectPrototype(prototype)) {
      if (prototype === null) this.#kind(BARE);
      return this.#fields(value, Object.keys(value), {});
    }
    if (value instanceof URL && prototype === URL.prototype) return this.#whole("URL", value, value.href);
    const name: unknown = prototype.constructor?.name;
    // An Array, Map or Error is the language's own, of any realm, if its class inherits directly from Object.
    const above = Object.getPrototypeOf(prototype);
    const keys = Object.keys(value);
    if (Array.isArray(value)) {
      if (isObjectPrototype(above) && keys.length === value.length) return this.#fields(value, keys, []);
      this.#refuse(isObjectPrototype(above) ? "an array with holes or properties" : "a subclass of Array");
    }
    if (brand === "Error") {
      const own = isObjectPrototype(name === "Error" ? above : above && Object.getPrototypeOf(above));
      if (own && ERRORS.test(name as string)) return this.#error(value as Error, name as string, keys);
    } else if (isObjectPrototype(above) && name === brand && /^(Date|RegExp|Map|Set)$/.test(brand)) {
      this.#noSymbols(value);
      if (keys.length > 0) this.#refuse(`a ${brand} with properties`);
      return this.#builtIn(value as never, brand);
    }
    const type = value.constructor;
    // Of a subclass of Map or Promise, for example, only the properties would come back.
    if (prototype === type?.prototype && (brand === "Object" || !Object.hasOwn(globalThis, brand))) {
      const stored = this.#classes.get(type);
      if (stored) {
        const { identifier, allowProps = keys } = stored;
        return this.#within(["class", identifier], value, () => this.#fields(value, allowProps, {}), 1);
      }
    }
    if (brand === "Promise") this.#refuse("promise");
    const named = Object.hasOwn(prototype, "constructor") && typeof name === "string" && name !== "";
    return this.#refuse(`an instance of ${named ? name : brand}`);
  }

  /** Writes the members of an object or array into its json. */
  #fields(value: object, keys: readonly string[], json: object): object {
    this.#noSymbols(value);
    this.#met(value);
    for (const key of keys) {
      // superjson refuses paths with these names.
      if (/^(__proto__|constructor|prototype)$/.test(key)) this.#refuse("a property of this name", key);
      (json as Fields)[key] = this.#inside((value as Fields)[key], [key], key);
    }
    return json;
  }

  #builtIn(value: Date & RegExp & Map<unknown, unknown>, brand: string): unknown {
    if (brand === "Date") {
      const copy = new Date(Date.prototype.getTime.call(value));
      if (!Number.isNaN(copy.getTime())) return this.#whole(brand, value, copy.toISOString());
      this.#kind(NO_DATE);
      return NO_DATE;
    }
    if (brand === "RegExp") {
      if (value.lastIndex !== 0) this.#refuse("a RegExp with a lastIndex");
      return this.#whole("regexp", value, String(new RegExp(value)));
    }
    const rows: unknown[] = [];
    return this.#within(brand.toLowerCase(), value, () => {
      if (brand === "Set") {
        Set.prototype.forEach.call(value, (item) => {
          rows.push(this.#inside(item, [`${rows.length}`], "(item)", true));
        });
      } else {
        Map.prototype.forEach.call(value, (item, key) => {
          const row = `${rows.length}`;
          const shown = typeof key === "object" ? "(value)" : String(key);
          rows.push([this.#inside(key, [row, "0"], "(key)", true), this.#inside(item, [row, "1"], shown)]);
        });
      }
      return rows;
    });
  }

  #error(value: Error, type: string, keys: readonly string[]): unknown {
    this.#noSymbols(value);
    for (const key of keys) if (key !== "name") this.#refuse("a property of an error", key);
    const { name, message, stack } = value;
    for (const [key, text] of Object.entries({ name, message, stack })) {
      if (typeof text !== "string") this.#refuse(typeof text, key);
    }
    if (Object.hasOwn(value, "name") && (name === type || keys.length === 0)) this.#refuse("a name", "name");
    const caused = Object.hasOwn(value, "cause");
    this.#kind(`${ERROR}${type}${caused ? " cause" : ""}`);
    const write = (): unknown => ({
      name,
      message,
      ...(caused && { cause: this.#inside(value.cause, ["cause"], "cause") }),
      stack,
    });
    return this.#within("Error", value, write, 1);
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
    this.#kind(known ? SAME + kind : brand);
    return text;
  }

  /** Notes a value that superjson reads from its text alone. */
  #whole(type: string, value: object, text: string): string {
    this.#note(type, value);
    return text;
  }

  /**
   * Notes a type at the current path, and in its note the types of the values inside. `apart` is 1 for errors and
   * instances: once superjson has made them, it no longer changes their contents.
   */
  #within(type: unknown, value: object, write: () => unknown, apart = 0): unknown {
    const note = this.#note(type, value);
    const [notes, start] = [this.#notes, this.#start];
    this.#notes = {};
    this.#start = this.#path.length;
    this.#apart += apart;
    const json = write();
    this.#apart -= apart;
    if (!isEmpty(this.#notes)) note.push(this.#notes);
    this.#notes = notes;
    this.#start = start;
    return json;
  }

  /** Notes a type at the current path, and the path of the value if it can occur again. */
  #note(type: unknown, value?: unknown): Note {
    const note: Note = [type];
    if (this.#path.length === 0) this.#root = note;
    else this.#notes[this.#pathText(this.#start)] = note;
    if (value !== undefined) this.#met(value);
    return note;
  }

  #inside(value: unknown, path: string[], shown: string, apart?: boolean): unknown {
    this.#path.push(...path);
    this.#shown.push(shown);
    const json = this.#json(value, apart);
    this.#path.length -= path.length;
    this.#shown.length--;
    return json;
  }

  #met(value: unknown): void {
    if (!this.#paths.has(value)) this.#paths.set(value, [this.#pathText()]);
  }

  #kind(kind: string): void {
    this.#kinds.push([kind, ...this.#path]);
  }

  /** Returns the current path as superjson writes it. */
  #pathText(start = 0): string {
    return this.#path
      .slice(start)
      .map((key) => key.replace(/[\\.]/g, "\\$&"))
      .join(".");
  }

  #noSymbols(value: object): void {
    const [symbol] = Object.getOwnPropertySymbols(value);
    if (symbol) this.#refuse("a symbol key", String(symbol));
  }

  #refuse(what: string, ...inside: string[]): never {
    const path = [...this.#shown, ...inside].join(".");
    const where = this.#shown.length > 0 || path ? ` at "${path}"` : "";
    throw invalid(`store the value${where}`, undefined, STORABLE, TypeError, what);
  }
}

const STORABLE =
  "JSON values, bytes, and what superjson knows, such as Date, Map, Set, BigInt, URL, and instances of superClasses";

function isEmpty(object: object): boolean {
  return Object.keys(object).length === 0;
}

/** Returns whether it is the prototype of plain objects, of any realm. */
function isObjectPrototype(prototype: object | null): boolean {
  return (
    prototype === Object.prototype ||
    (prototype !== null && Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf"))
  );
}
