/**
 * Synchronous SHA-256. WebCrypto's digest is asynchronous: a key that is known only later would miss the batch of its
 * tick, and could overtake an earlier call for the same key.
 */

const K = new Uint32Array(64);
const H = new Uint32Array(8);

/** Returns the first 32 bits of the fractional part. */
function fraction(x: number): number {
  return (x - Math.floor(x)) * 0x100000000;
}

for (let n = 2, i = 0; i < 64; n++) {
  let prime = true;
  for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false;
  if (!prime) continue;
  if (i < 8) H[i] = fraction(Math.sqrt(n));
  K[i++] = fraction(Math.cbrt(n));
}

const encoder = new TextEncoder();

/**
 * Returns the SHA-256 of a text in UTF-8.
 *
 * @param text Any text.
 * @returns 64 hexadecimal digits, lower case.
 */
export function sha256(text: string): string {
  const bytes = encoder.encode(text);
  const blocks = new Uint8Array((((bytes.length + 8) >> 6) + 1) << 6);
  blocks.set(bytes);
  blocks[bytes.length] = 0x80;
  const view = new DataView(blocks.buffer);
  view.setUint32(blocks.length - 8, Math.floor(bytes.length / 0x20000000));
  view.setUint32(blocks.length - 4, bytes.length << 3);
  const hash = H.slice();
  const w = new Uint32Array(64);
  const rotate = (x: number, n: number): number => (x >>> n) | (x << (32 - n));
  for (let offset = 0; offset < blocks.length; offset += 64) {
    let [a, b, c, d, e, f, g, h] = hash as unknown as [number, number, number, number, number, number, number, number];
    for (let i = 0; i < 64; i++) {
      if (i < 16) {
        w[i] = view.getUint32(offset + i * 4);
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
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + t) | 0, c, b, a, (t + u) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((x, i) => {
      hash[i] = (hash[i] as number) + x;
    });
  }
  return Array.from(hash, (x) => x.toString(16).padStart(8, "0")).join("");
}
