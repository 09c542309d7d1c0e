/** The work of the verbs of rate limits: check the arguments, ask the store or the memory of refusals, and judge. */
import type { Reply } from "../../drivers/driver.ts";
import { checkNames, checkWhole, invalid } from "../base/check.ts";
import { type Duration, parseDuration } from "../base/ttl.ts";
import { type Limit, type Room, roomOf, stateAt } from "../lua/limit_state.ts";
import { rateLimit } from "../lua/rate_limit.ts";
import { RunsSlot } from "../wire/runs_slot.ts";
import { report, timeoutOf } from "./call.ts";
import type { CacheContext } from "./context.ts";
import type {
  LimitOptions,
  RateCount,
  RateCountOptions,
  RateLimit,
  RateLimitOptions,
  RateLimitResult,
  RateLimitState,
  RateLimitsResult,
  RateRequestOptions,
} from "./rate_limit_types.ts";
import { type RefusalMemory, type States, type StoreAnswer, sameLimits } from "./refusals.ts";

/** The parts that a request needs. */
export interface Place {
  readonly context: CacheContext;
  readonly refusals: RefusalMemory;
}

/** An answer of the store, without the question. */
type Answer = Omit<StoreAnswer, "limits" | "asked">;

/** The limits at a moment. */
interface Verdict {
  readonly rooms: readonly Room[];
  /** True if the request was counted. */
  readonly pass: boolean;
  /** The moment, by the store's clock. */
  readonly at: number;
}

/** The names of the algorithms in the script. */
const ALGORITHMS = new Map([
  ["fixed", "f"],
  ["sliding", "s"],
  ["token-bucket", "t"],
]);
const OF_CALLS = ["onUnavailable", "timeout"];
const OF_COUNTS = ["window", "by", ...OF_CALLS];
const OF_REQUESTS = ["cost", "rememberFor", ...OF_CALLS];
const OF_LIMITS = ["limit", "window", "algorithm"];
const OF_BOTH = [...OF_LIMITS, ...OF_REQUESTS];

/** A month. Its product with the highest limit is still an exact integer. */
const LONGEST_WINDOW = 30 * 864e5;
const WINDOWS = 'seconds as a number, or a string such as "30s" "5m" "2h" "1d", above 0 and at most 30 days';
const HIGHEST_LIMIT = 1e6;
const MOST_LIMITS = 16;
/** The milliseconds of windows, because each request names its own. */
const windows = new Map<Duration, number>();
const MOST_WINDOWS = 100;
const EVER = Number.POSITIVE_INFINITY;
const SECOND = 1000;

/** Counts with sign 1, gives back with sign -1. */
export function countRate(place: Place, key: string, sign: number, options: RateCountOptions = {}): Promise<RateCount> {
  checkNames(options, OF_COUNTS, "a count");
  const { window = "1m", by = 1, onUnavailable } = options;
  const most = Number.MAX_SAFE_INTEGER;
  const limit = { kind: "c", window: windowOf(window), limit: most };
  checkWhole(by, "by", sign > 0 ? 1 : 0, most);
  return ask(place.context, key, by * sign, [limit], options, (answer) => {
    if (!answer) {
      const count = onUnavailable === "allow" ? 0 : EVER;
      return { count, resetAt: new Date(Date.now() + limit.window), available: false };
    }
    if (!answer.pass && sign > 0) throw invalid("count more", by, `a count up to ${most}`);
    const { free, reset } = roomsOf([limit], answer, 1, answer.now)[0] as Room;
    return { count: most - free, resetAt: new Date(answer.shown + reset), available: true };
  });
}

/** Asks one limit or several with sign 1, gives back with sign -1. */
export function checkRate(
  place: Place,
  key: string,
  sign: number,
  given: RateLimitOptions | readonly RateLimit[],
  options?: RateRequestOptions,
): Promise<RateLimitsResult | RateLimitResult> {
  const several = Array.isArray(given);
  const both = Object(options) === options ? { ...given, ...options } : (options ?? given);
  const call = (several ? (options ?? {}) : both) as RateRequestOptions;
  checkNames(call, several ? OF_REQUESTS : OF_BOTH, "a rate limit");
  const limits = several ? limitsOf(given) : [limitOf(given as RateLimit)];
  const { cost = 1, rememberFor } = call;
  checkWhole(cost, "cost", sign > 0 ? 0 : 1, HIGHEST_LIMIT);
  const longest =
    rememberFor === undefined ? SECOND : rememberFor !== false && (parseDuration(rememberFor, "rememberFor") ?? EVER);
  const signed = sign * cost;
  const recalled = signed > 0 && longest && recall(place, key, limits, cost, longest);
  if (recalled) {
    checkCall(place.context, call);
    return Promise.resolve(resultOf(limits, recalled, cost, call, several));
  }
  const { refusals, context } = place;
  // Its room is about to change, so a later request must not hear of the room before it.
  if (sign < 0 || (cost > 0 && refusals.knows(key))) refusals.forget(key);
  const answers = refusals.begin(key);
  const asked = context.now();
  return ask(context, key, signed, limits, call, (answer) => {
    if (!answer) return resultOf(limits, undefined, signed, call, several);
    const { states, now, shown, pass } = answer;
    const need = needOf(signed);
    const rooms = roomsOf(limits, answer, need, now);
    // What has room may be counted in by a request for other limits. A copy goes when its limit is asked for again, by
    // a request that is not only to look: the next one has to leave.
    if (haveRoom(rooms, need) || states.some(({ copy }) => copy)) refusals.forget(key);
    else if (cost !== 0) refusals.keep(key, answers, { ...answer, limits, asked });
    return resultOf(limits, { rooms, pass, at: shown }, signed, call, several);
  });
}

/** Returns the verdict of the store if it last said that the limits have no room for the request. */
function recall(
  { context, refusals }: Place,
  key: string,
  limits: readonly Limit[],
  need: number,
  longest: number,
): Verdict | undefined {
  const answer = refusals.find(key, limits);
  if (!answer) return undefined;
  const passed = context.now() - answer.asked;
  if (passed < 0 || passed >= longest) return undefined;
  // Counted from before the answer and rounded up, so that no request is refused longer than the store would.
  const now = Math.ceil(answer.now + passed);
  const rooms = roomsOf(limits, answer, need, now);
  if (haveRoom(rooms, need)) return undefined;
  return { rooms, pass: false, at: now + answer.shown - answer.now };
}

/** Puts a verdict into words; without one, the store is away. */
function resultOf(
  limits: readonly Limit[],
  verdict: Verdict | undefined,
  cost: number,
  options: LimitOptions,
  several: boolean,
): RateLimitResult | RateLimitsResult {
  const available = verdict !== undefined;
  if (!several) {
    // Field by field, which is faster than to spread, and a refusal from memory must be short.
    const { allowed, limit, remaining, resetAt, retryAfter } = stateOf(limits, 0, verdict, cost, options);
    return { allowed, limit, remaining, resetAt, retryAfter, available };
  }
  const states = limits.map((_, i) => stateOf(limits, i, verdict, cost, options));
  let decidedBy = 0;
  states.forEach(({ remaining, retryAfter }, i) => {
    const decides = states[decidedBy] as RateLimitState;
    const more = retryAfter - decides.retryAfter;
    if (more > 0 || (more === 0 && remaining < decides.remaining)) decidedBy = i;
  });
  return { ...(states[decidedBy] as RateLimitState), available, decidedBy, limits: states };
}

/** Returns the state of one of the limits after a request. */
function stateOf(
  limits: readonly Limit[],
  index: number,
  verdict: Verdict | undefined,
  cost: number,
  { onUnavailable }: LimitOptions,
): RateLimitState {
  const { limit, window } = limits[index] as Limit;
  if (!verdict) {
    const allowed = onUnavailable === "allow";
    const resetAt = new Date(Date.now() + window);
    return { allowed, limit, remaining: 0, resetAt, retryAfter: allowed ? 0 : 1 };
  }
  const { free, reset, wait } = verdict.rooms[index] as Room;
  const need = needOf(cost);
  const allowed = (verdict.pass && cost > 0) || free >= need;
  const retryAfter = allowed ? 0 : need > limit ? EVER : Math.ceil(wait / 1000);
  return { allowed, limit, remaining: Math.max(0, free), resetAt: new Date(verdict.at + reset), retryAfter };
}

/** Returns how much room a request of a cost needs: one that does not count, or gives back, finds out about 1. */
function needOf(cost: number): number {
  return Math.max(1, cost);
}

/** Returns the room of each limit: both its own state and that of its copy must have room. */
function roomsOf(limits: readonly Limit[], { states }: Answer, need: number, now: number): Room[] {
  const rooms: Room[] = [];
  for (let i = 0; i < limits.length; i++) {
    const limit = limits[i] as Limit;
    const { own, copy } = states[i] as States;
    const a = roomOf(limit, stateAt(limit, own, now), need, now);
    const b = copy ? roomOf(limit, stateAt(limit, copy, now), need, now) : a;
    rooms.push(a === b ? a : both(a, b));
  }
  return rooms;
}

function both(a: Room, b: Room): Room {
  return { free: Math.min(a.free, b.free), reset: Math.max(a.reset, b.reset), wait: Math.max(a.wait, b.wait) };
}

/** Returns true if each limit has room. */
function haveRoom(rooms: readonly Room[], need: number): boolean {
  for (let i = 0; i < rooms.length; i++) if ((rooms[i] as Room).free < need) return false;
  return true;
}

/** Asks the store, and hands on its answer, or `undefined` if it is away and the caller chose an answer for that. */
function ask<T>(
  context: CacheContext,
  key: string,
  cost: number,
  limits: readonly Limit[],
  call: LimitOptions,
  take: (answer: Answer | undefined) => T,
): Promise<T> {
  const timeout = checkCall(context, call);
  const start = performance.now();
  const args = argsOf(cost, limits);
  return context.batch.add(new RunsSlot([key], timeout, cost === 0, args, rateLimit)).then(
    (reply) => {
      context.counters.time(performance.now() - start);
      return take(read(reply));
    },
    (error) => {
      const reported = report(context, rateLimit.name, error);
      if (call.onUnavailable === "throw") throw reported;
      return take(undefined);
    },
  );
}

/** The last request. Requests that share a list of arguments share a command. */
let last: { readonly cost: number; readonly limits: readonly Limit[]; readonly args: readonly (string | number)[] };

/** Returns the arguments of the script. */
function argsOf(cost: number, limits: readonly Limit[]): readonly (string | number)[] {
  if (last?.cost !== cost || !sameLimits(last.limits, limits)) {
    const args = [cost, ...limits.map(({ kind, window, limit }) => `${kind}${window}:${limit}`)];
    last = { cost, limits, args };
  }
  return last.args;
}

/** Reads the reply of the script. */
function read(reply: Reply): Answer {
  const [head = "", ...parts] = `${reply}`.split(",");
  const [now = 0, pass, shown = now] = head.split(" ").map(Number);
  const states = parts.map((part) => {
    const [at = 0, n = 0, p = 0, ...copy] = part.split(" ").map(Number);
    const own = { at, n, p };
    if (copy.length === 0) return { own };
    return { own, copy: { at: copy[0] as number, n: copy[1] as number, p: copy[2] as number } };
  });
  return { now, pass: pass === 1, shown, states };
}

/** Checks several limits. */
function limitsOf(list: readonly RateLimit[]): Limit[] {
  if (list.length < 1 || list.length > MOST_LIMITS) {
    throw invalid("check limits", list.length, `1 to ${MOST_LIMITS} of them`);
  }
  const limits = list.map((one) => {
    checkNames(one, OF_LIMITS, "one of several limits");
    return limitOf(one);
  });
  const names = limits.map((one) => `${Object.values(one)}`);
  if (new Set(names).size === names.length) return limits;
  throw invalid("check limits", names.join(" "), "limits that differ in limit, window or algorithm");
}

function limitOf({ limit, window, algorithm = "fixed" }: RateLimit): Limit {
  checkWhole(limit, "limit", 1, HIGHEST_LIMIT);
  const kind = ALGORITHMS.get(algorithm);
  if (!kind) throw invalid("set algorithm", algorithm, `one of ${[...ALGORITHMS.keys()].join(", ")}`);
  return { kind, window: windowOf(window), limit };
}

function windowOf(window: Duration): number {
  const known = windows.get(window);
  if (known !== undefined) return known;
  const ms = parseDuration(window, "window", WINDOWS);
  if (ms === undefined || ms > LONGEST_WINDOW) throw invalid("set window", window, WINDOWS, RangeError);
  if (windows.size < MOST_WINDOWS) windows.set(window, ms);
  return ms;
}

/** Returns the deadline of a request. @throws {TypeError | RangeError} For bad options. */
function checkCall(context: CacheContext, { onUnavailable = "deny", timeout }: LimitOptions): number {
  if (!["allow", "deny", "throw"].includes(onUnavailable)) {
    throw invalid("set onUnavailable", onUnavailable, "one of allow, deny, throw");
  }
  return timeout === undefined ? context.timeout : timeoutOf(context, { timeout });
}
