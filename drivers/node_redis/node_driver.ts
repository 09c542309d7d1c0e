import type { Driver, StoreError } from "../driver.ts";

/** The driver of one server as drivers of several servers use it. */
export interface NodeDriver extends Driver {
  /** Closes everything at once. Pending and waiting sends fail with the reason, and trackings end with `down`. */
  drop(why: StoreError): void;
}
