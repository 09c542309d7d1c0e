/** Keys and values as JSON and as lines of text. */
import { fromBase64, toBase64 } from "../base/base64.ts";
import { serialize } from "../entry/codec.ts";

/** Returns a key as JSON: text unchanged, bytes that are not UTF-8 as `{ base64 }`. */
export function keyToJson(key: string | Uint8Array): string | { base64: string } {
  return typeof key === "string" ? key : { base64: toBase64(key) };
}

/** Returns a value as JSON: bytes as `{ base64 }`, and types that JSON lacks as they are stored, with `meta`. */
export function valueToJson(value: unknown): { value: unknown; meta?: unknown } {
  const { json, meta } = serialize(withoutBytes(value));
  return { value: json ?? null, ...(meta !== undefined && { meta }) };
}

function withoutBytes(value: unknown): unknown {
  if (value instanceof Uint8Array) return keyToJson(value);
  return Array.isArray(value) ? value.map(withoutBytes) : value;
}

/** Returns the bytes of base64; `undefined` if the text is not base64. */
export function bytesOf(base64: string): Uint8Array | undefined {
  try {
    return fromBase64(base64);
  } catch {
    return undefined;
  }
}

/** Returns bytes as a line of text, as `redis-cli` shows them. */
export function shownBytes(data: Uint8Array): string {
  return [...data]
    .map((byte) => {
      if (byte === 0x5c) return "\\\\";
      return byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
    })
    .join("");
}
