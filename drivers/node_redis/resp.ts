/**
 * RESP2, the protocol of Redis: writes commands, and reads replies, as bytes or text, from chunks that end anywhere.
 *
 * Integers are exact, and lists may be nested to any depth. A part of a reply is read once, not again when the rest
 * arrives.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type Command, errorReply, type RawCommand, type RawReply, StoreError } from "../driver.ts";

/**
 * Encodes commands.
 *
 * @param commands The commands.
 * @returns The data to send: text, to be sent as UTF-8, if all arguments are text; otherwise bytes.
 */
export function encodeCommands(commands: readonly RawCommand[]): string | Uint8Array {
  const parts: Uint8Array[] = [];
  let text = "";
  for (const command of commands) {
    text += `*${command.length}\r\n`;
    for (const arg of command) {
      if (arg instanceof Uint8Array) {
        parts.push(Buffer.from(`${text}$${arg.length}\r\n`), arg);
        text = "\r\n";
      } else {
        text += encodeText(arg);
      }
    }
  }
  return parts.length === 0 ? text : Buffer.concat([...parts, Buffer.from(text)]);
}

/** Encodes one command whose arguments are text or numbers, to be sent as UTF-8. */
export function encodeCommand(command: Command): string {
  let text = `*${command.length}\r\n`;
  for (const arg of command) text += encodeText(arg);
  return text;
}

function encodeText(arg: string | number): string {
  const text = typeof arg === "string" ? arg : `${arg}`;
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}

/** A list whose items have not all arrived. */
interface List {
  readonly items: RawReply[];
  readonly length: number;
  /** The list around it. */
  readonly outer: List | undefined;
}

/**
 * Strings of at most `SHORT` bytes, and those that fill less than one part in `SHARE` of their chunk, are copied.
 * Others are parts of the chunk.
 */
const SHORT = 64;
const SHARE = 128;
const [RUNTIME] = /^\w+/.exec(globalThis.navigator?.userAgent) ?? [];
/** Strings of more bytes are decoded by `DECODER`: a Buffer of Deno takes three times as long with them. */
const LONG = RUNTIME === "Deno" ? 256 : Number.POSITIVE_INFINITY;
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });
const EMPTY = Buffer.alloc(0);
const LF = 10;
const CR = 13;

/** Reads replies from chunks. After an error, the reader cannot be used any more. */
export class ReplyReader {
  readonly #onReply: (reply: RawReply) => void;
  readonly #text: boolean;
  /** The chunk as a Buffer, if strings become text. */
  #source: Buffer = EMPTY;
  /** The innermost open list. */
  #list: List | undefined;
  /** The start of a line whose end has not arrived. */
  #line: Uint8Array[] = [];
  /** The open bulk string, and the number of its bytes that have arrived. */
  #bulk: Uint8Array | undefined;
  #filled = 0;
  /** True if the line end after a bulk string has not arrived. */
  #closing = false;

  /**
   * Makes a reader that calls `onReply` with each reply.
   *
   * @param text True for bulk strings as text instead of bytes, and for integers above 2^53 as the nearest number.
   */
  constructor(onReply: (reply: RawReply) => void, text = false) {
    this.#onReply = onReply;
    this.#text = text;
  }

  /**
   * Reads the next chunk.
   *
   * @param received The chunk. It must not be changed later, because long strings are parts of it.
   * @throws {StoreError} If the data is not RESP2.
   */
  read(received: Uint8Array): void {
    const chunk = plain(received);
    if (this.#text) this.#source = Buffer.isBuffer(received) ? received : toBuffer(chunk, 0, chunk.length);
    let at = 0;
    while (at < chunk.length) {
      if (this.#bulk) {
        at = this.#fill(this.#bulk, chunk, at);
        continue;
      }
      let end = at;
      while (end < chunk.length && chunk[end] !== LF) end++;
      if (end === chunk.length) {
        this.#line.push(chunk.slice(at));
        return;
      }
      if (this.#line.length === 0) at = this.#readLine(chunk, at, end);
      else {
        const line = plain(Buffer.concat([...this.#line, chunk.subarray(at, end + 1)]));
        this.#line = [];
        this.#readLine(line, 0, line.length - 1);
        at = end + 1;
      }
    }
  }

  /**
   * Reads the line up to the LF at `end`, and the bulk string after it if it is complete. Returns the next position.
   */
  #readLine(bytes: Uint8Array, start: number, end: number): number {
    if (bytes[end - 1] !== CR || end <= start) throw notResp();
    if (this.#closing) {
      if (end - 1 !== start) throw notResp();
      this.#closing = false;
      return end + 1;
    }
    const type = bytes[start];
    if (type === 0x24) {
      const length = readLength(bytes, start + 1, end - 1);
      if (length === -1) this.#give(null);
      else if (end + length + 2 < bytes.length) {
        const next = end + 1 + length;
        if (bytes[next] !== CR || bytes[next + 1] !== LF) throw notResp();
        // Only a chunk has room for a string behind a line, so `bytes` is the chunk.
        if (this.#text) {
          const long = length > LONG;
          const text = long
            ? DECODER.decode(bytes.subarray(end + 1, next))
            : this.#source.toString("utf8", end + 1, next);
          this.#give(text);
        } else {
          // A part keeps the whole chunk in memory, so a copy is better for a small part.
          const small = length <= SHORT || length * SHARE < bytes.length;
          this.#give(small ? copy(bytes, end + 1, next) : bytes.subarray(end + 1, next));
        }
        return next + 2;
      } else {
        this.#bulk = allocate(length);
        this.#filled = 0;
        if (length === 0) this.#finish(this.#bulk);
      }
    } else if (type === 0x3a) {
      const integer = readInteger(bytes, start + 1, end - 1);
      this.#give(this.#text ? Number(integer) : integer);
    } else if (type === 0x2a) {
      const length = readLength(bytes, start + 1, end - 1);
      if (length > 0) this.#list = { items: [], length, outer: this.#list };
      else this.#give(length === 0 ? [] : null);
    } else if (type === 0x2b) this.#give(readText(bytes, start + 1, end - 1));
    else if (type === 0x2d) this.#give(errorReply(withoutArguments(readText(bytes, start + 1, end - 1))));
    else throw notResp();
    return end + 1;
  }

  #fill(bulk: Uint8Array, chunk: Uint8Array, at: number): number {
    const part = chunk.subarray(at, at + bulk.length - this.#filled);
    bulk.set(part, this.#filled);
    this.#filled += part.length;
    if (this.#filled === bulk.length) this.#finish(bulk);
    return at + part.length;
  }

  #finish(bulk: Uint8Array): void {
    this.#bulk = undefined;
    this.#closing = true;
    this.#give(this.#text ? readText(bulk, 0, bulk.length) : bulk);
  }

  #give(reply: RawReply): void {
    let value = reply;
    for (let list = this.#list; list; list = list.outer) {
      list.items.push(value);
      if (list.items.length < list.length) return;
      this.#list = list.outer;
      value = list.items;
    }
    this.#onReply(value);
  }
}

/** Removes the arguments from an error about an unknown command: they may be values, or a password. */
export function withoutArguments(text: string): string {
  return text.replace(/,? with args beginning with:.*/s, "");
}

/** Returns a plain `Uint8Array` over the same bytes, so that `subarray` does not return a `Buffer`. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** The length of the arrays that copies share. */
const POOL = 8192;
/**
 * Copies of at most so many bytes have an array each. In Bun that takes half the time of a part of a shared one. V8
 * needs four times as long for arrays that are not on its heap: in Node those of more than 64 bytes, in Deno all.
 */
const ALONE = RUNTIME === "Bun" ? Number.POSITIVE_INFINITY : RUNTIME === "Deno" ? 0 : 64;
let pool = new Uint8Array(POOL);
let used = 0;

/** Returns a copy of a part. */
function copy(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const length = end - start;
  if (length <= ALONE || length > POOL) return bytes.slice(start, end);
  if (used + length > POOL) {
    pool = new Uint8Array(POOL);
    used = 0;
  }
  const part = pool.subarray(used, used + length);
  used += length;
  part.set(bytes.subarray(start, end));
  return part;
}

function readText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start === 2 && bytes[start] === 0x4f && bytes[start + 1] === 0x4b) return "OK";
  return toBuffer(bytes, start, end).toString();
}

function toBuffer(bytes: Uint8Array, start: number, end: number): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
}

function readInteger(bytes: Uint8Array, start: number, end: number): number | bigint {
  const negative = bytes[start] === 0x2d;
  let value = 0;
  let at = negative ? start + 1 : start;
  if (at === end || end - at > 20) throw notResp();
  for (; at < end; at++) {
    const digit = (bytes[at] as number) - 48;
    if (digit < 0 || digit > 9) throw notResp();
    value = value * 10 + digit;
  }
  if (value > Number.MAX_SAFE_INTEGER) return BigInt(readText(bytes, start, end));
  // Avoids -0.
  return negative && value > 0 ? -value : value;
}

/** Reads the length of a bulk string or list; -1 is nil. */
function readLength(bytes: Uint8Array, start: number, end: number): number {
  const length = readInteger(bytes, start, end);
  if (length >= -1 && length < 2 ** 32) return length as number;
  throw notResp();
}

function allocate(length: number): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch {
    throw new StoreError("protocol", `Cannot hold a reply of ${length} bytes: there is too little memory`);
  }
}

function notResp(): StoreError {
  return new StoreError("protocol", "The reply is not RESP2: expected a Redis server");
}
