import type { Reply } from "../../drivers/driver.ts";
import type { Runner, Shard } from "../entry/keyspace.ts";

/** The invalidation of stores of several parts, and the confirmation by replicas. Names are encoded tags. */
export interface Invalidations {
  /** Moves the epoch of a shard on, again and again until the deadline. Returns the epoch. */
  run(runner: Runner, shard: Shard, names: readonly string[] | undefined, timeout: number): Promise<Reply>;
  /** Checks the option `confirm`. @throws {TypeError} If the store cannot be asked for it. */
  admit(confirm: unknown): Promise<void>;
  /**
   * Waits until a replica of each master has the invalidation.
   *
   * @param moved Resolves, to anything but `undefined`, when the masters have it.
   * @returns What `moved` resolved to.
   * @throws {StoreError} If none has it in time.
   */
  confirm<T>(
    moved: Promise<T>,
    shards: readonly Shard[],
    names: readonly string[] | undefined,
    timeout: number,
  ): Promise<T>;
}
