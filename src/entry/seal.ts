/**
 * Encryption and compression of stored text, by WebCrypto and CompressionStream. Clients of the core take it as an option;
 * the other clients have it.
 *
 * A document `{"json":...,"meta":...}` becomes `"sealed":"<key id>.<base64>"`. The base64 holds the initialization vector,
 * the ciphertext and the tag of AES-GCM; `~` instead of the point means that the text inside is compressed. Without keys,
 * a document that is compressed becomes `"packed":"<base64>","size":<its bytes>`: some runtimes do not report that what
 * they inflate was cut short. The associated data are the part before the base64 and what the value is bound to, its key:
 * no value opens under another key.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder/core";
 * import { memory } from "@foodfast/larder/drivers/memory";
 * import { sealing } from "@foodfast/larder/sealing";
 *
 * await using client = createCacheClient({ driver: memory(), sealing, compressAbove: 1000 });
 * await client.cache().set("menu", "pho ".repeat(1000)); // is stored compressed
 * ```
 *
 * @module
 */
import { type Bytes, fromBase64, toBase64 } from "../base/base64.ts";

/** Keys that stored values are encrypted with. */
export interface EncryptionOptions {
  /**
   * Keys by id: 16 or 32 random bytes each, as Uint8Array or as base64 of either alphabet. An id is stored beside what its
   * key encrypted: 1 to 40 letters, digits, `_` and `-`. Keys other than the current one read older values.
   */
  readonly keys: Readonly<Record<string, string | Uint8Array>>;
  /**
   * The id of the key that writes. @default the first of `keys`; say it where ids are whole numbers, which JavaScript sorts
   */
  readonly current?: string;
}

/** Checked keys, from {@linkcode keyRing}. */
export interface KeyRing {
  /** The id of the key that writes. */
  readonly current: string;
  /** The `CryptoKey` of an id; `undefined` for an unknown one. Not every application has types of such keys. */
  key(id: string): Promise<object | undefined>;
}

/** What {@linkcode seal} and {@linkcode open} do. */
export interface SealOptions {
  /** The keys to encrypt with. @default none: nothing is encrypted */
  readonly ring?: KeyRing | undefined;
  /**
   * How many characters a document must have to be compressed. The size of what is compressed tells a little of what is in
   * it, encrypted or not. @default none: nothing is compressed
   */
  readonly compressAbove?: number | undefined;
}

/** Encryption and compression, for the clients that have them. */
export interface Sealing {
  /** As {@linkcode keyRing}. */
  readonly keyRing: typeof keyRing;
  /** As {@linkcode seal}. */
  readonly seal: typeof seal;
  /** As {@linkcode open}. */
  readonly open: typeof open;
}

/** The most bytes that a value may inflate to. */
const MAX = 2 ** 26;
/** Inflated, this is 1032 times as much at the most. */
const SLICE = 2 ** 16;

/**
 * Checks keys and holds them, to be imported when first used.
 *
 * @param options The keys.
 * @returns The keys, for {@linkcode seal} and {@linkcode open}.
 * @throws {TypeError} For no keys, ids and keys of another form or length, and a `current` that is none of them. The message
 * names the key's id and holds nothing of the key.
 */
export function keyRing({ keys, current }: EncryptionOptions): KeyRing {
  // Imported keys, not promises of them: on Workers a promise belongs to the request that made it.
  const ring = new Map<string, Bytes | CryptoKey>();
  for (const id in keys) {
    const named = /^[\w-]{1,40}$/.test(id);
    const bytes = keyBytes(keys[id]);
    if (!named || (bytes.length !== 16 && bytes.length !== 32)) {
      // An id of another form is not shown: it may be a key in the wrong place.
      throw new TypeError(
        `cannot use the encryption key ${named ? id : "of this id"}: accepted are 16 or 32 bytes or their base64, by ids of letters, digits, _ and -`,
      );
    }
    ring.set(id, bytes);
    current ??= id;
  }
  if (current === undefined || !ring.has(current)) {
    throw new TypeError("cannot use the current encryption key: accepted are the ids of keys");
  }
  return {
    current,
    async key(id) {
      let key = ring.get(id);
      if (key instanceof Uint8Array) {
        key = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]);
        ring.set(id, key);
      }
      return key;
    },
  };
}

/**
 * Encrypts or compresses a document.
 *
 * @param document The text of an object, `{"json":...}`, as JSON.stringify writes it.
 * @param options What to do.
 * @param boundTo What the text belongs to, such as its key: it opens with the same only.
 * @returns The members that take the place of the document's: `"sealed":"..."` or `"packed":"...","size":...`, or its
 * own where compressing saves less than base64 adds. `undefined` when there is nothing to do: the document is small,
 * and there are no keys.
 */
export function seal(document: string, options: SealOptions, boundTo: string): Promise<string> | undefined {
  const { ring, compressAbove = Number.POSITIVE_INFINITY } = options;
  const large = document.length >= compressAbove;
  return ring || large ? write(document, large, ring, boundTo) : undefined;
}

async function write(document: string, large: boolean, ring: KeyRing | undefined, boundTo: string): Promise<string> {
  let bytes: Bytes = new TextEncoder().encode(document);
  let mark = ".";
  if (large && bytes.length <= MAX) {
    try {
      // Base64 adds a third, and the member's name some more.
      bytes = await pump(bytes, new CompressionStream("deflate-raw"), bytes.length * 0.75 - 9);
      mark = "~";
    } catch {
      // It saves too little, or the runtime cannot: then it is stored as it is.
    }
  }
  if (!ring) return mark === "~" ? `"packed":"${toBase64(bytes)}","size":${bytes.length}` : document.slice(1, -1);
  const head = ring.current + mark;
  const iv = crypto.getRandomValues(new Uint8Array(12));
  bytes = await crypt("encrypt", ring, ring.current, iv, head + boundTo, bytes);
  // 12 bytes are 16 characters without padding, so the two can be joined.
  return `"sealed":"${head}${toBase64(iv)}${toBase64(bytes)}"`;
}

/**
 * Brings a document back.
 *
 * @param document The stored text's `sealed`, or `packed` and, where it is not of an older version, `size`.
 * @param options The keys.
 * @param boundTo What the text was bound to.
 * @returns The document's text.
 * @throws {Error} When the key is unknown or another, when the text was changed, moved or cut short, or inflates beyond
 * 64 MiB, and where the runtime cannot decompress. No message holds any of a key or of the text.
 */
export async function open(
  { sealed, packed, size }: { readonly sealed?: unknown; readonly packed?: unknown; readonly size?: unknown },
  { ring }: SealOptions,
  boundTo: string,
): Promise<string> {
  const text = String(sealed ?? packed);
  const [head = "", id = ""] = (sealed !== undefined && /^([\w-]{1,40})[.~]/.exec(text)) || [];
  try {
    let bytes = fromBase64(text.slice(head.length));
    if (sealed === undefined) {
      if (size !== undefined && size !== bytes.length) throw new Error("it was cut short");
    } else {
      bytes = await crypt("decrypt", ring, id, bytes.subarray(0, 12), head + boundTo, bytes.subarray(12));
    }
    if (!head.endsWith(".")) bytes = await pump(bytes, new DecompressionStream("deflate-raw"), MAX);
    return new TextDecoder().decode(bytes);
  } catch (cause) {
    throw new Error(`cannot open a value${id && ` sealed with the key ${id}`}: ${(cause as Error).message}`);
  }
}

async function crypt(
  verb: "encrypt" | "decrypt",
  ring: KeyRing | undefined,
  id: string,
  iv: Bytes,
  bound: string,
  bytes: Bytes,
): Promise<Bytes> {
  const key = await ring?.key(id);
  if (!key) throw new Error("there is no such key");
  const additionalData = new TextEncoder().encode(bound);
  try {
    return new Uint8Array(await crypto.subtle[verb]({ name: "AES-GCM", iv, additionalData }, key as CryptoKey, bytes));
  } catch {
    throw new Error("the key is another, or the value changed or moved");
  }
}

/** Sends bytes through a stream. @throws {Error} When more than `max` come out. */
async function pump(bytes: Bytes, through: CompressionStream | DecompressionStream, max: number): Promise<Bytes> {
  let at = 0;
  const source = new ReadableStream<Bytes>({
    async pull(controller) {
      // Some runtimes inflate all that they are given before it is read: give them more when that was.
      if (at > 0 && through instanceof DecompressionStream) await new Promise((resolve) => setTimeout(resolve));
      controller.enqueue(bytes.subarray(at, at + SLICE));
      at += SLICE;
      if (at >= bytes.length) controller.close();
    },
  });
  const chunks: Bytes[] = [];
  for await (const chunk of source.pipeThrough(through)) {
    chunks.push(chunk);
    max -= chunk.length;
    if (max < 0) throw new Error("it is too large");
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

/** The bytes of a key, copied; none where it is of another form. */
function keyBytes(key: unknown): Bytes {
  try {
    return typeof key === "string"
      ? fromBase64(key.replaceAll("-", "+").replaceAll("_", "/"))
      : Uint8Array.from(key as Uint8Array);
  } catch {
    return new Uint8Array();
  }
}

/** Encryption and compression: the option `sealing` of clients of the core. */
export const sealing: Sealing = { keyRing, seal, open };
