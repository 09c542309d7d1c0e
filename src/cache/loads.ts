import type { Epoch } from "../entry/keyspace.ts";

/** A load under way for a key that several callers may wait for. */
export interface Load {
  readonly promise: Promise<unknown>;
  /** The clock from before it: its value is as old as that. */
  readonly epoch: Epoch;
  /** Set when the key was written or deleted meanwhile, or the store is away: the result is handed out, not stored. */
  superseded: boolean;
}
