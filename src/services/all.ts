import { analytics } from "./analytics.ts";
import { auth } from "./auth.ts";
import { gateway } from "./gateway.ts";
import { notification } from "./notification.ts";
import { order } from "./order.ts";
import { payment } from "./payment.ts";
import { product } from "./product.ts";
import { variablesOf } from "./service.ts";
import { user } from "./user.ts";

/** The eight services of Food Fast, by name. */
export interface FoodFastServices {
  /** Sessions and the routing cache. */
  readonly gateway: typeof gateway;
  /** The catalogue. */
  readonly product: typeof product;
  /** Sessions, permissions, tokens and rate limits. */
  readonly auth: typeof auth;
  /** Profiles, preferences and addresses. */
  readonly user: typeof user;
  /** Carts and orders. */
  readonly order: typeof order;
  /** Dashboards and reports. */
  readonly analytics: typeof analytics;
  /** Payment methods and transactions. */
  readonly payment: typeof payment;
  /** Templates and preferences. */
  readonly notification: typeof notification;
}

/** The eight services of Food Fast, by name. */
export const services: FoodFastServices = { gateway, product, auth, user, order, analytics, payment, notification };

/** The variables that set the TTLs of their collections. */
export const SERVICE_VARIABLES: readonly string[] = [
  ...new Set(Object.values(services).flatMap(({ collections }) => variablesOf(collections))),
];
