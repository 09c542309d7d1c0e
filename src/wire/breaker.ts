/**
 * The circuit breaker: a store that fails again and again is left alone for a while, so that nobody waits for it and it
 * is not held down by those who ask.
 *
 * Closed, it counts failures in a row; open, nothing is sent; half-open, one probe at a time is, and its outcome closes
 * or opens it. An answer to anything closes it, whenever that was sent.
 *
 * Time is asked for, no timer runs: an open breaker notices that its time is over with the next send.
 */
import { StoreError } from "../../drivers/driver.ts";
import { checkNames } from "../base/check.ts";
import { millisecondsOf, type Timeout } from "../base/ttl.ts";
import type { BreakerState } from "../telemetry/events.ts";

/** When a client stops sending to a store that fails, and for how long. */
export interface BreakerOptions {
  /**
   * How many sends in a row must fail. What fails when one connection is lost is one failure. @default 5
   */
  readonly failures?: number;
  /** How long before a send is tried again, doubled with each that fails: milliseconds, or `"1s"`. @default 1000 */
  readonly openFor?: Timeout;
  /** How long at the most: milliseconds, or `"30s"`. @default 30_000, or `openFor` where that is longer */
  readonly maxOpenFor?: Timeout;
}

/** Counts failures of sends in a row, and tells when none should leave. */
export class Breaker {
  readonly #failures: number;
  readonly #openFor: number;
  readonly #maxOpenFor: number;
  readonly #now: () => number;
  readonly #onChange: (state: BreakerState, error?: StoreError) => void;
  #state: BreakerState = "closed";
  #failed = 0;
  #pause = 0;
  /** Until when no send may leave; unused when closed. */
  #until = 0;
  /** Failures of sends that left before tell nothing new. */
  #since = Number.NEGATIVE_INFINITY;
  #cause: StoreError | undefined;
  #error: StoreError | undefined;

  /**
   * @param options When to open, and for how long.
   * @param now Monotonic milliseconds.
   * @param onChange Told each new state, and the failure that opened it. Must not throw.
   * @throws {TypeError | RangeError} For an unknown option, and one out of its range.
   */
  constructor(options: BreakerOptions, now: () => number, onChange: (state: BreakerState, error?: StoreError) => void) {
    checkNames(options, ["failures", "openFor", "maxOpenFor"], "breaker", "false and ");
    const { failures = 5, openFor = 1000 } = options;
    const first = millisecondsOf(openFor);
    const { maxOpenFor = Math.max(30_000, first) } = options;
    const most = millisecondsOf(maxOpenFor);
    check("failures", failures, Number.isInteger(failures) && failures > 0, "whole numbers from 1");
    check("openFor", openFor, Number.isFinite(first) && first > 0, 'milliseconds above 0, or strings such as "1s"');
    check("maxOpenFor", maxOpenFor, Number.isFinite(most) && most >= first, `milliseconds from ${first}`);
    this.#failures = failures;
    this.#openFor = first;
    this.#maxOpenFor = most;
    this.#now = now;
    this.#onChange = onChange;
  }

  /** Whether sends leave. An open breaker stays `"open"` until a send asks after its time. */
  get state(): BreakerState {
    return this.#state;
  }

  /** Whether the last send failed. */
  get failing(): boolean {
    return this.#failed > 0;
  }

  /**
   * Whether a send may leave now. Where the breaker was open this makes the send a probe: another is let through when
   * its outcome was not told within `openFor`.
   */
  allows(): boolean {
    if (this.#state === "closed") return true;
    const now = this.#now();
    if (now < this.#until) return false;
    this.#until = now + this.#openFor;
    this.#since = now;
    if (this.#state === "open") this.#turn("half-open");
    return true;
  }

  /** What operations get whose sends may not leave, of kind `"connection"`: one error an opening. */
  error(): StoreError {
    this.#error ??= new StoreError(
      "connection",
      `the store failed ${this.#failed} times in a row: it is tried again ${this.#pause} ms after the last`,
      { cause: this.#cause },
    );
    return this.#error;
  }

  /** A send was answered, be it with errors of its commands. */
  succeed(): void {
    if (this.#failed === 0) return;
    this.#failed = 0;
    if (this.#state === "closed") return;
    this.#since = this.#now();
    this.#turn("closed");
  }

  /**
   * A send failed as a whole. Lost connections, timeouts, unreadable answers and refusals for too many requests count;
   * a store that refuses for another reason is there, so that is as good as an answer.
   *
   * @param error Why.
   * @param sent When the send left, by the breaker's clock. @default now
   */
  fail(error: StoreError, sent: number = this.#now()): void {
    if (error.kind === "closed") return;
    if (!isAway(error)) {
      this.succeed();
      return;
    }
    if (this.#state === "open" || sent < this.#since) return;
    this.#failed++;
    if (this.#state === "half-open") this.#open(error, Math.min(this.#pause * 2, this.#maxOpenFor));
    else if (this.#failed >= this.#failures) this.#open(error, this.#openFor);
    // A lost connection fails all that is under way at once, while each timeout is a wait of its own.
    else if (error.kind !== "timeout") this.#since = this.#now();
  }

  #open(error: StoreError, pause: number): void {
    this.#pause = pause;
    this.#until = this.#now() + pause;
    this.#cause = error;
    this.#error = undefined;
    this.#turn("open", error);
  }

  #turn(state: BreakerState, error?: StoreError): void {
    this.#state = state;
    this.#onChange(state, error);
  }
}

/** Whether the store cannot be reached, or asks to be left alone. */
function isAway({ kind, repeat }: StoreError): boolean {
  return kind === "limit" ? repeat === "all" : kind !== "auth" && kind !== "command";
}

function check(name: string, value: unknown, fits: boolean, accepted: string): void {
  if (!fits) throw new RangeError(`cannot use ${name} ${String(value)} of the breaker: accepted are ${accepted}`);
}
