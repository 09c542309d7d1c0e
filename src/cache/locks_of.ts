import { needed } from "../base/check.ts";
import type { CacheContext } from "./context.ts";
import type { awaitTurn } from "./load_lock.ts";
import type { withLock } from "./with_lock.ts";

/** The functions that take locks. */
export interface Locks {
  /** Waits for the turn to load. */
  readonly awaitTurn: typeof awaitTurn;
  /** Runs a function while no other caller holds a lock. */
  readonly withLock: typeof withLock;
}

/** Returns the functions that take locks. @throws {TypeError} If the client has none. */
export function locksOf(context: Pick<CacheContext, "locks">): Locks {
  return needed(context.locks as (() => Locks) | undefined, "lock", "locks")();
}
