/**
 * The circuit breaker: a store that fails again and again is left alone for a while, so that no caller waits for it,
 * and so that it can recover.
 *
 * A closed breaker counts failures in a row. An open one lets nothing leave. A half-open one lets one probe at a time
 * leave, and the outcome of the probe closes or opens the breaker. Any answer closes it, even to an older send.
 *
 * No timer runs. An open breaker notices with the next send that its time is over.
 */
import { StoreError } from "../../drivers/driver.ts";
import { checkNames, invalid } from "../base/check.ts";
import { millisecondsOf, type Timeout } from "../base/ttl.ts";
import type { BreakerState } from "../telemetry/events.ts";

/** When a client stops sending to a store that fails, and for how long. */
export interface BreakerOptions {
  /** The number of sends in a row that must fail. All that fails with one lost connection is one failure. @default 5 */
  readonly failures?: number;
  /** The pause before a send is tried again, doubled with each that fails: milliseconds, or `"1s"`. @default 1000 */
  readonly openFor?: Timeout;
  /** The longest pause: milliseconds, or `"30s"`. @default 30_000, or `openFor` if that is longer */
  readonly maxOpenFor?: Timeout;
}

/** Counts failures of sends in a row, and decides whether a send may leave. */
export class Breaker {
  readonly #failures: number;
  readonly #openFor: number;
  readonly #maxOpenFor: number;
  readonly #now: () => number;
  readonly #onChange: (state: BreakerState, error?: StoreError) => void;
  #state: BreakerState = "closed";
  #failed = 0;
  #pause = 0;
  /** The end of the pause in which no send may leave; unused when closed. */
  #until = 0;
  /** Failures of sends that left before this moment say nothing new. */
  #since = Number.NEGATIVE_INFINITY;
  #cause: StoreError | undefined;
  #error: StoreError | undefined;

  /**
   * @param options When to open, and for how long.
   * @param now The clock, in monotonic milliseconds.
   * @param onChange Called with each new state, and with the failure that opened it. Must not throw.
   * @throws {TypeError | RangeError} For an unknown option, and for one out of its range.
   */
  constructor(options: BreakerOptions, now: () => number, onChange: (state: BreakerState, error?: StoreError) => void) {
    checkNames(options, ["failures", "openFor", "maxOpenFor"], "breaker", "false or ");
    const { failures = 5, openFor = 1000 } = options;
    const first = millisecondsOf(openFor);
    const { maxOpenFor = Math.max(30_000, first) } = options;
    const most = millisecondsOf(maxOpenFor);
    check("failures", failures, Number.isInteger(failures) && failures > 0, "a whole number from 1");
    check("openFor", openFor, Number.isFinite(first) && first > 0, 'milliseconds above 0, or a string such as "1s"');
    check("maxOpenFor", maxOpenFor, Number.isFinite(most) && most >= first, `milliseconds from ${first}`);
    this.#failures = failures;
    this.#openFor = first;
    this.#maxOpenFor = most;
    this.#now = now;
    this.#onChange = onChange;
  }

  /** The state. An open breaker stays `"open"` until a send asks after its pause. */
  get state(): BreakerState {
    return this.#state;
  }

  /** True if the last send failed. */
  get failing(): boolean {
    return this.#failed > 0;
  }

  /**
   * Returns true if a send may leave now. If the breaker was open, this send is a probe. Another one may leave if the
   * outcome of the probe is not known within `openFor`.
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

  /** Returns the error of operations whose sends may not leave, of kind `"connection"`. One opening has one error. */
  error(): StoreError {
    this.#error ??= new StoreError(
      "connection",
      `The store failed ${this.#failed} times in a row: it is tried again after ${this.#pause} ms`,
      { cause: this.#cause },
    );
    return this.#error;
  }

  /** Records a send that got an answer, even if individual commands failed. */
  succeed(): void {
    if (this.#failed === 0) return;
    this.#failed = 0;
    if (this.#state === "closed") return;
    this.#since = this.#now();
    this.#turn("closed");
  }

  /**
   * Records a send that failed as a whole. Lost connections, timeouts, unreadable answers and refusals of too many
   * requests count. A store that refuses for another reason is up, so that counts as an answer.
   *
   * @param error The failure.
   * @param sent The moment when the send left, by the breaker's clock. @default now
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
    // A lost connection fails everything in flight at once, so that counts once. Each timeout counts.
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

/** Returns true if the store cannot be reached, or asks to be left alone. */
function isAway({ kind, repeat }: StoreError): boolean {
  return kind === "limit" ? repeat === "all" : kind !== "auth" && kind !== "command";
}

function check(name: string, value: unknown, fits: boolean, expected: string): void {
  if (!fits) throw invalid(`set ${name} of the breaker`, value, expected, RangeError);
}
