/** Backups in memory. */
import assert from "node:assert/strict";
import {
  type BackupOptions,
  backup,
  finish,
  type OnConflict,
  type RestoreProgress,
  restore,
} from "../../src/manager/mod.ts";
import type { ManagedClient } from "../../src/manager/target.ts";

/** A file in memory. */
export class BackupFile {
  readonly #chunks: Uint8Array[] = [];
  /** For `backup`. */
  readonly write = (chunk: Uint8Array): void => void this.#chunks.push(chunk.slice());
  /** For `restore`. */
  readonly read = (): AsyncGenerator<Uint8Array> => this.#read();

  /** A file of these bytes. */
  static of(bytes: Uint8Array | string): BackupFile {
    const file = new BackupFile();
    file.write(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
    return file;
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    yield* this.#chunks;
  }

  get bytes(): Uint8Array {
    const all = new Uint8Array(this.#chunks.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const chunk of this.#chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  }

  get text(): string {
    return new TextDecoder().decode(this.bytes);
  }

  /** The lines, parsed. */
  // biome-ignore lint/suspicious/noExplicitAny: what JSON.parse answers
  get lines(): any[] {
    return this.text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
  }

  /** A file with other records, and a trailer that fits. */
  async rewritten(change: (record: Record<string, unknown>) => Record<string, unknown>): Promise<BackupFile> {
    const lines = this.lines;
    const trailer = lines.pop();
    const body = lines.map((line) => `${JSON.stringify("key" in line ? change(line) : line)}\n`).join("");
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(body)));
    const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return BackupFile.of(`${body}${JSON.stringify({ ...trailer, sha256 })}\n`);
  }
}

/** Backs up. */
export async function backedUp(client: ManagedClient, options: Omit<BackupOptions, "write">): Promise<BackupFile> {
  const file = new BackupFile();
  await finish(backup(client, { ...options, write: file.write } as BackupOptions));
  return file;
}

/** Restores. */
export function restored(
  client: ManagedClient,
  database: number,
  file: BackupFile,
  onConflict?: OnConflict,
  dryRun = false,
): Promise<RestoreProgress> {
  return finish(restore(client, { database, read: file.read, onConflict, dryRun }));
}

/** Fails with the first records that differ. */
export function assertSame(
  actual: Readonly<Record<string, unknown>>,
  expected: Readonly<Record<string, unknown>>,
): void {
  const keys = [...new Set([...Object.keys(actual), ...Object.keys(expected)])];
  const different = keys.filter((key) => JSON.stringify(actual[key]) !== JSON.stringify(expected[key]));
  const pick = (all: Readonly<Record<string, unknown>>): unknown[] =>
    different.slice(0, 3).map((key) => [key, JSON.stringify(all[key])?.slice(0, 300)]);
  assert.deepEqual(pick(actual), pick(expected), `${different.length} keys differ`);
}
