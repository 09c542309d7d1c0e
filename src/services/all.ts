import { analytics } from "./analytics.ts";
import { auth } from "./auth.ts";
import { gateway } from "./gateway.ts";
import { notification } from "./notification.ts";
import { order } from "./order.ts";
import { payment } from "./payment.ts";
import { product } from "./product.ts";
import { user } from "./user.ts";

/** The eight services of Food Fast, by name. */
export interface FoodFastServices {
  readonly gateway: typeof gateway;
  readonly product: typeof product;
  readonly auth: typeof auth;
  readonly user: typeof user;
  readonly order: typeof order;
  readonly analytics: typeof analytics;
  readonly payment: typeof payment;
  readonly notification: typeof notification;
}

/** The eight services of Food Fast, by name. */
export const services: FoodFastServices = { gateway, product, auth, user, order, analytics, payment, notification };
