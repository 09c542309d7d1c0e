import type { BreakerState } from "../telemetry/events.ts";

/** The result of a health check. */
export interface Health {
  /** `true` if reads and writes work. */
  readonly ok: boolean;
  /** `true` if the store answers reads. */
  readonly reads: boolean;
  /**
   * `true` if the store takes writes, as a script that changes nothing finds out. A replica, a full store and one that
   * cannot persist refuse writes, as does a store whose user may not write or run scripts.
   */
  readonly writes: boolean;
  /** The driver's name. */
  readonly driver: string;
  /** The way in which databases are kept apart. */
  readonly databases: "numbered" | "prefixed";
  /** The state of the circuit breaker; `"closed"` without one. */
  readonly breaker: BreakerState;
  /** The time that the store took to answer, in milliseconds; absent if reads do not work. */
  readonly latency?: number;
  /** The reason that reads, or else writes, do not work, without secrets. */
  readonly error?: string;
  /**
   * The store's error if it refuses to report changed keys, so that near caches keep nothing. Absent if it reports
   * them, or was not asked to.
   */
  readonly near?: string;
  /**
   * The parts of a store that has several, such as the masters of a cluster. The other fields speak of all of them: the
   * worst state of a breaker, the longest latency, and `ok` if all are.
   */
  readonly parts?: readonly PartHealth[];
}

/** The result of a health check of one part of a store, such as a master of a cluster. */
export interface PartHealth {
  /** The address, `"host:port"`. */
  readonly address: string;
  /** `true` if reads and writes work there. */
  readonly ok: boolean;
  /** The state of its circuit breaker; `"closed"` without one. */
  readonly breaker: BreakerState;
  /** The time that it took to answer, in milliseconds; absent if reads do not work. */
  readonly latency?: number;
  /** The reason that reads, or else writes, do not work, without secrets. */
  readonly error?: string;
}
