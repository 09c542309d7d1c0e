/**
 * The entry for Workers and edge functions: the names of `mod.ts`, without the TCP client.
 *
 * @module
 */

import { memoryWire, upstashWire } from "./client/driver_factories.ts";
import { type Entry, entry } from "./client/entry_point.ts";

// A client lives as long as its request there; the embedded store lives as long as the isolate.
const edge: Entry = entry({ memory: { ...memoryWire, kept: true }, upstash: upstashWire });

/** As in `mod.ts`; the drivers are memory and upstash. */
export const createCacheClient: Entry["createCacheClient"] = edge.createCacheClient;
/** As in `mod.ts`. */
export const getCacheClient: Entry["getCacheClient"] = edge.getCacheClient;
/** As in `mod.ts`. */
export const getCacheService: Entry["getCacheService"] = edge.getCacheService;

export type { ClientOptions, Entry, FoodFastClient } from "./client/entry_point.ts";
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
