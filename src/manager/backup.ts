import { EPOCH_KEY, MARKS } from "../base/own_keys.ts";
import { sha256Stream } from "../runtime/files.ts";
import { displayText, type ManagedConnection, openManagedConnection } from "./connection.ts";
import { toTrailer } from "./file.ts";
import { MovedSlots } from "./moved.ts";
import { FORMAT, type Page, SHARDED_FORMAT, toLine } from "./record.ts";
import { Source } from "./source.ts";
import type { Bulk, ManagedClient, Problem, StepOptions, Target } from "./target.ts";

/** Options of {@linkcode backup}. */
export type BackupOptions = Target &
  StepOptions & {
    /** Takes the bytes of the file in order. The next call waits for its promise. */
    readonly write: (chunk: Uint8Array) => Promise<void> | void;
    /** Compresses the bytes. @default false */
    readonly gzip?: boolean | undefined;
  };

/** The progress of {@linkcode backup}. */
export interface BackupProgress {
  /** The number of keys written. */
  readonly keys: number;
  /** The size of the file in bytes, before compression. */
  readonly bytes: number;
  /** The number of keys that could not be read unchanged, and are not in the file. */
  readonly unreadable: number;
  /** Those of them that were found since the last progress. */
  readonly problems: readonly Problem[];
  /** `true` in the last progress: the file is complete. */
  readonly done: boolean;
}

/**
 * Writes the keys of a service or a database as JSON Lines: a header, a line for each key with its type, value and
 * expiry, and a trailer with the number of keys and the SHA-256 of everything before it. The record of invalidations
 * is included; locks and statistics are not.
 *
 * A value of up to 1000 elements is read in one step, a larger one in steps of 1000 elements, so a change in between
 * may or may not be in the file. Pending entries of the consumers of streams are not included.
 *
 * @param client The client.
 * @param options The service or database, and the destination.
 * @returns The progress after each page of keys.
 * @throws {TypeError | RangeError} For a service or database that does not exist.
 * @throws {StoreError} When the store does not answer. The file is incomplete then.
 * @throws {Error} Any error that `write` throws.
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
    const { count: shards } = connection.layout;
    const created = new Date().toISOString();
    await put(
      `${JSON.stringify({
        larder: "backup",
        ...(shards === undefined ? { format: FORMAT } : { format: SHARDED_FORMAT, shards }),
        ...(service && { service }),
        database,
        created,
      })}\n`,
    );
    for await (const { records, problems } of inOrder(connection)) {
      let text = "";
      for (const record of records) {
        text += toLine(record);
        if (!record.more && !connection.layout.ownOf(record.key)) keys++;
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
/** The approximate number of characters of one write. */
const CHUNK_LENGTH = 2 ** 16;

/**
 * Reads everything that a backup holds. The marks of tags follow the entries, and the epochs are last, so that entries
 * invalidated during the backup are invalid in the file too; this holds for each shard. Keys that moved to another node
 * of a cluster at the same time are read again, so that they may come twice.
 *
 * @param connection The connection to the service or database.
 * @returns Pages of records.
 */
export async function* inOrder(connection: ManagedConnection): AsyncGenerator<Page, void, void> {
  const source = new Source(connection);
  const moved = new MovedSlots(connection);
  const read = async function* (pattern: string, wanted: (key: Bulk) => boolean): AsyncGenerator<Page, void, void> {
    yield* source.read(pattern, wanted);
    for await (const { keys } of moved.keys()) yield* source.keys(keys.filter(wanted));
  };
  await moved.begin();
  yield* read("*", (key) => !connection.isOwn(key));
  const epochs = connection.layout.tags.map((_, shard) => connection.start(shard) + EPOCH_KEY);
  const there = await connection.must(epochs.map((key) => ["EXISTS", key]));
  if (there.some((reply) => reply !== 0)) {
    yield* read(`${MARKS}*`, (key) => displayText(connection.logical(key)).startsWith(MARKS));
    yield* source.keys(epochs);
  }
  const reason = "it was being moved to another node all the time, so keys in it may be missing";
  const problems = (await moved.rest()).map((slot) => ({ key: `slot ${slot}`, reason }));
  if (problems.length > 0) yield { records: [], problems };
}

/** Compresses what is written, and passes it on. */
function compressed(write: BackupOptions["write"]): {
  write(chunk: Uint8Array): Promise<void>;
  close(): Promise<void>;
} {
  const { readable, writable } = new CompressionStream("gzip");
  const writer = writable.getWriter();
  let failure: { readonly error: unknown } | undefined;
  const pump = (async () => {
    for await (const chunk of readable) {
      // Read to the end instead of cancelled, because on Node 20 data that is already compressed would end the process.
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
