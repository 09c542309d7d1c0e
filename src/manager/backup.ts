import { MARKS } from "../base/own_keys.ts";
import { sha256Stream } from "../runtime/files.ts";
import { type ManagedConnection, openManagedConnection } from "./connection.ts";
import { toTrailer } from "./file.ts";
import { FORMAT, type Page, toLine } from "./record.ts";
import { Source } from "./source.ts";
import type { ManagedClient, Problem, StepOptions, Target } from "./target.ts";

/** Options of {@linkcode backup}. */
export type BackupOptions = Target &
  StepOptions & {
    /** Takes the file's bytes in their order. The next come when its promise has resolved. */
    readonly write: (chunk: Uint8Array) => Promise<void> | void;
    /** Whether the bytes are compressed. @default false */
    readonly gzip?: boolean | undefined;
  };

/** How far {@linkcode backup} has come. */
export interface BackupProgress {
  /** How many keys were written. */
  readonly keys: number;
  /** How many bytes the file has, before compression. */
  readonly bytes: number;
  /** How many keys could not be read as they are, and are not in the file. */
  readonly unreadable: number;
  /** Those of them that were found since the last progress. */
  readonly problems: readonly Problem[];
  /** Whether this is the end: the file is whole. */
  readonly done: boolean;
}

/**
 * Writes the keys of a service or a database as JSON Lines: a header, a line a key with its type, value and expiry, a trailer with their
 * count and the SHA-256 of all before it. With them goes what says which entries were invalidated; locks and counts do not.
 *
 * Each value of up to 1000 elements is read in one step, those of larger ones a thousand at a time: what changes meanwhile may be in the file or
 * not. Consumer groups of streams are written without what their consumers have pending.
 *
 * @param client The client.
 * @param options Whose keys, and where to.
 * @returns How far it has come, after each page of keys.
 * @throws {TypeError | RangeError} For a service or database that there is none of.
 * @throws {StoreError} When the store goes away: the file is of no use then.
 * @throws {Error} What `write` throws.
 */
export async function* backup(
  client: ManagedClient,
  options: BackupOptions,
): AsyncGenerator<BackupProgress, void, void> {
  const { write, gzip = false } = options;
  const connection = await openManagedConnection(client, options);
  const digest = sha256Stream();
  let bytes = 0;
  let keys = 0;
  let unreadable = 0;
  const sink = gzip ? compressed(write) : { write, close: async () => {} };
  const put = async (text: string): Promise<void> => {
    const chunk = encoder.encode(text);
    digest.update(chunk);
    bytes += chunk.length;
    await sink.write(chunk);
  };
  try {
    const { service, number: database } = connection.location;
    const created = new Date().toISOString();
    await put(
      `${JSON.stringify({ larder: "backup", format: FORMAT, ...(service && { service }), database, created })}\n`,
    );
    for await (const { records, problems } of inOrder(connection)) {
      let text = "";
      for (const record of records) {
        text += toLine(record);
        if (!record.more && !connection.isOwn(connection.physical(record.key))) keys++;
        if (text.length < CHUNK_LENGTH) continue;
        await put(text);
        text = "";
      }
      if (text) await put(text);
      unreadable += problems.length;
      yield { keys, bytes, unreadable, problems, done: false };
    }
    const trailer = encoder.encode(toTrailer(keys, digest.hex()));
    await sink.write(trailer);
    bytes += trailer.length;
    await sink.close();
    yield { keys, bytes, unreadable, problems: [], done: true };
  } finally {
    await connection.close();
  }
}

const encoder = new TextEncoder();
/** How many characters are handed over at a time, or nearly so. */
const CHUNK_LENGTH = 2 ** 16;

/**
 * All that a backup holds. The marks of tags come behind the entries, and the epoch last: what is invalidated meanwhile is so in the backup, too.
 *
 * @param connection The place.
 * @returns Pages of records.
 */
export async function* inOrder(connection: ManagedConnection): AsyncGenerator<Page, void, void> {
  const source = new Source(connection);
  yield* source.read("*", (key) => !connection.isOwn(key));
  const epoch = connection.own("clock");
  const [there] = await connection.must([["EXISTS", epoch]]);
  if (there === 0) return;
  yield* source.read(`${MARKS}*`, () => true);
  yield* source.keys([epoch]);
}

/** Hands over compressed what is written to it. */
function compressed(write: BackupOptions["write"]): {
  write(chunk: Uint8Array): Promise<void>;
  close(): Promise<void>;
} {
  const { readable, writable } = new CompressionStream("gzip");
  const writer = writable.getWriter();
  let failure: { readonly error: unknown } | undefined;
  const pump = (async () => {
    for await (const chunk of readable) {
      // Not cancelled, but read to its end: on Node 20 what is compressed already would end the process.
      if (failure) continue;
      try {
        await write(chunk);
      } catch (error) {
        failure = { error };
      }
    }
  })();
  pump.catch(() => {});
  const orFails = async (done: Promise<void>): Promise<void> => {
    await done;
    if (failure) throw failure.error;
  };
  return {
    write: (chunk) => orFails(writer.write(chunk as Uint8Array<ArrayBuffer>)),
    close: () => orFails(writer.close().then(() => pump)),
  };
}
