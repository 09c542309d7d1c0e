import { refuse } from "../base/check.ts";
import type { CacheListener } from "./events.ts";

/** A logger: `console`, pino, and whatever else has these methods. */
export interface Logger {
  /** Something failed and the application went on without the cache. */
  warn(details: object, message: string): void;
  /** Something that an operator may want to look at later. */
  debug?(details: object, message: string): void;
}

/** How often there is a line of one kind at the most, in milliseconds: where a logger is given, and where none is. */
const EVERY = 1000;
const EVERY_ON_CONSOLE = 60_000;

/** The console of whoever gave no logger: each warning is one line of text among the application's own. */
const CONSOLE: Logger = {
  warn(details, message) {
    const more = JSON.stringify(details);
    console.warn(`larder: ${message}${more === "{}" ? "" : ` ${more}`}`);
  },
};

/** What changes a state is never held back, for the last line must be true. */
const CHANGES = /^(breaker|near-(un)?available)$/;
const LOGGED = /^(error|corrupt|retry|breaker|lock-lost|load-error|load-unasked|near-(un)?available)$/;

/**
 * A listener that logs: failures, corrupt entries, loads of other ids than asked for, lost locks, near caches that
 * cannot work and the breaker as warnings, retries for debugging. Of each kind there is a line a second at the most;
 * changes of the breaker and of near caches are all told.
 *
 * @param logger `console`, a pino logger, or anything with `warn(details, message)`.
 * @returns The listener, for `client.subscribe`.
 */
export function logTo(logger: Logger): CacheListener {
  return logEvery(logger, EVERY);
}

/** A client's listener: by its logger, without one to the console with a line a kind and minute; `false` is silence. */
export function listenerOf(logger: Logger | false | undefined): CacheListener | undefined {
  if (logger === false) return undefined;
  if (logger === undefined) return logEvery(CONSOLE, EVERY_ON_CONSOLE);
  if (typeof (logger as Logger | null)?.warn !== "function") refuse("this logger", "objects with warn, and false");
  return logTo(logger);
}

const told = new WeakMap<Logger, Set<string>>();

/**
 * Warns of what is as it is for as long as the process runs: each message once a logger.
 *
 * @param logger The client's: without one the console, `false` is silence.
 * @param message What is wrong and what to do, without values and secrets.
 * @param details More for a logger that keeps fields.
 */
export function warnOnce(logger: Logger | false | undefined, message: string, details: object = {}): void {
  if (logger === false) return;
  const to = logger ?? CONSOLE;
  const known = told.get(to) ?? new Set();
  if (known.has(message)) return;
  told.set(to, known.add(message));
  warn(to, details, message);
}

/** Warns where a logger that throws must not stop anything. No logger is the console, `false` is silence. */
export function warn(logger: Logger | false | undefined, details: object, message: string): void {
  try {
    if (logger !== false) (logger ?? CONSOLE).warn(details, message);
  } catch {
    // The logger's own failure.
  }
}

function logEvery(logger: Logger, pause: number): CacheListener {
  const last = new Map<string, { at: number; held: number }>();
  return (event) => {
    if (!LOGGED.test(event.type)) return;
    // Its caller gets to see what was not replaced by an old value.
    if (event.type === "load-error" && !event.kept) return;
    const { type, ...details } = event;
    const error = "error" in event ? event.error : undefined;
    const line =
      error instanceof Error
        ? { ...details, error: error.message, ...("kind" in error && { kind: error.kind }) }
        : "error" in event
          ? // Whatever an application throws.
            { ...details, error: `a value of type ${typeof error}` }
          : details;
    const kind = `${type} ${"kind" in line ? line.kind : ""}`;
    const now = performance.now();
    const seen = last.get(kind);
    if (seen && now - seen.at < pause && !CHANGES.test(type)) {
      seen.held++;
      return;
    }
    last.set(kind, { at: now, held: 0 });
    const more = seen?.held ? ` (and ${seen.held} more)` : "";
    if (type === "retry") logger.debug?.(line, `cache retry${more}`);
    else logger.warn(line, `cache ${type}${more}`);
  };
}
