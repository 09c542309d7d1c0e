import { CacheConfigError, CacheError } from "../base/errors.ts";
import { slips } from "../base/slips.ts";
import { isStoreError } from "../base/store_error.ts";
import { ConflictError } from "../manager/mod.ts";
import { FileError } from "../runtime/file_error.ts";
import { SIGNAL_CODES, type StopSignal } from "../runtime/process.ts";

/** The exit codes beside 0; after Ctrl-C it is 130. */
export const EXIT = {
  /** Something was found, or went wrong. */
  failed: 1,
  /** The command was called wrongly. */
  usage: 2,
  /** The store does not answer, or lets nobody in. */
  away: 3,
} as const;

/** A mistake in how the command was called. */
export class UsageError extends Error {
  /** Always `"UsageError"`. */
  override name = "UsageError";
}

/** What a user is told of as it is: exit code 1, no stack. */
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

/** What is told of an error. */
export interface Explanation {
  /** The exit code. */
  readonly code: number;
  /** What to print, a line each; none where enough was said. */
  readonly lines: readonly string[];
}

/**
 * What a user is told of an error: mistakes and failures in a line, bugs with their stack.
 *
 * @param error What was thrown.
 * @returns The exit code and the lines, without passwords.
 */
export function explain(error: unknown): Explanation {
  if (error instanceof Stopped) return { code: SIGNAL_CODES[error.signal], lines: [] };
  if (error instanceof CacheConfigError) return told(EXIT.usage, ...error.problems);
  if (isStoreError(error)) return told(error.kind === "command" ? EXIT.failed : EXIT.away, error.message);
  if (error instanceof ConflictError) return told(EXIT.failed, `${error.message} with --on-conflict`);
  if (error instanceof UsageError) return told(EXIT.usage, error.message);
  if (error instanceof FileError && error.code === "EPIPE") return { code: 141, lines: [] };
  if (error instanceof Failure || error instanceof FileError || error instanceof CacheError) {
    return told(EXIT.failed, error.message);
  }
  if (isBadArgument(error)) return told(EXIT.usage, error.message);
  return { code: EXIT.failed, lines: [redact(error instanceof Error ? (error.stack ?? error.message) : `${error}`)] };
}

/** Whether an error is the library's own word on a bad argument. */
export function isBadArgument(error: unknown): error is TypeError | RangeError {
  return (error instanceof TypeError || error instanceof RangeError) && /^cannot \w+ /i.test(error.message);
}

function told(code: number, ...messages: string[]): Explanation {
  return { code, lines: messages.map((message) => `error: ${redact(message)}`) };
}

/**
 * Hides what stands between a URL's user name and its host.
 *
 * @param text Any text.
 * @returns The text, `***` in the place of passwords.
 */
export function redact(text: string): string {
  return text.replace(/(\b[a-z][a-z\d+.-]*:\/\/[^\s:/?#@"']*):[^\s"']*@/gi, "$1:***@");
}

/**
 * The name that was probably meant.
 *
 * @param given What was given.
 * @param names What is accepted.
 * @returns ` (did you mean ...?)`, or nothing where no name is near.
 */
export function suggestion(given: string, names: readonly string[]): string {
  const ranked = names.map((name) => ({ name, far: slips(given.toLowerCase(), name) })).sort((a, b) => a.far - b.far);
  const [best] = ranked;
  return best && best.far <= Math.max(1, best.name.length * 0.4) ? ` (did you mean ${best.name}?)` : "";
}
