import type { Driver, StoreError } from "../../drivers/driver.ts";
import type { Events, Sending } from "../telemetry/events.ts";
import type { Breaker } from "./breaker.ts";
import type { LoadClock } from "./load_clock.ts";
import type { ReadHeads } from "./read_heads.ts";
import type { ReadBy } from "./slot.ts";

/** Options of a batch. */
export interface BatchOptions {
  /** The database that commands are sent to. */
  readonly database: number;
  /** The driver, opened on the first call. Throws once the client is closed. */
  readonly driver: () => Driver | Promise<Driver>;
  /** The clock of deadlines, which stands still while the driver opens. @default the clock of the system */
  readonly clock?: LoadClock | undefined;
  /** The number of times that a command may be repeated. */
  readonly retries: number;
  /** Counters to add to. */
  readonly wire: BatchStats;
  /** Keeps commands from a store that fails again and again. */
  readonly breaker?: Breaker | undefined;
  /** The rights of this user at the store, shared by all batches over it. */
  readonly rights?: ReadRights | undefined;
  /** Reads heads by plain commands. */
  readonly readHeads?: ReadHeads | undefined;
  /** Called before a tick's commands leave. The commands that it adds leave with them. */
  readonly onLeave?: (() => void) | undefined;
  /** Takes an event for each send. */
  readonly sends?: Events<Sending> | undefined;
  /** Called before commands are repeated. */
  readonly onRetry: (attempt: number, commands: number, error: StoreError) => void;
}

/** The rights of a user at a store. */
export interface ReadRights {
  /** The command by which reads run that need a script. */
  readBy: ReadBy;
  /** True once the store refused to run scripts by their hashes: each is sent whole. */
  whole?: boolean;
}

/** Counts of commands and sends. */
export interface BatchStats {
  /** Commands sent, repeated ones included. */
  commands: number;
  /** Sends: pipelines over TCP, requests over REST. */
  roundTrips: number;
  /** Commands that were sent again. */
  retries: number;
}
