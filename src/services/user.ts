import * as v from "valibot";
import type { CallOptions } from "../cache/call.ts";
import { idSchema } from "./id.ts";
import type { CollectionDefinition, PlainId, ServiceDefinition } from "./service.ts";
import { taken } from "./taken.ts";

/** A user's profile. Further fields are kept. */
export interface UserProfile {
  /** The user's id. */
  id: string | number;
  /** Further fields. */
  [field: string]: unknown;
}

/** A user's preferences by name. */
export type UserPreferences = Record<string, unknown>;

/** One of a user's addresses. */
export type UserAddress = Record<string, unknown>;

/** The verbs of {@linkcode user}. */
export interface UserVerbs {
  /**
   * Deletes a user's profile, preferences and addresses, in one round trip.
   *
   * @param id The user.
   * @param options Deadline and error handling.
   * @returns `true` if the store took it; `false` if it is away, or took only a part.
   */
  invalidateUser(id: PlainId, options?: CallOptions): Promise<boolean>;
}

/** The user service: profiles, preferences and addresses, in database 3. */
export const user: ServiceDefinition<
  {
    readonly profiles: CollectionDefinition<PlainId, UserProfile>;
    readonly preferences: CollectionDefinition<PlainId, UserPreferences>;
    readonly addresses: CollectionDefinition<PlainId, UserAddress[]>;
  },
  UserVerbs
> = {
  name: "user",
  database: 3,
  collections: {
    profiles: {
      key: "user_profile:{id}",
      ttl: "1h",
      variable: "CACHE_TTL_PROFILES",
      schema: v.looseObject({ id: idSchema }),
    },
    preferences: {
      key: "user_preferences:{id}",
      ttl: "2h",
      variable: "CACHE_TTL_PREFERENCES",
      schema: v.record(v.string(), v.unknown()),
    },
    addresses: {
      key: "user_addresses:{id}",
      ttl: "1h",
      variable: "CACHE_TTL_ADDRESSES",
      schema: v.array(v.record(v.string(), v.unknown())),
    },
  },
  verbs: ({ profiles, preferences, addresses }, defaults): UserVerbs => ({
    invalidateUser: (id, options) =>
      taken(defaults, options, (each) => [
        profiles.delete(id, each),
        preferences.delete(id, each),
        addresses.delete(id, each),
      ]),
  }),
};
