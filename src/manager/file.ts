/** Reads the records of a backup file. Each line is verified, and the whole file by its trailer. */

import { describe } from "../base/check.ts";
import { SHARD_COUNTS } from "../entry/shards.ts";
import { sha256Stream } from "../runtime/files.ts";
import { asText } from "./connection.ts";
import { BackupError } from "./errors.ts";
import { Layout } from "./layout.ts";
import { type BackupRecord, FORMAT, type Line, Malformed, SHARDED_FORMAT, toRecord } from "./record.ts";

/** The longest line in bytes. Stores do not take longer values, and runtimes not longer strings. */
const MAX_LINE = 2 ** 29;
/** The longest first line in bytes. A file without a line break before that is not a backup. */
const MAX_HEADER = 2 ** 16;

/** Returns the last line of a backup, its line break included. */
export function toTrailer(keys: number, sha256: string): string {
  return `${JSON.stringify({ end: true, keys, sha256 })}\n`;
}

/** The contents of the trailer. */
export interface Trailer {
  readonly keys: number;
  readonly sha256: string;
}

/**
 * Reads and verifies a backup.
 *
 * @param chunks Its bytes, compressed or not.
 * @param begin Receives the layout of the keys when the header is read.
 * @param end Receives the trailer when the whole file is verified.
 * @returns The records, in pages.
 * @throws {BackupError} For a file that was changed or cut off, at the latest after the last record.
 */
export async function* readBackup(
  chunks: AsyncIterable<Uint8Array>,
  begin: (layout: Layout) => void,
  end: (trailer: Trailer) => void,
): AsyncGenerator<BackupRecord[], void, void> {
  const digest = sha256Stream();
  let number = 0;
  let keys = 0;
  let before: BackupRecord | undefined;
  let trailer: Trailer | undefined;
  let layout: Layout | undefined;
  for await (const lines of linesOf(unpacked(chunks))) {
    const records: BackupRecord[] = [];
    for (const bytes of lines) {
      number++;
      if (trailer) throw new BackupError(number, "something follows the trailer");
      const text = asText(bytes);
      if (text === undefined) throw new BackupError(number, "it is not UTF-8");
      const line = parse(number, text);
      if ("end" in line) {
        if (number === 1) throw new BackupError(1, "it is not the header of a backup");
        trailer = { keys, sha256: digest.hex() };
        check(number, text, line, trailer);
        continue;
      }
      digest.update(bytes);
      if (number === 1) {
        layout = header(line);
        begin(layout);
        continue;
      }
      try {
        before = toRecord(line, before);
      } catch (error) {
        if (error instanceof Malformed) throw new BackupError(number, error.message);
        throw error;
      }
      if (!before.more && !layout?.ownOf(before.key)) keys++;
      records.push(before);
    }
    yield records;
  }
  if (!trailer) {
    throw new BackupError(
      0,
      number === 0 ? "it is empty" : `it ends after ${number} lines without a trailer, so it is incomplete`,
    );
  }
  end(trailer);
}

function parse(number: number, text: string): Line & Record<string, unknown> {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    // The message of the parser would show a part of the line.
  }
  if (typeof line === "object" && line !== null && !Array.isArray(line)) return line as Record<string, unknown>;
  throw new BackupError(number, number === 1 ? "it is not the header of a backup" : "it is not an object in JSON");
}

function header({ larder, format, shards }: Record<string, unknown>): Layout {
  if (larder !== "backup") throw new BackupError(1, "it is not the header of a backup");
  if (format !== FORMAT && format !== SHARDED_FORMAT) {
    throw new BackupError(1, `received format ${describe(format)}, expected ${FORMAT} or ${SHARDED_FORMAT}`);
  }
  const layout = Layout.of(format === FORMAT ? undefined : Number(shards));
  if (layout) return layout;
  throw new BackupError(1, `received ${describe(shards)} shards, expected one of ${SHARD_COUNTS.join(", ")}`);
}

function check(number: number, text: string, line: Record<string, unknown>, found: Trailer): void {
  if (text === toTrailer(found.keys, found.sha256)) return;
  if (line.keys !== found.keys) {
    throw new BackupError(number, `the trailer counts ${describe(line.keys)} keys, but the file has ${found.keys}`);
  }
  throw new BackupError(number, "the SHA-256 of the trailer does not match the lines before it");
}

/** Splits bytes into lines, line breaks included. The last line must have one too. */
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
      // A copy, because the source may use the memory of the chunk again.
      rest.push(chunk.slice(from));
      length += chunk.length - from;
    }
    if (length > (first ? MAX_HEADER : MAX_LINE)) {
      throw new BackupError(first ? 1 : 0, first ? "it is not the header of a backup" : "a line in it is too long");
    }
    if (lines.length > 0) yield lines;
  }
  if (length > 0) throw new BackupError(0, "its last line has no line break, so it is incomplete");
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

/** Returns the bytes, decompressed if they start like gzip. */
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
        throw failure ?? new BackupError(0, "it cannot be decompressed, because it is incomplete or was changed");
      });
      if (done) return;
      yield value;
    }
  } finally {
    // Read to the end instead of cancelled, because on Node 20 data that is already decompressed would end the process.
    // Nothing more is put in.
    left = true;
    while (!(await reader.read().catch(() => ({ done: true }))).done);
  }
}
