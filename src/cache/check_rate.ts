/** The work of the verbs of rate limits: check the arguments, ask the store or the memory of refusals, and judge. */
import { checkNames, checkWhole, invalid } from "../base/check.ts";
import { isCacheError } from "../base/errors.ts";
import { type Duration, parseDuration } from "../base/ttl.ts";
import { type Limit, type LimitState, roomOf, stateAt } from "../lua/limit_state.ts";
import { rateLimit } from "../lua/rate_limit.ts";
import { timed, timeoutOf } from "./call.ts";
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
import type { RefusalMemory, StoreAnswer } from "./refusals.ts";

/** The key of a request, and what is needed to ask for it. */
export interface Place {
  readonly context: CacheContext;
  readonly refusals: RefusalMemory;
  /** The physical key of its states. */
  readonly key: string;
}

/** A limit, and its name in the script. */
interface NamedLimit extends Limit {
  readonly name: string;
}

/** The room that a limit has left, and the milliseconds until it is whole and until it has room. */
type Look = readonly [free: number, reset: number, wait: number];

/** The limits at a moment. */
interface Verdict {
  readonly looks: readonly Look[];
  /** True if the request was counted. */
  readonly pass: boolean;
  /** The moment, by the store's clock. */
  readonly at: number;
}

/** The names of the algorithms in the script. */
const ALGORITHMS: Readonly<Record<string, string>> = { fixed: "f", sliding: "s", "token-bucket": "t" };
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
export async function countRate(place: Place, sign: number, options: RateCountOptions = {}): Promise<RateCount> {
  checkNames(options, OF_COUNTS, "a count");
  const { window = "1m", by = 1, onUnavailable } = options;
  const most = Number.MAX_SAFE_INTEGER;
  const limit = { kind: "c", window: windowOf(window), limit: most };
  checkWhole(by, "by", sign > 0 ? 1 : 0, most);
  checkAway(options);
  const answer = await ask(place, by * sign, `c${limit.window}:${most}`, options);
  if (!answer) {
    return {
      count: onUnavailable === "allow" ? 0 : EVER,
      resetAt: new Date(Date.now() + limit.window),
      available: false,
    };
  }
  if (!answer.pass && sign > 0) throw invalid("count more", by, `a count up to ${most}`);
  const [free, reset] = look(limit, answer.states[0], 1, answer.now);
  return { count: most - free, resetAt: new Date(answer.shown + reset), available: true };
}

/** Asks one limit or several with sign 1, gives back with sign -1. */
export async function checkRate(
  place: Place,
  sign: number,
  given: RateLimitOptions | readonly RateLimit[],
  options?: RateRequestOptions,
): Promise<RateLimitsResult | RateLimitResult> {
  const several = Array.isArray(given);
  const call = (several ? (options ?? {}) : options ? { ...given, ...options } : given) as RateRequestOptions;
  checkNames(call, several ? OF_REQUESTS : OF_BOTH, "a rate limit");
  const limits = several ? limitsOf(given) : [limitOf(given as RateLimit)];
  const names = limits.map(({ name }) => name).join();
  const { cost = 1, rememberFor } = call;
  checkWhole(cost, "cost", sign > 0 ? 0 : 1, HIGHEST_LIMIT);
  const longest =
    rememberFor === undefined ? SECOND : rememberFor !== false && (parseDuration(rememberFor, "rememberFor") ?? EVER);
  checkAway(call);
  const verdict =
    (sign * cost > 0 && recall(place, limits, names, cost, longest || 0)) ||
    (await inquire(place, limits, names, sign * cost, call));
  const states = limits.map((limit, i): RateLimitState => {
    const most = limit.limit;
    if (!verdict) {
      const allowed = call.onUnavailable === "allow";
      const resetAt = new Date(Date.now() + limit.window);
      return { allowed, limit: most, remaining: 0, resetAt, retryAfter: allowed ? 0 : 1 };
    }
    const [free, reset, wait] = verdict.looks[i] as Look;
    const need = needOf(sign * cost);
    const allowed = (verdict.pass && sign * cost > 0) || free >= need;
    const retryAfter = allowed ? 0 : need > most ? EVER : Math.ceil(wait / 1000);
    return { allowed, limit: most, remaining: Math.max(0, free), resetAt: new Date(verdict.at + reset), retryAfter };
  });
  const available = verdict !== undefined;
  if (!several) return { ...(states[0] as RateLimitState), available };
  let decidedBy = 0;
  states.forEach(({ remaining, retryAfter }, i) => {
    const decides = states[decidedBy] as RateLimitState;
    const more = retryAfter - decides.retryAfter;
    if (more > 0 || (more === 0 && remaining < decides.remaining)) decidedBy = i;
  });
  return { ...(states[decidedBy] as RateLimitState), available, decidedBy, limits: states };
}

/** Returns what the store would say, if it last said that the limits have no room for the request. */
function recall(
  { context, refusals, key }: Place,
  limits: readonly NamedLimit[],
  names: string,
  need: number,
  longest: number,
): Verdict | undefined {
  const answer = refusals.find(key, names);
  if (!answer) return undefined;
  const passed = context.now() - answer.asked;
  if (passed < 0 || passed >= longest) return undefined;
  // Counted from before the answer and rounded up, so that no request is refused longer than the store would.
  const now = Math.ceil(answer.now + passed);
  const looks = limits.map((limit, i) => look(limit, answer.states[i], need, now));
  if (looks.every(([free]) => free >= need)) return undefined;
  return { looks, pass: false, at: now + answer.shown - answer.now };
}

/** Asks the store, and remembers its answer if the limits have no room for another such request. */
async function inquire(
  place: Place,
  limits: readonly NamedLimit[],
  names: string,
  cost: number,
  options: LimitOptions,
): Promise<Verdict | undefined> {
  const { context, refusals, key } = place;
  if (cost < 0) refusals.forget(key);
  const answers = refusals.begin(key);
  const asked = context.now();
  const answer = await ask(place, cost, names, options);
  if (!answer) return undefined;
  const { states, now, shown, pass } = answer;
  const need = needOf(cost);
  const looks = limits.map((limit, i) => look(limit, states[i], need, now));
  // What has room may be counted in by a request for other limits. A copy goes when its limit is asked for again, by a
  // request that is not only to look: the next one has to leave.
  if (looks.every(([free]) => free >= need) || states.some((each) => each.length > 1)) refusals.forget(key);
  else if (cost !== 0) refusals.keep(key, answers, { ...answer, names, asked });
  return { looks, pass, at: shown };
}

/** Returns how much room a request of a cost needs: one that does not count, or gives back, finds out about 1. */
function needOf(cost: number): number {
  return Math.max(1, cost);
}

/** Looks at a limit: at its own state and at that of its copy, both of which must have room. */
function look(limit: Limit, states: readonly LimitState[] = [], need: number, now: number): Look {
  let free = EVER;
  let reset = 0;
  let wait = 0;
  for (const state of states) {
    const [left, whole, until] = roomOf(limit, stateAt(limit, state, now), need, now);
    free = Math.min(free, left);
    reset = Math.max(reset, whole);
    if (left < need) wait = Math.max(wait, until);
  }
  return [free, reset, wait];
}

/** Returns the store's answer; `undefined` if the store is away and the caller chose an answer for that. */
async function ask(
  { context, key }: Place,
  cost: number,
  names: string,
  { onUnavailable, timeout }: LimitOptions,
): Promise<Omit<StoreAnswer, "names" | "asked"> | undefined> {
  const limit = timeoutOf(context, timeout === undefined ? undefined : { timeout });
  try {
    const args = [cost, ...names.split(",")];
    const reply = await timed(context, rateLimit.name, context.batch.run(rateLimit, [key], args, limit, cost === 0));
    const [[now = 0, pass, shown = now] = [], ...parts] = `${reply}`
      .split(",")
      .map((part) => part.split(" ").map(Number));
    const states = parts.map((all) => {
      const [at = 0, n = 0, p = 0, ...copy] = all;
      return [[at, n, p], ...(copy.length > 0 ? [copy] : [])] as unknown as LimitState[];
    });
    return { now, pass: pass === 1, shown, states };
  } catch (error) {
    if (!isCacheError(error) || onUnavailable === "throw") throw error;
    return undefined;
  }
}

/** Checks several limits. */
function limitsOf(list: readonly RateLimit[]): NamedLimit[] {
  if (list.length < 1 || list.length > MOST_LIMITS) {
    throw invalid("check limits", list.length, `1 to ${MOST_LIMITS} of them`);
  }
  const limits = list.map((one) => {
    checkNames(one, OF_LIMITS, "one of several limits");
    return limitOf(one);
  });
  const names = limits.map(({ name }) => name);
  if (new Set(names).size === names.length) return limits;
  throw invalid("check limits", names.join(), "limits that differ in limit, window or algorithm");
}

function limitOf({ limit, window, algorithm = "fixed" }: RateLimit): NamedLimit {
  checkWhole(limit, "limit", 1, HIGHEST_LIMIT);
  const kind = Object.hasOwn(ALGORITHMS, algorithm) && ALGORITHMS[algorithm];
  if (!kind) throw invalid("set algorithm", algorithm, `one of ${Object.keys(ALGORITHMS).join(", ")}`);
  const ms = windowOf(window);
  return { kind, window: ms, limit, name: `${kind}${ms}:${limit}` };
}

function windowOf(window: Duration): number {
  const ms = windows.get(window) ?? parseDuration(window, "window", WINDOWS);
  if (ms === undefined || ms > LONGEST_WINDOW) throw invalid("set window", window, WINDOWS, RangeError);
  if (windows.size < MOST_WINDOWS) windows.set(window, ms);
  return ms;
}

function checkAway({ onUnavailable = "deny" }: LimitOptions): void {
  if (["allow", "deny", "throw"].includes(onUnavailable)) return;
  throw invalid("set onUnavailable", onUnavailable, "one of allow, deny, throw");
}
