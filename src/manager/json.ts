/** Keys and values for people and for JSON. */
import { serialize } from "../codec.ts";

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
export function fromBase64(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/** Bytes in base64. */
export function toBase64(data: Uint8Array): string {
  let binary = "";
  // As many arguments as every engine takes.
  for (let at = 0; at < data.length; at += 8192) binary += String.fromCharCode(...data.subarray(at, at + 8192));
  return btoa(binary);
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
