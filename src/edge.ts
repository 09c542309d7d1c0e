/**
 * The entry for Workers and edge functions: the names of `mod.ts`, without the TCP client.
 *
 * @module
 */

import { memoryFactory, upstashFactory } from "./client/driver_factories.ts";
import { type EntryPoint, entryPoint } from "./client/entry_point.ts";

// A client lives as long as its request there; the embedded store lives as long as the isolate.
const edge: EntryPoint = entryPoint({ memory: { ...memoryFactory, kept: true }, upstash: upstashFactory });

/** As in `mod.ts`; the drivers are memory and upstash. */
export const createCacheClient: EntryPoint["createCacheClient"] = edge.createCacheClient;
/** As in `mod.ts`. */
export const getCacheClient: EntryPoint["getCacheClient"] = edge.getCacheClient;
/** As in `mod.ts`. */
export const getCacheService: EntryPoint["getCacheService"] = edge.getCacheService;

export type { EntryPoint, FoodFastClient } from "./client/entry_point.ts";
export type { ClientOptions } from "./client/types.ts";
// Its own `createCacheClient` stands before that of the core.
export * from "./core.ts";
export type { FoodFastServices } from "./services/all.ts";
export type { AuthVerbs, Session } from "./services/auth.ts";
export type { GatewaySession, Route } from "./services/gateway.ts";
export type { NotificationPreferences } from "./services/notification.ts";
export type { Cart, CartItem, Order, OrderVerbs } from "./services/order.ts";
export type { PaymentMethod, Transaction } from "./services/payment.ts";
export type { Category, Product, ProductVerbs } from "./services/product.ts";
export type { UserAddress, UserPreferences, UserProfile, UserVerbs } from "./services/user.ts";
