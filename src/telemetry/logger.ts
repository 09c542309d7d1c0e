import { invalidType } from "../base/check.ts";
import type { CacheListener } from "./events.ts";

/** A logger: `console`, pino, or any other object with these methods. */
export interface Logger {
  /** Takes a failure; the application went on without the cache. */
  warn(details: object, message: string): void;
  /** Takes a detail that may help an operator later. */
  debug?(details: object, message: string): void;
}

/** The shortest pause between two lines of one kind, in milliseconds: with a logger, and on the console. */
const EVERY = 1000;
const EVERY_ON_CONSOLE = 60_000;

/** The console, for clients without a logger. Each warning is one line of text among those of the application. */
const CONSOLE: Logger = {
  warn(details, message) {
    const more = JSON.stringify(details);
    console.warn(`larder: ${message}${more === "{}" ? "" : ` ${more}`}`);
  },
};

/** The events that change a state. They are never held back, because the last line must be true. */
const CHANGES = /^(breaker|near-(un)?available)$/;
const LOGGED =
  /^(error|corrupt|retry|breaker|lock-lost|invalidate-(kept|sent)|load-error|load-unasked|near-(un)?available)$/;

/**
 * Returns a listener that logs. Warnings are failures, corrupt entries, loads of ids that were not asked for, lost
 * locks, invalidations that were kept, near caches that cannot work, and the breaker; retries are logged for debugging.
 * Each kind has at most one line a second, but every change of the breaker and of near caches is logged.
 *
 * @param logger `console`, a pino logger, or anything with `warn(details, message)`.
 * @returns The listener, for `client.subscribe`.
 */
export function logTo(logger: Logger): CacheListener {
  return logEvery(logger, EVERY);
}

/** Returns the listener of a client. Without a logger it warns on the console, one line a kind and minute. */
export function listenerOf(logger: Logger | false | undefined): CacheListener | undefined {
  if (logger === false) return undefined;
  if (logger === undefined) return logEvery(CONSOLE, EVERY_ON_CONSOLE);
  if (typeof (logger as Logger | null)?.warn !== "function")
    throw invalidType("use a logger", logger, "an object with warn, or false");
  return logTo(logger);
}

const warned = new WeakMap<Logger, Set<string>>();

/**
 * Warns of a state that lasts for as long as the process runs. Each logger gets a message once.
 *
 * @param logger The logger of the client; without one the console, `false` for silence.
 * @param message The problem and its remedy, without values and secrets.
 * @param details Fields for a logger that keeps them.
 */
export function warnOnce(logger: Logger | false | undefined, message: string, details: object = {}): void {
  if (logger === false) return;
  const to = logger ?? CONSOLE;
  const known = warned.get(to) ?? new Set();
  if (known.has(message)) return;
  warned.set(to, known.add(message));
  warn(to, details, message);
}

/** Warns, and ignores what the logger throws. Without a logger the console warns, `false` is silence. */
export function warn(logger: Logger | false | undefined, details: object, message: string): void {
  try {
    if (logger !== false) (logger ?? CONSOLE).warn(details, message);
  } catch {
    // A failure of the logger must not become one of the cache.
  }
}

function logEvery(logger: Logger, pause: number): CacheListener {
  const last = new Map<string, { at: number; held: number }>();
  return (event) => {
    if (!LOGGED.test(event.type)) return;
    // Without an old value the error goes to the caller.
    if (event.type === "load-error" && !event.kept) return;
    const { type, ...details } = event;
    const error = "error" in event ? event.error : undefined;
    const line =
      error instanceof Error
        ? { ...details, error: error.message, ...("kind" in error && { kind: error.kind }) }
        : "error" in event
          ? // An application may throw any value.
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
