/**
 * The formats of replies: JSON, with or without base64, and RESP2.
 *
 * @module
 */

import type { RawReply } from "../../drivers/driver.ts";
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
    const output = new Output(replies);
    for (const reply of replies) writeResp(reply, output);
    return output.end();
  },
};

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

type Body = Uint8Array<ArrayBuffer>;

/** The longest text before it is encoded. A longer one is copied once more, and on some engines is far slower. */
const GATHERED = 4096;

/** Collects text and bytes in one array, which grows. */
class Output {
  #bytes: Body;
  #size = 0;
  #text = "";

  constructor(replies: readonly RawReply[]) {
    this.#bytes = new Uint8Array(estimate(replies));
  }

  text(text: string): void {
    this.#text += text;
    if (this.#text.length > GATHERED) this.#encode();
  }

  bytes(bytes: Uint8Array): void {
    this.#encode();
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#size);
    this.#size += bytes.length;
  }

  end(): Body {
    this.#encode();
    return this.#bytes.subarray(0, this.#size);
  }

  #encode(): void {
    let rest = this.#text;
    this.#text = "";
    this.#reserve(rest.length);
    while (rest !== "") {
      const { read, written } = encoder.encodeInto(rest, this.#bytes.subarray(this.#size));
      this.#size += written;
      rest = rest.slice(read);
      // A letter takes up to three bytes.
      this.#reserve(rest.length * 3);
    }
  }

  #reserve(bytes: number): void {
    const needed = this.#size + bytes;
    if (needed <= this.#bytes.length) return;
    const longer = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    longer.set(this.#bytes.subarray(0, this.#size));
    this.#bytes = longer;
  }
}

/** Returns the number of bytes that replies in base64 take, a little too many. */
function estimate(replies: readonly RawReply[]): number {
  let size = 8;
  for (const reply of replies) {
    if (Array.isArray(reply)) size += estimate(reply);
    size += 24 + (reply instanceof Uint8Array ? Math.ceil(reply.length / 3) * 4 : 0);
  }
  return size;
}

/** Writes a string of a result. */
type Write = (value: string | Uint8Array) => string;

function json(write: Write): Format {
  const item = (reply: RawReply): string => {
    if (reply instanceof Error) return `{"error":${JSON.stringify(reply.message)}}`;
    // Clients decode every result from base64 except a plain OK; inside a list they decode OK too.
    return `{"result":${reply === "OK" ? '"OK"' : writeJson(reply, write)}}`;
  };
  return {
    type: "application/json",
    one: (reply) => encoder.encode(item(reply)),
    many(replies) {
      const output = new Output(replies);
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
  if (reply instanceof Error) return write(reply.message);
  return `[${reply.map((each) => writeJson(each, write)).join(",")}]`;
}

function quote(value: string | Uint8Array): string {
  return JSON.stringify(typeof value === "string" ? value : decoder.decode(value));
}

function writeResp(reply: RawReply, output: Output): void {
  if (reply === null) output.text("$-1\r\n");
  else if (typeof reply === "string") output.text(`+${reply}\r\n`);
  else if (typeof reply !== "object") output.text(`:${reply}\r\n`);
  else if (reply instanceof Error) output.text(`-${reply.message}\r\n`);
  else if (reply instanceof Uint8Array) {
    output.text(`$${reply.length}\r\n`);
    output.bytes(reply);
    output.text("\r\n");
  } else {
    output.text(`*${reply.length}\r\n`);
    for (const each of reply) writeResp(each, output);
  }
}
