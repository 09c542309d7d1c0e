import * as v from "valibot";
import {
  type CollectionDefinition,
  collection,
  defineService,
  type PlainId,
  type ServiceDefinition,
} from "../service.ts";

/** A user's notification preferences by name. */
export type NotificationPreferences = Record<string, unknown>;

/** The notification service: templates and preferences, in database 7. */
export const notification: ServiceDefinition<{
  readonly templates: CollectionDefinition<PlainId, unknown>;
  readonly preferences: CollectionDefinition<PlainId, NotificationPreferences>;
}> = /* @__PURE__ */ defineService({
  name: "notification",
  database: 7,
  collections: {
    templates: collection({ key: "template:{id}", ttl: "2h", variable: "CACHE_TTL_TEMPLATES" }),
    preferences: collection({
      key: "notification_preferences:{userId}",
      ttl: "2h",
      variable: "CACHE_TTL_NOTIFICATION_PREFERENCES",
      schema: v.record(v.string(), v.unknown()),
    }),
  },
});
