import { isInvalid } from "../base/check.ts";
import { CacheConfigError, CacheError } from "../base/errors.ts";
import { slips } from "../base/slips.ts";
import { isStoreError, type StoreError } from "../base/store_error.ts";
import { ConflictError } from "../manager/mod.ts";
import { FileError } from "../runtime/file_error.ts";
import { SIGNAL_CODES, type StopSignal } from "../runtime/process.ts";

/** The exit codes besides 0, and 130 after Ctrl-C. */
export const EXIT = {
  /** The command found something wrong, or failed. */
  failed: 1,
  /** The command was called wrongly. */
  usage: 2,
  /** The store does not answer, or refuses the login. */
  away: 3,
} as const;

/** A mistake in how the command was called. */
export class UsageError extends Error {
  /** Always `"UsageError"`. */
  override name = "UsageError";
}

/** A failure whose message is shown without a stack; the exit code is 1. */
export class Failure extends Error {
  /** Always `"Failure"`. */
  override name = "Failure";
}

/** The reason of a stop by a signal. */
export class Stopped extends Error {
  /** Always `"Stopped"`. */
  override name = "Stopped";
  /** The signal. */
  readonly signal: StopSignal;

  /**
   * Makes a reason.
   *
   * @param signal The signal.
   */
  constructor(signal: StopSignal) {
    super(`stopped by ${signal}`);
    this.signal = signal;
  }
}

/** An error as the command reports it. */
export interface Explanation {
  /** The exit code. */
  readonly code: number;
  /** The lines to print; empty if enough was printed before. */
  readonly lines: readonly string[];
}

/**
 * Returns the exit code and the report of an error. Mistakes and failures take a line, bugs show their stack.
 *
 * @param error The error that was thrown.
 * @returns The exit code and the lines, without passwords.
 */
export function explain(error: unknown): Explanation {
  if (error instanceof Stopped) return { code: SIGNAL_CODES[error.signal], lines: [] };
  if (error instanceof CacheConfigError) return reported(EXIT.usage, ...error.problems);
  if (isStoreError(error)) return reported(exitCodeOf(error), error.message);
  if (error instanceof ConflictError) return reported(EXIT.failed, `${error.message} with --on-conflict`);
  if (error instanceof UsageError) return reported(EXIT.usage, error.message);
  if (error instanceof FileError && error.code === "EPIPE") return { code: 141, lines: [] };
  if (error instanceof Failure || error instanceof FileError || error instanceof CacheError) {
    return reported(EXIT.failed, error.message);
  }
  if (isInvalid(error)) return reported(EXIT.usage, error.message);
  return { code: EXIT.failed, lines: [redact(error instanceof Error ? (error.stack ?? error.message) : `${error}`)] };
}

/** Returns the exit code of a store's error. A store that refuses a single command is not away. */
function exitCodeOf({ kind, code }: StoreError): number {
  return kind === "command" || kind === "limit" || code === "NOPERM" ? EXIT.failed : EXIT.away;
}

function reported(code: number, ...messages: string[]): Explanation {
  return { code, lines: messages.map((message) => `error: ${redact(message)}`) };
}

/**
 * Hides the passwords of the URLs in a text.
 *
 * @param text Any text.
 * @returns The text, with `***` instead of passwords.
 */
export function redact(text: string): string {
  return text.replace(/(\b[a-z][a-z\d+.-]*:\/\/[^\s:/?#@"']*):[^\s"']*@/gi, "$1:***@");
}

/**
 * Suggests the name that was probably meant.
 *
 * @param given The name that was given.
 * @param names The names that exist.
 * @returns ` (did you mean ...?)`; empty if no name is similar.
 */
export function suggestion(given: string, names: readonly string[]): string {
  const ranked = names.map((name) => ({ name, far: slips(given.toLowerCase(), name) })).sort((a, b) => a.far - b.far);
  const [best] = ranked;
  return best && best.far <= Math.max(1, best.name.length * 0.4) ? ` (did you mean ${best.name}?)` : "";
}
