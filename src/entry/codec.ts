/**
 * Values as text, in superjson's format: `{"json":...}`, with `meta` if JSON alone would lose something.
 *
 * Most cached values are plain JSON. For them {@linkcode encode} is JSON.stringify after one look at the value: that is
 * the document that superjson would write after a longer walk, and {@linkcode decode} is JSON.parse. {@linkcode ValueWriter}
 * writes everything else, and superjson reads it.
 */
import { describe, refuse } from "../base/check.ts";
import { ERROR, revive, toError, withErrors } from "./kinds.ts";
import type { KeyRing, Sealing, SealOptions } from "./seal.ts";
import { SuperJSON } from "./superjson.ts";
import { type Meta, type StoredClasses, ValueWriter } from "./value_writer.ts";

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

/** The values that one client can store. */
export interface Known {
  /** For {@linkcode ValueWriter}. */
  readonly classes: StoredClasses;
  /** superjson with the classes, which reads. */
  readonly superjson: SuperJSON;
  /** Encryption and compression, if the client has them. */
  readonly sealing: Sealing | undefined;
}

/**
 * Registers the classes of one client.
 *
 * @param classes The classes.
 * @param sealing Encryption and compression, if the client has them.
 * @returns The argument for {@linkcode encode} and {@linkcode decode}.
 * @throws {TypeError} If one is not a class, is there twice, or has the identifier of another.
 */
export function knowClasses(classes: readonly SuperClass[] = [], sealing?: Sealing): Known {
  const superjson = new SuperJSON();
  superjson.registerCustom(
    { isApplicable: (_): _ is never => false, serialize: String, deserialize: toError as never },
    ERROR,
  );
  const stored = new Map<unknown, { identifier: string; allowProps?: readonly string[] }>();
  if (!Array.isArray(classes)) refuse(`superClasses ${describe(classes)}`, "lists of classes");
  for (const entry of classes) {
    const [type, options] = (Array.isArray(entry) ? entry : [entry]) as [AnyClass, Exclude<SuperClass, AnyClass>[1]?];
    if (typeof type !== "function" || !type.prototype) refuse(`${describe(type)} in superClasses`, "classes");
    const entryOptions = {
      identifier: type.name,
      ...(typeof options === "string" ? { identifier: options } : options),
    };
    const { identifier } = entryOptions;
    if (!identifier || stored.has(type) || superjson.classRegistry.getValue(identifier)) {
      refuse(`the identifier ${describe(identifier)} in superClasses`, "one for each class: [class, identifier]");
    }
    stored.set(type, entryOptions);
    superjson.registerClass(type as never, identifier);
  }
  return { classes: stored, superjson, sealing };
}

/** Returns the encryption and compression of a client. @throws {TypeError} If it has none. */
export function sealingOf({ sealing }: Known): Sealing {
  return sealing ?? refuse("encryption and compressAbove", "clients of the core with the option sealing");
}

/** Returns the options to seal values with. @throws {TypeError} If there are some, and the client cannot seal. */
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
  return new ValueWriter(known.classes).write(value);
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
  const errors = revive(root, kinds);
  return known.superjson.deserialize(
    { json: root.json as never, meta: (errors ? { ...meta, values: withErrors(values) } : meta) as never },
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

/** superjson without classes of the application. */
const STANDARD = knowClasses();
