import type { Driver, Reply, StoreError } from "../../drivers/driver.ts";
import type { Events, Sending } from "../telemetry/events.ts";
import type { AskEpoch } from "./ask_epochs.ts";
import type { Breaker } from "./breaker.ts";
import type { DeclaredMarks } from "./declared_marks.ts";
import type { LoadClock } from "./load_clock.ts";
import type { ReadHeads } from "./read_heads.ts";
import type { ReadBy, Slot } from "./slot.ts";

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
  /** Keeps commands from a store that fails again and again. If the store has several parts, each has its own. */
  readonly breaker?: Breaker | undefined;
  /** Sends what goes to each part of the store apart from the rest, if it has several parts. */
  readonly parts?: BatchParts | undefined;
  /** The rights of this user at the store, shared by all batches over it. */
  readonly rights?: ReadRights | undefined;
  /** Reads heads by plain commands. */
  readonly readHeads?: ReadHeads | undefined;
  /** Declares the marks of tags as keys of scripts, where stores want that. */
  readonly declared?: DeclaredMarks | undefined;
  /** Asks for the epochs that writes by plain commands need. */
  readonly ask?: AskEpoch | undefined;
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

/** The slots of one send, until each has its answer. */
export interface Flight {
  readonly slots: readonly Slot[];
  readonly until: number;
  /** The part of the store that it was sent to. */
  part: Part;
  attempt: number;
  /** Frees the keys of the slots, if they were claimed. */
  free: (() => void) | undefined;
  /** Called at the end, if the flush left in several portions. */
  done: (() => void) | undefined;
}

/** A part of a store: one server of a cluster, or all of a store that has one part. */
export interface Part {
  /** The name, if the store has several parts. */
  readonly name?: string | undefined;
  /** Keeps commands from a part that fails again and again. */
  readonly breaker: PartBreaker | undefined;
  /** The hashes of scripts that it knows. */
  readonly known: Set<string>;
}

/** The circuit breaker of a part. */
export interface PartBreaker extends Pick<Breaker, "state" | "fail"> {
  /** Records a send that got an answer. Replies that say that the part is away become such errors. */
  succeed(replies: Reply[], sent: number): void;
}

/** The steps of a batch over a store of several parts: `StoreParts` of `store_parts.ts`. */
export interface BatchParts {
  /**
   * Cuts the slots of a flush into those for each part, each list in the order of the calls. The callers of some may
   * get other slots. Returns `undefined` if the store has one part.
   */
  cut(slots: readonly Slot[], driver: Driver, database: number): (readonly Slot[])[] | undefined;
  /** Returns the part that slots of one flight go to now; `undefined` if the store has one part. */
  of(slots: readonly Slot[], driver: Driver | undefined): Part | undefined;
}
