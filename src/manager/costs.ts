// Written by scripts/scaling.mjs from the results of bench/capacity.ts.

/** The costs of a verb for a server, in multiples of what the base costs the same server. */
export interface Cost {
  readonly base: "get" | "set" | "script";
  /** Each call among many of one command. */
  readonly together: number;
  /** A call that is a command of its own. */
  readonly own: number;
}

/** The verbs of {@linkcode COSTS}. */
export type Verb = "read" | "knownRead" | "scriptRead" | "slidingRead" | "write" | "taggedWrite" | "invalidation";

/** The costs of each verb. */
export const COSTS: Readonly<Record<Verb, Cost>> = {
  read: { base: "get", together: 1.02, own: 2.23 },
  knownRead: { base: "get", together: 1.15, own: 2.23 },
  scriptRead: { base: "script", together: 1.1, own: 2.72 },
  slidingRead: { base: "script", together: 0.99, own: 2.72 },
  write: { base: "set", together: 1.51, own: 1.78 },
  taggedWrite: { base: "script", together: 3.64, own: 3.81 },
  invalidation: { base: "script", together: 1.83, own: 1.83 },
};

/** The costs of reporting a write to one near client, in GETs: one write of many at a time, and one alone. */
export const NEAR: { readonly together: number; readonly alone: number } = {
  together: 0.47,
  alone: 5.5,
};

/** Bytes of a server's memory: for a process, for an entry beyond its value, and for a mark in each shard. */
export const KEPT_BYTES: Readonly<Record<"entry" | "taggedEntry" | "mark" | "client" | "nearClient", number>> = {
  entry: 164,
  taggedEntry: 420,
  mark: 128,
  client: 38091,
  nearClient: 76247,
};

/** The costs of the server that was measured, in microseconds. */
export const REFERENCE: Readonly<Record<"trip" | "get" | "set" | "script", number>> = {
  trip: 5.93,
  get: 0.77,
  set: 1.24,
  script: 2.95,
};

/** The server that was measured, and its machine. */
export const REFERENCE_NAME = "Redis 7.0.15, Linux x64 with 2 cores";
