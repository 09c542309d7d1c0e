import type { Reply } from "../../drivers/driver.ts";
import type { Shard } from "../entry/keyspace.ts";

/** The invalidation of stores of several parts, and the confirmation by replicas. Names are encoded tags. */
export interface Invalidations {
  /** Moves the epoch of a shard on, by `move` first, until the deadline. Returns the epoch. */
  run(
    shard: Shard,
    names: readonly string[] | undefined,
    timeout: number,
    move: (left: number) => Promise<Reply>,
  ): Promise<Reply>;
  /** Checks the option `confirm`. @throws {TypeError} If the store cannot be asked for it. */
  admit(confirm: unknown): Promise<void>;
  /** Waits until a replica of each master has the invalidation. @throws {StoreError} If none has it in time. */
  confirm(shards: readonly Shard[], names: readonly string[] | undefined, timeout: number): Promise<void>;
}
