/// <reference lib="dom" />
/** A search for keys: page by page, until there are enough rows for the screen. */
import type { KeyPage, KeyRow } from "../messages.ts";
import { ask, reason } from "./api.ts";
import type { Owner } from "./route.ts";

/** A row of the results. */
export interface FoundKey extends KeyRow {
  /** The identity of the key. */
  readonly id: string;
  /** The time at which it expires, by `performance.now()`; `undefined` without expiry. */
  readonly expires: number | undefined;
}

/** The number of rows that are requested at a time, and the most that are shown. */
const STEP = 100;
const MOST = 1000;

/** A search, from the first key to a limit. */
export class Search {
  /** The rows that were found. */
  readonly rows: FoundKey[] = [];
  /** The number of keys that were scanned. */
  scanned = 0;
  /** True while it is running. */
  running = false;
  /** The reason why it stopped, if the server refused. */
  error: string | undefined;
  readonly #owner: Owner;
  readonly #match: string;
  readonly #changed: () => void;
  readonly #seen = new Set<string>();
  /** Rows that were found but not requested yet, because a page may hold more. */
  readonly #waiting: FoundKey[] = [];
  #abort = new AbortController();
  #cursor: string | null = "0";

  /**
   * Creates a search.
   *
   * @param owner The service or database.
   * @param match The text or pattern.
   * @param changed Called when there is more to show.
   */
  constructor(owner: Owner, match: string, changed: () => void) {
    this.#owner = owner;
    this.#match = match;
    this.#changed = changed;
  }

  /** True if all keys were scanned. */
  get done(): boolean {
    return this.#cursor === null && this.#waiting.length === 0;
  }

  /** True if no more rows can be shown. */
  get full(): boolean {
    return this.rows.length >= MOST;
  }

  /** Continues until there are some more rows. */
  async more(): Promise<void> {
    if (this.running || this.done || this.full) return;
    const { signal } = this.#abort;
    const enough = Math.min(MOST, this.rows.length + STEP);
    const take = () => this.rows.push(...this.#waiting.splice(0, enough - this.rows.length));
    take();
    this.running = true;
    this.error = undefined;
    this.#changed();
    try {
      while (this.#cursor !== null && this.rows.length < enough) {
        const query = { ...this.#owner, match: this.#match, cursor: this.#cursor, limit: STEP };
        const page = await ask<KeyPage>("keys", query, { signal });
        if (signal.aborted) return;
        this.#keep(page);
        take();
        this.#changed();
      }
    } catch (error) {
      if (signal.aborted) return;
      this.error = reason(error);
    }
    this.running = false;
    this.#changed();
  }

  /** Stops the search and its notifications. `more` continues it. */
  stop(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.running = false;
  }

  /** Removes a row. */
  remove(id: string): void {
    const at = this.rows.findIndex((row) => row.id === id);
    if (at >= 0) this.rows.splice(at, 1);
  }

  #keep({ keys, cursor, scanned }: KeyPage): void {
    const now = performance.now();
    for (const row of keys) {
      const id = idOf(row);
      if (this.#seen.has(id)) continue;
      this.#seen.add(id);
      this.#waiting.push({ ...row, id, expires: row.ttl === null ? undefined : now + row.ttl });
    }
    this.#cursor = cursor;
    this.scanned += scanned;
  }
}

/** Returns the identity of a key. */
export function idOf({ key, key64 }: { readonly key?: string; readonly key64?: string }): string {
  return key64 === undefined ? `text ${key}` : `bytes ${key64}`;
}
