import { unref } from "../../src/base/timers.ts";
import { LONGEST_TIMER } from "../../src/base/ttl.ts";
import { type Command, isDenial, type Reply, StoreError } from "../driver.ts";
import { closedError, explained, ignore } from "./errors.ts";

/** The most milliseconds for which closing waits for pending replies. */
const CLOSING = 1000;

/** The events of a connection, for its owner. */
export interface ConnectionHooks {
  /** Called with a reply that says that another server should be asked. */
  denied(error: StoreError): void;
  /** Called once, when the connection is lost. Absent for a connection that belongs to the caller. */
  lost?(error: StoreError): void;
  /** Called with the messages of channels, if it subscribes to some. */
  message?(message: readonly Reply[]): void;
}

/** A connection that callers share: knows what is pending, and notices missing replies. */
export abstract class SharedConnection {
  /** The number of commands that wait for a reply. */
  pending = 0;
  /** The moment at which opening it began. */
  opened = 0;
  /** The moment at which the server was last asked for its role, or the connection was opened. */
  asked = 0;
  /** True after the server has said that it is the primary. */
  primary = false;
  protected readonly endpoint: string;
  protected readonly hooks: ConnectionHooks;
  /** The reason why the connection is lost. */
  protected gone: StoreError | undefined;
  /** The moment of the last reply, or of the oldest pending send if that is later. */
  #since = 0;
  /** The longest timeout of the pending sends, or a little more. */
  #patience = 0;
  /** The longest timeout of the sends since that was last decided, and how many commands are pending from before. */
  #later = 0;
  #before = 0;
  #watch: ReturnType<typeof setTimeout> | undefined;
  #pings: ReturnType<typeof setInterval> | undefined;
  /** Called when nothing is pending any more. */
  #drained: (() => void) | undefined;

  constructor(endpoint: string, hooks: ConnectionHooks) {
    this.endpoint = endpoint;
    this.hooks = hooks;
  }

  /**
   * Sends commands.
   *
   * @param database The database; `undefined` for commands that are the same in each.
   * @param timeout Milliseconds after which missing replies end the connection.
   * @param now The moment of the call.
   */
  abstract send(
    database: number | undefined,
    commands: readonly Command[],
    timeout: number | undefined,
    now: number,
  ): Promise<Reply[]>;

  /** Ends the transport. Pending sends fail with `gone`. */
  protected abstract end(): void;

  /** Returns whether the replies are later than all callers accept. */
  overdue(now: number): boolean {
    return this.pending > 0 && now - this.#since >= this.#patience;
  }

  overdueError(): StoreError {
    const text = `Redis at ${this.endpoint} gave no answer within ${Math.round(this.#patience)} ms`;
    return new StoreError("timeout", text, { repeat: "idempotent" });
  }

  giveUp(): void {
    this.lose(this.overdueError());
  }

  lose(error: StoreError): void {
    if (this.gone || !this.hooks.lost) return;
    this.gone = error;
    clearTimeout(this.#watch);
    clearInterval(this.#pings);
    this.hooks.lost(error);
    this.end();
    this.#drained?.();
  }

  keepAlive(interval: number, timeout: number): void {
    this.#pings = setInterval(() => {
      const now = performance.now();
      const silent = this.pending === 0 && now - this.#since >= interval;
      if (silent) this.send(undefined, [["PING"]], timeout, now).catch(ignore);
    }, interval);
    unref(this.#pings);
  }

  /** Waits for the pending replies, then ends the connection for a reason. */
  async close(why: StoreError = closedError()): Promise<void> {
    if (this.pending > 0) {
      await new Promise<void>((done) => {
        const timer = setTimeout(done, Math.min(this.#patience, CLOSING));
        this.#drained = () => {
          clearTimeout(timer);
          done();
        };
      });
    }
    this.lose(why);
  }

  /** Counts commands as pending. */
  protected begin(count: number, timeout: number = Number.POSITIVE_INFINITY, now: number): void {
    if (this.pending === 0) {
      this.#since = now;
      this.#patience = timeout;
    } else if (timeout > this.#patience) this.#patience = timeout;
    if (timeout > this.#later) this.#later = timeout;
    if (this.#watch === undefined) this.#arm(this.#patience);
    this.pending += count;
  }

  /** Notes that a reply has come. */
  protected heard(): void {
    // Without pending commands, the moment is not needed.
    if (this.pending > 0) this.#since = performance.now();
  }

  /** Counts commands as answered. */
  protected answered(count: number): void {
    this.pending -= count;
    this.#before -= count;
    if (this.#before <= 0) {
      // A connection that is never at rest forgets the sends that have their replies.
      this.#patience = this.#later;
      this.#later = 0;
      this.#before = this.pending;
    }
    if (this.pending === 0) this.#drained?.();
  }

  /** Returns the error of a command. An error about the server is also acted upon and explained. */
  protected refused(error: StoreError): StoreError {
    if (!isDenial(error)) return explained(error, this.endpoint);
    this.hooks.denied(error);
    return error;
  }

  #arm(delay: number): void {
    if (!this.hooks.lost || delay === Number.POSITIVE_INFINITY) return;
    this.#watch = setTimeout(
      () => {
        this.#watch = undefined;
        const now = performance.now();
        if (this.overdue(now)) this.giveUp();
        else if (this.pending > 0) this.#arm(this.#patience - (now - this.#since));
      },
      Math.min(delay, LONGEST_TIMER),
    );
    unref(this.#watch);
  }
}
