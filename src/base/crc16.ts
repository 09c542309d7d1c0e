/**
 * The checksum by which a cluster spreads its keys: CRC16 (XMODEM) of a key's UTF-8 bytes.
 *
 * @module
 */

/** The number of slots of a cluster. */
export const SLOTS = 16_384;

/** Returns the CRC16 of a text, of which 0x31C3 for `"123456789"` is the check value. */
export function crc16(text: string): number {
  let crc = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code > 127) return crc16OfBytes(new TextEncoder().encode(text));
    crc = next(crc, code);
  }
  return crc;
}

/** Returns the slot of a key: that of its hash tag, which is what stands between the first braces, if it has one. */
export function hashSlot(key: string): number {
  const start = key.indexOf("{") + 1;
  const end = start > 0 ? key.indexOf("}", start) : -1;
  return crc16(end > start ? key.slice(start, end) : key) % SLOTS;
}

/** Returns the CRC16 of bytes. */
export function crc16OfBytes(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) crc = next(crc, byte);
  return crc;
}

/** Adds one byte, without a table: the polynomial x^16 + x^12 + x^5 + 1 in four shifts. */
function next(crc: number, byte: number): number {
  let mixed = (crc >> 8) ^ byte;
  mixed ^= mixed >> 4;
  return ((crc << 8) ^ (mixed << 12) ^ (mixed << 5) ^ mixed) & 0xffff;
}
