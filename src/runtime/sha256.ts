/**
 * Synchronous SHA-256: the runtime's own, or one in script. WebCrypto's digest is asynchronous: a key
 * that is known only later would miss the batch of its tick, and could overtake an earlier call for the same key.
 */

// Signed, because engines keep whole numbers beyond 31 bits as floating-point numbers.
const K = new Int32Array(64);
const H = new Int32Array(8);

const rotate = (x: number, n: number): number => (x >>> n) | (x << (32 - n));
/** The message schedule of the block at hand. */
const w = new Int32Array(64);

/**
 * Hashes a text in UTF-8 as `node:crypto` does, in script.
 *
 * @param _algorithm The only one that it knows.
 * @param text Any text.
 * @returns 64 hexadecimal digits, lower case.
 */
export function hashInScript(_algorithm: "sha256", text: string): string {
  const bytes = new TextEncoder().encode(text);
  const view = new DataView(new ArrayBuffer((((bytes.length + 8) >> 6) + 1) << 6));
  new Uint8Array(view.buffer).set(bytes);
  view.setUint8(bytes.length, 0x80);
  view.setBigInt64(view.byteLength - 8, BigInt(bytes.length) * 8n);
  if (K[0] === 0) fillConstants();
  const sum = H.slice();
  for (let offset = 0; offset < view.byteLength; offset += 64) {
    let [a, b, c, d, e, f, g, h] = sum as unknown as [number, number, number, number, number, number, number, number];
    for (let i = 0; i < 64; i++) {
      if (i < 16) {
        w[i] = view.getInt32(offset + i * 4);
      } else {
        const x = w[i - 15] as number;
        const y = w[i - 2] as number;
        w[i] =
          (w[i - 16] as number) +
          (rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3)) +
          (w[i - 7] as number) +
          (rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10));
      }
      const s = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const t = (h + s + ((e & f) ^ (~e & g)) + (K[i] as number) + (w[i] as number)) | 0;
      const u = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t) | 0;
      d = c;
      c = b;
      b = a;
      a = (t + u) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((x, i) => {
      sum[i] = (sum[i] as number) + x;
    });
  }
  let hex = "";
  for (const x of sum) hex += (x >>> 0).toString(16).padStart(8, "0");
  return hex;
}

/**
 * Computes the first 32 bits of the fractional parts of the roots of the first primes, at the first hash: most runtimes
 * need none. The arrays keep only the low bits, and drop what is beyond their ends.
 */
function fillConstants(): void {
  for (let n = 2, i = 0; i < 64; n++) {
    let d = 2;
    while (n % d) d++;
    if (d < n) continue;
    H[i] = Math.sqrt(n) * 2 ** 32;
    K[i++] = Math.cbrt(n) * 2 ** 32;
  }
}

/** The used part of the globals of runtimes that have Node's modules. */
interface CryptoRuntime {
  readonly process?: { getBuiltinModule?(name: string): { readonly hash?: typeof hashInScript } | undefined };
}

let hash: typeof hashInScript | undefined;

/**
 * Returns the SHA-256 of a text in UTF-8.
 *
 * @param text Any text. A lone surrogate counts as U+FFFD.
 * @returns 64 hexadecimal digits, lower case.
 */
export function sha256(text: string): string {
  // Found at the first call: to load the module takes milliseconds that a process without hashes does not pay.
  hash ??= (globalThis as unknown as CryptoRuntime).process?.getBuiltinModule?.("node:crypto")?.hash ?? hashInScript;
  return hash("sha256", text);
}
