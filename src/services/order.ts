import * as v from "valibot";
import type { CallOptions } from "../cache/call.ts";
import type { UpdateOptions } from "../cache/update.ts";
import { idSchema } from "./id.ts";
import type { CollectionDefinition, PlainId, ServiceDefinition } from "./service.ts";
import { taken } from "./taken.ts";

/** One line of a cart. Further fields are kept. */
export interface CartItem {
  /** The product. */
  productId: string | number;
  /** The number of pieces, from 1. */
  quantity: number;
  /** Further fields. */
  [field: string]: unknown;
}

/** A user's cart. Further fields are kept. */
export interface Cart {
  /** Its lines. */
  items: CartItem[];
  /** Further fields. */
  [field: string]: unknown;
}

/** An order. Further fields are kept. */
export interface Order {
  /** The order's id. */
  id: string | number;
  /** The user of the order. */
  userId?: string | number | undefined;
  /** Further fields. */
  [field: string]: unknown;
}

/** The verbs of {@linkcode order}. */
export interface OrderVerbs {
  /**
   * Reads, changes and writes a user's cart atomically. If another caller wrote in between, it starts again with the
   * new cart.
   *
   * @param userId The user.
   * @param change Returns the new cart for the current one (`undefined` for none), or `undefined` to change nothing. It
   * may run several times.
   * @param options TTL, deadline of each step, error handling, and `attempts` (default 10).
   * @returns The current cart; `undefined` if the store is away.
   * @throws {CacheConflictError} When other writers were faster every time.
   */
  updateCart(
    userId: PlainId,
    change: (cart: Cart | undefined) => Cart | undefined | Promise<Cart | undefined>,
    options?: UpdateOptions,
  ): Promise<Cart | undefined>;
  /**
   * Makes misses of an order, its status and its user's history. If the caller does not name the user, the cached order
   * does, which costs a round trip. If neither is known, all histories become misses.
   *
   * @param id The order.
   * @param options `userId`, when the caller knows it; deadline of each step, and error handling.
   * @returns `true` if the store took it; `false` if it is away, or took only a part.
   */
  invalidateOrder(id: PlainId, options?: CallOptions & { readonly userId?: PlainId }): Promise<boolean>;
}

/** The order service: carts, statuses, orders and histories, in database 4. */
export const order: ServiceDefinition<
  {
    readonly carts: CollectionDefinition<PlainId, Cart>;
    readonly statuses: CollectionDefinition<PlainId, unknown>;
    readonly orders: CollectionDefinition<PlainId, Order>;
    readonly histories: CollectionDefinition<PlainId, Order[]>;
  },
  OrderVerbs
> = {
  name: "order",
  database: 4,
  collections: {
    carts: {
      key: "cart:{userId}",
      ttl: "30m",
      variable: "CACHE_TTL_CARTS",
      sliding: true,
      schema: v.looseObject({
        items: v.array(
          v.looseObject({ productId: idSchema, quantity: v.pipe(v.number(), v.integer(), v.minValue(1)) }),
        ),
      }),
    },
    statuses: { key: "order_status:{id}", ttl: "5m", variable: "CACHE_TTL_ORDER_STATUS" },
    orders: {
      key: "order:{id}",
      ttl: "1h",
      variable: "CACHE_TTL_ORDERS",
      schema: orderSchema(),
    },
    histories: {
      key: "order_history:{userId}",
      ttl: "1h",
      variable: "CACHE_TTL_ORDER_HISTORY",
      tags: ["histories"],
      schema: v.array(orderSchema()),
    },
  },
  verbs: ({ cache, carts, statuses, orders, histories }, defaults): OrderVerbs => ({
    updateCart: (userId, change, options) => carts.update(userId, change, options),
    async invalidateOrder(id, options) {
      const userId = options?.userId ?? (await orders.get(id, options))?.userId;
      return taken(defaults, options, (each) => [
        orders.delete(id, each),
        statuses.delete(id, each),
        userId === undefined ? cache.invalidateTags(["histories"], each) : histories.delete(userId, each),
      ]);
    },
  }),
};

function orderSchema(): v.GenericSchema<Order> {
  return v.looseObject({ id: idSchema, userId: v.optional(idSchema) });
}
