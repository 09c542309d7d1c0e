/**
 * Encryption and compression of stored text, by WebCrypto and CompressionStream. It is an option of clients of
 * the core. The other clients include it.
 *
 * A document `{"json":...,"meta":...}` becomes `"sealed":"<key id>.<base64>"`. The base64 holds the initialization
 * vector, the ciphertext and the tag of AES-GCM; `~` instead of the point means that the text inside is compressed.
 * Without keys, a compressed document becomes `"packed":"<base64>","size":<its bytes>`. The size is stored because some
 * runtimes do not report that the data they inflate were cut short. The associated data are the part before the base64,
 * and the key that the value belongs to, so that no value opens under another key.
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
import { invalidType } from "../base/check.ts";

/** The keys that encrypt stored values. */
export interface EncryptionOptions {
  /**
   * The keys by id: 16 or 32 random bytes each, as Uint8Array or as base64 of either alphabet. An id has 1 to 40
   * letters, digits, `_` and `-`, and is stored with each value. All keys but the current one only read older values.
   */
  readonly keys: Readonly<Record<string, string | Uint8Array>>;
  /** The id of the key that writes. @default the first of `keys`, which JavaScript sorts if they are whole numbers */
  readonly current?: string;
}

/** Checked keys, from {@linkcode keyRing}. */
export interface KeyRing {
  /** The id of the key that writes. */
  readonly current: string;
  /** Returns the `CryptoKey` of an id, if there is one. Not every application has types of such keys. */
  key(id: string): Promise<object | undefined>;
}

/** Options of {@linkcode seal} and {@linkcode open}. */
export interface SealOptions {
  /** The keys to encrypt with. @default none: nothing is encrypted */
  readonly ring?: KeyRing | undefined;
  /**
   * The characters that a document must have to be compressed. The size of compressed text reveals a little of its
   * content, also if it is encrypted. @default none: nothing is compressed
   */
  readonly compressAbove?: number | undefined;
}

/** The functions for encryption and compression. */
export interface Sealing {
  /** See {@linkcode keyRing}. */
  readonly keyRing: typeof keyRing;
  /** See {@linkcode seal}. */
  readonly seal: typeof seal;
  /** See {@linkcode open}. */
  readonly open: typeof open;
}

/** The most bytes that a value may inflate to. */
const MAX = 2 ** 26;
/** The bytes that are inflated at a time: at most 1032 times as many come out. */
const SLICE = 2 ** 16;

/**
 * Checks keys and holds them. WebCrypto imports each when it is first used.
 *
 * @param options The keys.
 * @returns The keys, for {@linkcode seal} and {@linkcode open}.
 * @throws {TypeError} If there are no keys, or an id, a key or `current` is not of the expected form. The message has
 * the id of the key, but no part of the key.
 */
export function keyRing({ keys, current }: EncryptionOptions): KeyRing {
  // It holds imported keys instead of promises, because a promise belongs to one request on Workers.
  const ring = new Map<string, Bytes | CryptoKey>();
  for (const id in keys) {
    const named = /^[\w-]{1,40}$/.test(id);
    const bytes = keyBytes(keys[id]);
    if (!named || (bytes.length !== 16 && bytes.length !== 32)) {
      // An id of another form is not shown, because it may be a key in the wrong place.
      const action = `use the encryption key ${named ? id : "of this id"}`;
      throw invalidType(action, keys[id], "16 or 32 bytes or their base64, by ids of letters, digits, _ and -");
    }
    ring.set(id, bytes);
    current ??= id;
  }
  if (current === undefined || !ring.has(current)) {
    throw invalidType("choose the current encryption key", current, "the id of one of the keys");
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
 * @param options The keys, and the size to compress from.
 * @param boundTo The owner of the text, such as its key: the text opens for the same owner only.
 * @returns The members to store instead of the document's: `"sealed":"..."` or `"packed":"...","size":...`, or its own
 * if compressing saves less than base64 adds. `undefined` if there is nothing to do: the document is small, and there
 * are no keys.
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
      // Base64 adds a third, and the name of the member a little.
      bytes = await pump(bytes, new CompressionStream("deflate-raw"), bytes.length * 0.75 - 9);
      mark = "~";
    } catch {
      // It saves too little, or the runtime cannot compress. The document stays uncompressed.
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
 * Decrypts or decompresses a document.
 *
 * @param document The stored `sealed`, or `packed` and `size`, which texts of older versions do not have.
 * @param options The keys.
 * @param boundTo The owner that the text was sealed for.
 * @returns The text of the document.
 * @throws {Error} If the key is unknown or different, if the text was changed, moved or cut short, if it inflates
 * beyond 64 MiB, or if the runtime cannot decompress. No message holds a part of a key or of the text.
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
    throw new Error(`Cannot open a value${id && ` sealed with the key ${id}`}: ${(cause as Error).message}`);
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
  if (!key) throw new Error("the key is unknown");
  const additionalData = new TextEncoder().encode(bound);
  try {
    return new Uint8Array(await crypto.subtle[verb]({ name: "AES-GCM", iv, additionalData }, key as CryptoKey, bytes));
  } catch {
    throw new Error("the key is different, or the value was changed or moved");
  }
}

/** Sends bytes through a stream. @throws {Error} If more than `max` come out. */
async function pump(bytes: Bytes, through: CompressionStream | DecompressionStream, max: number): Promise<Bytes> {
  let at = 0;
  const source = new ReadableStream<Bytes>({
    async pull(controller) {
      // Some runtimes inflate all input before the output is read, so they get more only after a turn of the event
      // loop.
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

/** Returns a copy of the bytes of a key, empty if it is of another form. */
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
