import { CacheError } from "../base/errors.ts";

/** Thrown for a file that is damaged, has another format, or is not a backup. Nothing was written. */
export class BackupError extends CacheError {
  /** Always `"BackupError"`. */
  override name = "BackupError";
  /** The number of the faulty line, from 1; 0 if the fault concerns the whole file. */
  readonly line: number;

  /**
   * Makes an error.
   *
   * @param line The number of the line.
   * @param reason The fault.
   */
  constructor(line: number, reason: string) {
    super(`Cannot restore this file: ${line > 0 ? `line ${line}: ` : ""}${reason}`);
    this.line = line;
  }
}

/** Thrown when keys already exist that must not be replaced. Nothing was written. */
export class ConflictError extends CacheError {
  /** Always `"ConflictError"`. */
  override name = "ConflictError";
  /** The number of such keys. */
  readonly count: number;
  /** The first of them, at most 10. */
  readonly keys: readonly string[];

  /**
   * Makes an error.
   *
   * @param count The number of keys that exist.
   * @param keys The first of them.
   */
  constructor(count: number, keys: readonly string[]) {
    const names = `${keys.map(named).join(", ")}${count > keys.length ? ", ..." : ""}`;
    const existing = count === 1 ? "1 key that already exists" : `${count} keys that already exist`;
    super(`Cannot write ${existing} (${names}): skip or replace ${count === 1 ? "it" : "them"}`);
    this.count = count;
    this.keys = keys;
  }
}

/** Returns a key for a list of keys. It is quoted unless it is a word, so that it cannot be taken for several. */
function named(key: string): string {
  return /^[\w:.%@{}*-]+$/.test(key) ? key : JSON.stringify(key);
}
