import { CacheError } from "../base/errors.ts";

/** Thrown for a backup that is damaged, of another format, or none. Nothing was written. */
export class BackupError extends CacheError {
  /** Always `"BackupError"`. */
  override name = "BackupError";
  /** The line that shows it, from 1; 0 for the file as a whole. */
  readonly line: number;

  /**
   * Makes an error.
   *
   * @param line The line.
   * @param reason What is wrong with it.
   */
  constructor(line: number, reason: string) {
    super(`cannot restore this file: ${line > 0 ? `line ${line}: ` : ""}${reason}`);
    this.line = line;
  }
}

/** Thrown when keys are there already that were not to be replaced. Nothing was written. */
export class ConflictError extends CacheError {
  /** Always `"ConflictError"`. */
  override name = "ConflictError";
  /** How many. */
  readonly count: number;
  /** The first of them, 10 at the most. */
  readonly keys: readonly string[];

  /**
   * Makes an error.
   *
   * @param count How many keys are there.
   * @param keys The first of them.
   */
  constructor(count: number, keys: readonly string[]) {
    const names = `${keys.map(named).join(", ")}${count > keys.length ? ", ..." : ""}`;
    const are = count === 1 ? "1 key that is" : `${count} keys that are`;
    super(`cannot write ${are} there already (${names}): skip or replace ${count === 1 ? "it" : "them"}`);
    this.count = count;
    this.keys = keys;
  }
}

/** A key in a list of keys: quoted where it is no word, so that it cannot pass for more than one, or for a line. */
function named(key: string): string {
  return /^[\w:.%@{}*-]+$/.test(key) ? key : JSON.stringify(key);
}
