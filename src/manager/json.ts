/** Keys and values for people and for JSON. */
import { fromBase64, toBase64 } from "../base/base64.ts";
import { serialize } from "../entry/codec.ts";

/** Text as it is; bytes that are not UTF-8 as `{ base64 }`. */
export function keyToJson(key: string | Uint8Array): string | { base64: string } {
  return typeof key === "string" ? key : { base64: toBase64(key) };
}

/** A value as JSON: bytes as `{ base64 }`, what JSON has no word for as it is stored, with `meta`. */
export function valueToJson(value: unknown): { value: unknown; meta?: unknown } {
  const { json, meta } = serialize(withoutBytes(value));
  return { value: json ?? null, ...(meta !== undefined && { meta }) };
}

function withoutBytes(value: unknown): unknown {
  if (value instanceof Uint8Array) return keyToJson(value);
  return Array.isArray(value) ? value.map(withoutBytes) : value;
}

/** Bytes of base64; `undefined` for what is none. */
export function bytesOf(base64: string): Uint8Array | undefined {
  try {
    return fromBase64(base64);
  } catch {
    return undefined;
  }
}

/** Bytes as a line of text, as `redis-cli` shows them. */
export function shownBytes(data: Uint8Array): string {
  return [...data]
    .map((byte) => {
      if (byte === 0x5c) return "\\\\";
      return byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
    })
    .join("");
}
