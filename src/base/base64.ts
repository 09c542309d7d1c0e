/** `Uint8Array<ArrayBuffer>`, which was called `Uint8Array` before TypeScript 5.7. */
export type Bytes = ReturnType<typeof Uint8Array.of>;

/** A runtime with `Buffer`: Node, Bun, Deno. It is 20 times faster than `btoa`. */
interface WithBuffer {
  readonly Buffer?: { readonly prototype: { base64Slice?(this: Uint8Array, start: number, end: number): string } };
}

/** Encodes bytes as base64, in the fastest way that the runtime offers. */
export function toBase64(bytes: Uint8Array): string {
  const own = bytes as { toBase64?(): string };
  if (own.toBase64) return own.toBase64();
  const { Buffer } = globalThis as WithBuffer;
  // A Buffer over the same bytes would take twice the time.
  if (Buffer?.prototype.base64Slice) return Buffer.prototype.base64Slice.call(bytes, 0, bytes.length);
  let binary = "";
  // Every engine accepts this number of arguments.
  for (let at = 0; at < bytes.length; at += 8192) {
    binary += String.fromCharCode.apply(null, bytes.subarray(at, at + 8192) as unknown as number[]);
  }
  return btoa(binary);
}

/** Decodes base64. @throws {Error} For text that is not base64. */
export function fromBase64(text: string): Bytes {
  const { fromBase64: own } = Uint8Array as { fromBase64?(text: string): Bytes };
  if (own) return own(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}
