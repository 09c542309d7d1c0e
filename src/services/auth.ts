import * as v from "valibot";
import { invalid } from "../base/check.ts";
import type { CallOptions } from "../cache/call.ts";
import { type RateLimits, rateLimits } from "../cache/rate_limits.ts";
import type { Id } from "../entry/keyspace.ts";
import { idSchema } from "./id.ts";
import type { CollectionDefinition, PlainId, ServiceDefinition } from "./service.ts";

/** A signed-in session. Further fields are kept. */
export interface Session {
  /** The user of the session, by whom `revokeUser` finds it. */
  userId: string | number;
  /** Further fields. */
  [field: string]: unknown;
}

/** The verbs of {@linkcode auth}. */
export interface AuthVerbs extends RateLimits<PlainId> {
  /**
   * Makes every session and the permissions of a user misses, in one round trip however many there are. No read that
   * begins after it resolves, in any process, finds one.
   *
   * @param userId The user.
   * @param options Deadline and error handling.
   * @returns `true` if the store took it; `false` if it is away, so nothing was revoked.
   */
  revokeUser(userId: string | number, options?: CallOptions): Promise<boolean>;
}

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
      // An application's own schema may name the user differently.
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
  verbs: ({ cache, rateLimits: limits }): AuthVerbs => ({
    // Its states are keys of this collection, which the service's other verbs find.
    ...limits.limitsBy(rateLimits),
    revokeUser: async (userId, options) => cache.invalidateTags([userTag(userId)], options),
  }),
};

function userTag(userId: unknown): string {
  if ((typeof userId === "string" && userId !== "") || Number.isFinite(userId)) return `user:${userId}`;
  throw invalid("use a user's id", userId, "a finite number or a string that is not empty", TypeError);
}
