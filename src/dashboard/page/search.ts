/// <reference lib="dom" />
/** A search for keys: page after page, until there are enough rows for the screen. */
import type { KeyPage, KeyRow } from "../messages.ts";
import { ask, reason } from "./api.ts";
import type { Whose } from "./route.ts";

/** A row, and when it was told. */
export interface FoundKey extends KeyRow {
  /** What tells it apart. */
  readonly id: string;
  /** When it expires, by `performance.now()`; `undefined` without expiry. */
  readonly expires: number | undefined;
}

/** How many rows are asked for at a time, and shown at the most. */
const STEP = 100;
const MOST = 1000;

/** A search, from its beginning to a limit. */
export class Search {
  /** What was found. */
  readonly rows: FoundKey[] = [];
  /** How many keys were looked at. */
  scanned = 0;
  /** Whether it goes on at this moment. */
  running = false;
  /** Why it stopped, where the server refused. */
  error: string | undefined;
  readonly #whose: Whose;
  readonly #match: string;
  readonly #changed: () => void;
  readonly #seen = new Set<string>();
  /** Found, and not yet asked for: pages may hold more than that. */
  readonly #waiting: FoundKey[] = [];
  #abort = new AbortController();
  #cursor: string | null = "0";

  /**
   * @param whose Whose keys.
   * @param match What is searched for.
   * @param changed Called when there is more to show.
   */
  constructor(whose: Whose, match: string, changed: () => void) {
    this.#whose = whose;
    this.#match = match;
    this.#changed = changed;
  }

  /** Whether all keys were looked at. */
  get done(): boolean {
    return this.#cursor === null && this.#waiting.length === 0;
  }

  /** Whether there are as many rows as are ever shown. */
  get full(): boolean {
    return this.rows.length >= MOST;
  }

  /** Goes on until there are some more rows. */
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
        const query = { ...this.#whose, match: this.#match, cursor: this.#cursor, limit: STEP };
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

  /** Ends it: no more is asked and nothing is told. It can go on with `more`. */
  stop(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.running = false;
  }

  /** Forgets a row. */
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

/** What tells a key apart. */
export function idOf({ key, key64 }: { readonly key?: string; readonly key64?: string }): string {
  return key64 === undefined ? `text ${key}` : `bytes ${key64}`;
}
