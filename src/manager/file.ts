/** A backup's bytes, from the file to its records: verified line by line, and as a whole by its trailer. */

import { describe } from "../base/check.ts";
import { sha256Stream } from "../runtime/files.ts";
import { asText } from "./connection.ts";
import { BackupError } from "./errors.ts";
import { FORMAT, type Line, Malformed, type Rec, toRecord } from "./record.ts";

/** The longest line, in bytes: a store takes no longer values, and no runtime longer strings. */
const MAX_LINE = 2 ** 29;
/** The longest first line: whatever has no line's end until then is no backup. */
const MAX_HEADER = 2 ** 16;

/** The last line of a backup, with its end. */
export function toTrailer(keys: number, sha256: string): string {
  return `${JSON.stringify({ end: true, keys, sha256 })}\n`;
}

/** What the trailer says. */
export interface Trailer {
  readonly keys: number;
  readonly sha256: string;
}

/**
 * Reads and verifies a backup.
 *
 * @param chunks Its bytes, compressed or not.
 * @param isKey Whether a record counts as a key: those of the library itself do not.
 * @param end Told the trailer, when all is verified.
 * @returns The records, in pages.
 * @throws {BackupError} For whatever is not as it was written, at the latest after the last record.
 */
export async function* readBackup(
  chunks: AsyncIterable<Uint8Array>,
  isKey: (record: Rec) => boolean,
  end: (trailer: Trailer) => void,
): AsyncGenerator<Rec[], void, void> {
  const digest = sha256Stream();
  let number = 0;
  let keys = 0;
  let before: Rec | undefined;
  let trailer: Trailer | undefined;
  for await (const lines of linesOf(unpacked(chunks))) {
    const records: Rec[] = [];
    for (const bytes of lines) {
      number++;
      if (trailer) throw new BackupError(number, "something follows the trailer");
      const text = asText(bytes);
      if (text === undefined) throw new BackupError(number, "it is not UTF-8");
      const line = parse(number, text);
      if ("end" in line) {
        if (number === 1) throw new BackupError(1, "it is no header of a backup");
        trailer = { keys, sha256: digest.hex() };
        check(number, text, line, trailer);
        continue;
      }
      digest.update(bytes);
      if (number === 1) {
        header(line);
        continue;
      }
      try {
        before = toRecord(line, before);
      } catch (error) {
        if (error instanceof Malformed) throw new BackupError(number, error.message);
        throw error;
      }
      if (!before.more && isKey(before)) keys++;
      records.push(before);
    }
    yield records;
  }
  if (!trailer) {
    throw new BackupError(
      0,
      number === 0 ? "it is empty" : `it ends after ${number} lines without a trailer: it is torn`,
    );
  }
  end(trailer);
}

function parse(number: number, text: string): Line & Record<string, unknown> {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    // The message of the parser would show some of the line.
  }
  if (typeof line === "object" && line !== null && !Array.isArray(line)) return line as Record<string, unknown>;
  throw new BackupError(number, number === 1 ? "it is no header of a backup" : "it is no object in JSON");
}

function header({ larder, format }: Record<string, unknown>): void {
  if (larder !== "backup") throw new BackupError(1, "it is no header of a backup");
  if (format !== FORMAT) throw new BackupError(1, `its format is ${describe(format)}: accepted is ${FORMAT}`);
}

function check(number: number, text: string, line: Record<string, unknown>, found: Trailer): void {
  if (text === toTrailer(found.keys, found.sha256)) return;
  if (line.keys !== found.keys) {
    throw new BackupError(number, `the trailer counts ${describe(line.keys)} keys, and there are ${found.keys}`);
  }
  throw new BackupError(number, "what comes before the trailer is not what its SHA-256 says, or it is none");
}

/** Lines with their ends; the last one must have one, too. */
async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array[], void, void> {
  let rest: Uint8Array[] = [];
  let length = 0;
  let first = true;
  for await (const chunk of chunks) {
    const lines: Uint8Array[] = [];
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      const line = chunk.subarray(from, at + 1);
      lines.push(length > 0 ? joined([...rest, line]) : line);
      rest = [];
      length = 0;
      from = at + 1;
      first = false;
    }
    if (from < chunk.length) {
      // A copy: whoever gives the chunks may use their memory again.
      rest.push(chunk.slice(from));
      length += chunk.length - from;
    }
    if (length > (first ? MAX_HEADER : MAX_LINE)) {
      throw new BackupError(first ? 1 : 0, first ? "it is no header of a backup" : "a line in it is too long");
    }
    if (lines.length > 0) yield lines;
  }
  if (length > 0) throw new BackupError(0, "its last line has no end: it is torn");
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The bytes as they are, or decompressed where they start as gzip does. */
async function* unpacked(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  const source = chunks[Symbol.asyncIterator]();
  try {
    let start: Uint8Array = new Uint8Array();
    let ended = false;
    while (start.length < 2 && !ended) {
      const { value, done = false } = await source.next();
      if (value) start = joined([start, value]);
      ended = done;
    }
    const rest = async function* (): AsyncGenerator<Uint8Array, void, void> {
      if (start.length > 0) yield start;
      while (!ended) {
        const { value, done = false } = await source.next();
        ended = done;
        if (value && value.length > 0) yield value;
      }
    };
    if (start[0] === 0x1f && start[1] === 0x8b) yield* inflated(rest());
    else yield* rest();
  } finally {
    await source.return?.();
  }
}

async function* inflated(chunks: AsyncGenerator<Uint8Array, void, void>): AsyncGenerator<Uint8Array, void, void> {
  let failure: unknown;
  let left = false;
  const packed = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      try {
        const { value, done } = left ? { done: true } : await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value as Uint8Array<ArrayBuffer>);
      } catch (error) {
        failure = error;
        controller.error(error);
      }
    },
  });
  const reader = packed.pipeThrough(new DecompressionStream("gzip")).getReader();
  try {
    while (true) {
      const { value, done } = await reader.read().catch(() => {
        throw failure ?? new BackupError(0, "it cannot be decompressed: it is torn or was changed");
      });
      if (done) return;
      yield value;
    }
  } finally {
    // Not cancelled: on Node 20 what is decompressed already would end the process. It is read, and nothing more is put in.
    left = true;
    while (!(await reader.read().catch(() => ({ done: true }))).done);
  }
}
