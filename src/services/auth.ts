import * as v from "valibot";
import type { Script } from "../../drivers/driver.ts";
import type { Cache } from "../cache.ts";
import type { CallOptions } from "../context.ts";
import { isCacheError } from "../errors.ts";
import type { Id } from "../keyspace.ts";
import { fixedWindow, type LimitReply, slidingWindow, tokenBucket } from "../rate_limits.ts";
import { increment } from "../scripts.ts";
import type { CollectionDefinition, PlainId, ServiceDefinition } from "../service.ts";
import { describe, parseTtl, type Ttl } from "../ttl.ts";
import { idSchema } from "./id.ts";

/** A signed-in session. Further fields are kept. */
export interface Session {
  /** Whose session it is: what `revokeUser` looks for. */
  userId: string | number;
  /** Further fields. */
  [field: string]: unknown;
}

/**
 * What a limit answers while the store is away: let the request pass, refuse it, or throw the `StoreError`. An event and the
 * error counter tell of it in every case, and `available` is `false`.
 */
export type WhenUnavailable = "allow" | "deny" | "throw";

/** Options of every limit. */
export interface LimitOptions {
  /** What to answer while the store is away. @default "deny" */
  readonly onUnavailable?: WhenUnavailable;
  /** Milliseconds until the operation ends. @default the client's, 500 */
  readonly timeout?: number;
}

/** Options of {@linkcode AuthVerbs.incrementRateLimit}. */
export interface RateCountOptions extends LimitOptions {
  /** How long a window is; it begins with its first request. @default "1m" */
  readonly window?: Ttl;
  /** How much to count. @default 1 */
  readonly by?: number;
}

/** A count within its window. */
export interface RateCount {
  /** The count. While the store is away: `Infinity` with "deny", 0 with "allow". */
  readonly count: number;
  /** When the window ends, by the store's clock. */
  readonly resetAt: Date;
  /** Whether the store answered. */
  readonly available: boolean;
}

/** Options of {@linkcode AuthVerbs.checkRateLimit}. */
export interface RateLimitOptions extends LimitOptions {
  /** How many requests a window takes: an integer from 1 to 1,000,000. */
  readonly limit: number;
  /** How long the window is, up to 30 days. */
  readonly window: Ttl;
  /**
   * `"fixed"`: counts in windows that begin with their first request. `"sliding"`: weighs the window before, so that no span of one
   * window's length takes many more than `limit`. `"token-bucket"`: allows bursts of `limit`, refilled evenly. @default "fixed"
   */
  readonly algorithm?: "fixed" | "sliding" | "token-bucket";
  /** How much this request counts: an integer from 1. @default 1 */
  readonly cost?: number;
}

/** What a limit decided. */
export interface RateLimitResult {
  /** Whether the request may pass. */
  readonly allowed: boolean;
  /** The limit. */
  readonly limit: number;
  /** How many requests may still pass now. */
  readonly remaining: number;
  /** When the limit is whole again, by the store's clock. */
  readonly resetAt: Date;
  /** Seconds, rounded up, until a request of this cost may pass; 0 when it may now, `Infinity` when it never may. */
  readonly retryAfter: number;
  /** Whether the store answered. */
  readonly available: boolean;
}

/** What {@linkcode auth} can do beside its collections. */
export interface AuthVerbs {
  /**
   * Counts a request in one atomic step; the window's end is set once, by its first request. It is never counted twice.
   *
   * @param key What to count by, such as `"api:203.0.113.7"`.
   * @param options Window, amount, deadline, and what to answer while the store is away.
   * @returns The count, and when the window ends.
   * @throws {TypeError | RangeError} For a bad key, window or amount.
   */
  incrementRateLimit(key: PlainId, options?: RateCountOptions): Promise<RateCount>;
  /**
   * Decides whether a request may pass, and counts it if so, in one atomic step by the store's clock.
   *
   * @param key What to limit by, such as `"login:user@example.com"`.
   * @param options Limit, window, algorithm, cost, deadline, and what to answer while the store is away.
   * @returns What was decided.
   * @throws {TypeError | RangeError} For a bad key or option.
   */
  checkRateLimit(key: PlainId, options: RateLimitOptions): Promise<RateLimitResult>;
  /**
   * Forgets what was counted for a key, by either of the above and by every algorithm.
   *
   * @param key What was limited.
   * @param options Deadline and error handling.
   * @returns Whether anything was forgotten.
   */
  resetRateLimit(key: PlainId, options?: CallOptions): Promise<boolean>;
  /**
   * Makes every session and the permissions of a user misses, in one round trip however many there are. No read that begins after it
   * resolves, in any process, finds one.
   *
   * @param userId The user.
   * @param options Deadline and error handling.
   * @returns Whether the store took it; `false` when it is away: then nothing was revoked.
   */
  revokeUser(userId: string | number, options?: CallOptions): Promise<boolean>;
}

const ALGORITHMS: Readonly<Record<string, Script>> = {
  fixed: fixedWindow,
  sliding: slidingWindow,
  "token-bucket": tokenBucket,
};

/** A month: with the highest limit, their product stays an exact integer. */
const LONGEST_WINDOW = 30 * 864e5;
const HIGHEST_LIMIT = 1e6;

/** The auth service: sessions, permissions, tokens and rate limits, in database 2. */
export const auth: ServiceDefinition<
  {
    readonly sessions: CollectionDefinition<Id, Session>;
    readonly permissions: CollectionDefinition<PlainId, unknown>;
    readonly tokens: CollectionDefinition<PlainId, unknown>;
    readonly rateLimits: CollectionDefinition<PlainId, unknown>;
  },
  AuthVerbs
> = {
  name: "auth",
  database: 2,
  collections: {
    sessions: {
      key: "session:{tokenHash}",
      ttl: "30m",
      variable: "CACHE_TTL_SESSIONS",
      sliding: true,
      hashed: true,
      schema: v.looseObject({ userId: idSchema }),
      // An application's own sessions may say otherwise whose they are.
      tags: ({ userId }: Partial<Session>) => (userId === undefined ? [] : [userTag(userId)]),
    },
    permissions: {
      key: "permissions:{userId}",
      ttl: "1h",
      variable: "CACHE_TTL_PERMISSIONS",
      tags: (_, userId) => [userTag(userId)],
    },
    tokens: { key: "token:{id}", ttl: "1h", variable: "CACHE_TTL_TOKENS" },
    rateLimits: { key: "rate_limit:{id}" },
  },
  encrypted: true,
  verbs: ({ cache, rateLimits }): AuthVerbs => ({
    async incrementRateLimit(key, options = {}) {
      const { by = 1 } = options;
      const window = windowOf(options.window ?? "1m");
      whole("by", by, Number.MAX_SAFE_INTEGER);
      const reply = await attempt(rateLimits, increment, limitKey("count", key), [by, window], options);
      if (!reply) {
        const count = options.onUnavailable === "allow" ? 0 : Number.POSITIVE_INFINITY;
        return { count, resetAt: new Date(Date.now() + window), available: false };
      }
      const [count, left, now] = reply as number[] as [number, number, number];
      return { count, resetAt: new Date(now + left), available: true };
    },
    async checkRateLimit(key, options) {
      const { limit, algorithm = "fixed", cost = 1 } = options ?? {};
      whole("limit", limit, HIGHEST_LIMIT);
      whole("cost", cost, HIGHEST_LIMIT);
      const window = windowOf(options.window);
      const script = Object.hasOwn(ALGORITHMS, algorithm) ? ALGORITHMS[algorithm] : undefined;
      if (!script) {
        throw new TypeError(
          `cannot limit by ${describe(algorithm)}: accepted are ${Object.keys(ALGORITHMS).join(", ")}`,
        );
      }
      const reply = await attempt(rateLimits, script, limitKey(algorithm, key), [limit, window, cost], options);
      if (!reply) {
        const allowed = options.onUnavailable === "allow";
        const retryAfter = allowed ? 0 : 1;
        return { allowed, limit, remaining: 0, resetAt: new Date(Date.now() + window), retryAfter, available: false };
      }
      const [allowed, remaining, reset, wait, now] = reply as unknown as LimitReply;
      return {
        allowed: allowed === 1,
        limit,
        remaining,
        resetAt: new Date(now + reset),
        retryAfter: wait < 0 ? Number.POSITIVE_INFINITY : Math.ceil(wait / 1000),
        available: true,
      };
    },
    async resetRateLimit(key, options) {
      const keys = ["count", ...Object.keys(ALGORITHMS)].map((name) => limitKey(name, key));
      return (await rateLimits.delete(keys, options)) > 0;
    },
    revokeUser: async (userId, options) => cache.invalidateTags([userTag(userId)], options),
  }),
};

function userTag(userId: unknown): string {
  if ((typeof userId === "string" && userId !== "") || Number.isFinite(userId)) return `user:${userId}`;
  throw new TypeError(`cannot use the user ${describe(userId)}: accepted are strings that are not empty, and numbers`);
}

/** The reply of a limit's script; `undefined` when the store is away and the caller chose an answer for that. */
async function attempt(
  limits: Cache<PlainId>,
  script: Script,
  key: string,
  args: readonly number[],
  { onUnavailable = "deny", timeout }: LimitOptions,
): Promise<unknown> {
  if (!["allow", "deny", "throw"].includes(onUnavailable)) {
    throw new TypeError(`cannot use onUnavailable ${describe(onUnavailable)}: accepted are allow, deny, throw`);
  }
  try {
    return await limits.run(script, key, args, timeout === undefined ? {} : { timeout });
  } catch (error) {
    if (!isCacheError(error) || onUnavailable === "throw") throw error;
    return undefined;
  }
}

function limitKey(algorithm: string, key: unknown): string {
  if ((typeof key === "string" && key !== "") || Number.isFinite(key) || typeof key === "bigint")
    return `${algorithm}:${key}`;
  throw new TypeError(`cannot limit by the key ${describe(key)}: accepted are strings that are not empty, and numbers`);
}

function windowOf(window: Ttl): number {
  const ms = parseTtl(window, "window");
  if (ms !== undefined && ms <= LONGEST_WINDOW) return ms;
  throw new RangeError(`cannot use the window ${describe(window)}: accepted are TTLs up to 30 days`);
}

function whole(name: string, value: unknown, most: number): void {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most) return;
  throw new RangeError(`cannot use ${name} ${describe(value)}: accepted are integers from 1 to ${most}`);
}
