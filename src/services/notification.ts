import * as v from "valibot";
import type { CollectionDefinition, PlainId, ServiceDefinition } from "./service.ts";

/** A user's notification preferences by name. */
export type NotificationPreferences = Record<string, unknown>;

/** The notification service: templates and preferences, in database 7. */
export const notification: ServiceDefinition<{
  readonly templates: CollectionDefinition<PlainId, unknown>;
  readonly preferences: CollectionDefinition<PlainId, NotificationPreferences>;
}> = {
  name: "notification",
  database: 7,
  collections: {
    templates: { key: "template:{id}", ttl: "2h", variable: "CACHE_TTL_TEMPLATES" },
    preferences: {
      key: "notification_preferences:{userId}",
      ttl: "2h",
      variable: "CACHE_TTL_NOTIFICATION_PREFERENCES",
      schema: v.record(v.string(), v.unknown()),
    },
  },
};
