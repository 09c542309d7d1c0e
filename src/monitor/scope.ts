/** The scope of a rule: the numbers that its metric is read from. */
import { type Frame, type Frames, sampleIn, totalOf } from "./frames.ts";
import type { Scope } from "./rule_metrics.ts";
import type { CheckedRule } from "./rules.ts";
import { counted, type Sample, sampleDifference } from "./series.ts";

/**
 * Returns the scope of a rule.
 *
 * @param frames The frames that windows begin with.
 * @param now The current frame.
 * @param rule The rule.
 * @param service The service that it is judged for, if it is judged for one.
 * @param breakerOpen `true` while a circuit breaker is not closed.
 * @returns The scope.
 */
export function scopeOf(
  frames: Frames,
  now: Frame,
  { window, collection }: CheckedRule,
  service: string | undefined,
  breakerOpen: boolean,
): Scope {
  const start = frames.start(window, now);
  const read = (frame: Frame): Sample =>
    service === undefined || collection === undefined ? totalOf(frame, service) : sampleIn(frame, service, collection);
  const fleet = { hits: 0, misses: 0 };
  for (const name of service === undefined ? Object.keys(now.fleet) : [service]) {
    const { hits = 0, misses = 0 } = frames.fleetIn(window, now, name) ?? {};
    fleet.hits += hits;
    fleet.misses += misses;
  }
  return {
    counted: counted(sampleDifference(read(now), read(start))),
    fleet,
    store: now.store,
    storeDone: {
      evictions: frames.storeIn(window, now, "evictions"),
      expired: frames.storeIn(window, now, "expired"),
      slowQueries: frames.storeIn(window, now, "slowQueries"),
    },
    unanswered: now.unanswered - start.unanswered,
    breakerOpen,
    service,
  };
}
