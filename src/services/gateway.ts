import * as v from "valibot";
import { idSchema } from "./id.ts";
import type { CollectionDefinition, PlainId, ServiceDefinition } from "./service.ts";

/** A gateway session. Further fields are kept. */
export interface GatewaySession {
  /** The user of the session. */
  userId?: string | number | undefined;
  /** Further fields. */
  [field: string]: unknown;
}

/** The target to which the gateway sends a request. Further fields are kept. */
export interface Route {
  /** The upstream service or URL. */
  target: string;
  /** Further fields. */
  [field: string]: unknown;
}

/** The gateway service: sessions and the routing cache, in database 0. */
export const gateway: ServiceDefinition<{
  readonly sessions: CollectionDefinition<PlainId, GatewaySession>;
  readonly routes: CollectionDefinition<PlainId, Route>;
}> = {
  name: "gateway",
  database: 0,
  collections: {
    sessions: {
      key: "session:{id}",
      ttl: "30m",
      variable: "CACHE_TTL_SESSIONS",
      schema: v.looseObject({ userId: v.optional(idSchema) }),
    },
    routes: {
      key: "route:{id}",
      ttl: "5m",
      variable: "CACHE_TTL_ROUTES",
      schema: v.looseObject({ target: v.string() }),
    },
  },
};
