/**
 * The formats of replies: JSON, with or without base64, and RESP2.
 *
 * @module
 */

import { type RawReply, StoreError } from "../../drivers/driver.ts";
import { toBase64 } from "../base/base64.ts";

/** A format of responses. */
export interface Format {
  /** The content type. */
  readonly type: string;
  /** Writes the reply of one command. */
  one(reply: RawReply): Body;
  /** Writes the replies of several commands. */
  many(replies: readonly RawReply[]): Body;
}

/** JSON with strings of text. Bytes that are not UTF-8 become U+FFFD. */
export const plainJson: Format = json(quote);

/** JSON with strings in base64, at any depth. */
export const base64Json: Format = json((value) => {
  return `"${toBase64(typeof value === "string" ? encoder.encode(value) : value)}"`;
});

/** RESP2, the format of Redis itself. */
export const resp2: Format = {
  type: "application/octet-stream",
  one: (reply) => resp2.many([reply]),
  many(replies) {
    const output = new Output();
    for (const reply of replies) writeResp(reply, output);
    return output.end();
  },
};

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

type Body = Uint8Array<ArrayBuffer>;

/** The longest text before it is encoded. On some engines, longer texts than 128 KiB are many times slower. */
const GATHERED = 16_384;

/** Collects text and bytes. */
class Output {
  readonly #parts: Uint8Array[] = [];
  #text = "";
  #size = 0;

  text(text: string): void {
    this.#text += text;
    if (this.#text.length > GATHERED) this.bytes(new Uint8Array());
  }

  bytes(bytes: Uint8Array): void {
    for (const part of [encoder.encode(this.#text), bytes]) {
      this.#parts.push(part);
      this.#size += part.length;
    }
    this.#text = "";
  }

  end(): Body {
    if (this.#parts.length === 0) return encoder.encode(this.#text);
    this.bytes(new Uint8Array());
    const whole = new Uint8Array(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}

/** Writes a string of a result. */
type Write = (value: string | Uint8Array) => string;

function json(write: Write): Format {
  const item = (reply: RawReply): string => {
    if (reply instanceof StoreError) return `{"error":${JSON.stringify(reply.message)}}`;
    // Clients decode every result from base64 except a plain OK; inside a list they decode OK too.
    return `{"result":${reply === "OK" ? '"OK"' : writeJson(reply, write)}}`;
  };
  return {
    type: "application/json",
    one: (reply) => encoder.encode(item(reply)),
    many(replies) {
      const output = new Output();
      for (const [index, reply] of replies.entries()) output.text((index === 0 ? "[" : ",") + item(reply));
      output.text("]");
      return output.end();
    },
  };
}

function writeJson(reply: RawReply, write: Write): string {
  if (typeof reply === "string" || reply instanceof Uint8Array) return write(reply);
  // Keeps all digits of a bigint.
  if (reply === null || typeof reply !== "object") return `${reply}`;
  if (reply instanceof StoreError) return write(reply.message);
  return `[${reply.map((each) => writeJson(each, write)).join(",")}]`;
}

function quote(value: string | Uint8Array): string {
  return JSON.stringify(typeof value === "string" ? value : decoder.decode(value));
}

function writeResp(reply: RawReply, output: Output): void {
  if (reply === null) output.text("$-1\r\n");
  else if (typeof reply === "string") output.text(`+${reply}\r\n`);
  else if (typeof reply !== "object") output.text(`:${reply}\r\n`);
  else if (reply instanceof StoreError) output.text(`-${reply.message}\r\n`);
  else if (reply instanceof Uint8Array) {
    output.text(`$${reply.length}\r\n`);
    output.bytes(reply);
    output.text("\r\n");
  } else {
    output.text(`*${reply.length}\r\n`);
    for (const each of reply) writeResp(each, output);
  }
}
