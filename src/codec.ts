/**
 * Values as text, in superjson's format: `{"json":...}`, with `meta` where JSON alone would lose something.
 *
 * Most cached values are plain JSON. For them {@linkcode encode} writes the same document as superjson without its walk,
 * which takes longer than the rest of a write. Everything else goes through superjson itself.
 */
import superjson from "superjson";

/**
 * Turns a value into a superjson document.
 *
 * @param value Any value that superjson can bring back; not `undefined`, functions or symbols.
 * @returns The document.
 * @throws {TypeError} For what cannot be stored, with its path.
 */
export function encode(value: unknown): string {
  if (isPlain(value, new Set())) return `{"json":${JSON.stringify(value)}}`;
  assertStorable(value, "", new Set());
  try {
    return superjson.stringify(value);
  } catch (cause) {
    throw new TypeError(
      `cannot store the value: ${cause instanceof Error ? cause.message : "it is not serializable"}`,
      {
        cause,
      },
    );
  }
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

/** The value of a document. */
export function fromDocument(document: Document): unknown {
  return document.meta === undefined ? document.json : superjson.deserialize(document as never, { inPlace: true });
}

/**
 * Turns a superjson document back into its value.
 *
 * @param text The document, or a counter's bare integer.
 * @returns The value.
 * @throws {SyntaxError} When the text is no such document.
 */
export function decode(text: string): unknown {
  const document = parse(text);
  return typeof document === "number" ? document : fromDocument(document);
}

/** Whether JSON.stringify alone keeps all of the value: superjson would add no `meta`. */
function isPlain(value: unknown, seen: Set<object>): boolean {
  if (typeof value === "string" || typeof value === "boolean" || value === null) return true;
  if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0);
  if (typeof value !== "object" || seen.has(value)) return false;
  seen.add(value);
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isPlain(value[i], seen)) return false;
    return true;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  for (const key in value) if (!isPlain((value as Record<string, unknown>)[key], seen)) return false;
  return true;
}

/** superjson drops functions and symbols without a word; a cache must not. */
function assertStorable(value: unknown, path: string, seen: Set<unknown>): void {
  const type = value instanceof Promise ? "promise" : typeof value;
  if (/^(function|symbol|promise)$/.test(type) || (value === undefined && seen.size === 0)) {
    throw new TypeError(
      `cannot store ${path ? `the value at "${path}"` : "the value"}: ${type} is not serializable; ` +
        "accepted are JSON values and what superjson knows, such as Date, Map, Set, BigInt and URL",
    );
  }
  if (type !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  const at = (key: unknown): string => (path ? `${path}.${String(key)}` : String(key));
  if (value instanceof Map) {
    for (const [key, item] of value) {
      assertStorable(key, at("(key)"), seen);
      assertStorable(item, at(typeof key === "object" ? "(value)" : key), seen);
    }
  } else if (value instanceof Set) {
    for (const item of value) assertStorable(item, at("(item)"), seen);
  } else if (!ArrayBuffer.isView(value)) {
    for (const [key, item] of Object.entries(value as object)) assertStorable(item, at(key), seen);
  }
}
