import type { CacheListener } from "./events.ts";

/** A logger: `console`, pino, and whatever else has these methods. */
export interface Logger {
  /** Something failed and the application went on without the cache. */
  warn(details: object, message: string): void;
  /** Something that an operator may want to look at later. */
  debug?(details: object, message: string): void;
}

/**
 * A listener that logs: failures, corrupt entries, lost locks and the breaker as warnings, retries for debugging, each at most once a second.
 *
 * @param logger `console`, a pino logger, or anything with `warn(details, message)`.
 * @returns The listener, for `client.subscribe`.
 */
export function logTo(logger: Logger): CacheListener {
  const last = new Map<string, { at: number; held: number }>();
  return (event) => {
    if (!/^(error|corrupt|retry|breaker|lock-lost|load-error)$/.test(event.type)) return;
    // Its caller gets to see what was not replaced by an old value.
    if (event.type === "load-error" && !event.kept) return;
    const now = performance.now();
    const seen = last.get(event.type);
    if (seen && now - seen.at < 1000) {
      seen.held++;
      return;
    }
    last.set(event.type, { at: now, held: 0 });
    const more = seen?.held ? ` (and ${seen.held} more)` : "";
    const { type, ...details } = event;
    const error = "error" in event ? event.error : undefined;
    const line =
      error instanceof Error
        ? { ...details, error: error.message, ...("kind" in error && { kind: error.kind }) }
        : details;
    if (type === "retry") logger.debug?.(line, `cache retry${more}`);
    else logger.warn(line, `cache ${type}${more}`);
  };
}
