import type { CollectionDefinition, PlainId, ServiceDefinition } from "./service.ts";

/** The analytics service: dashboards and reports of any shape, in database 5. */
export const analytics: ServiceDefinition<{
  readonly dashboards: CollectionDefinition<PlainId, unknown>;
  readonly reports: CollectionDefinition<PlainId, unknown>;
}> = {
  name: "analytics",
  database: 5,
  collections: {
    dashboards: { key: "dashboard:{id}", ttl: "5m", variable: "CACHE_TTL_DASHBOARDS" },
    reports: { key: "report:{id}", ttl: "1h", variable: "CACHE_TTL_REPORTS" },
  },
};
