import * as v from "valibot";
import { findCardNumber } from "./card_number.ts";
import { CardNumberError } from "./card_number_error.ts";
import { idSchema } from "./id.ts";
import type { CollectionDefinition, PlainId, ServiceDefinition } from "./service.ts";

/** A way to pay, as a payment provider describes it: a token and the last digits, never the card's number. */
export type PaymentMethod = Record<string, unknown>;

/** A payment. Further fields are kept. */
export interface Transaction {
  /** The transaction's id. */
  id: string | number;
  /** Further fields. */
  [field: string]: unknown;
}

/** The payment service: payment methods and transactions, in database 6. It refuses values that carry a card number. */
export const payment: ServiceDefinition<{
  readonly methods: CollectionDefinition<PlainId, PaymentMethod[]>;
  readonly transactions: CollectionDefinition<PlainId, Transaction>;
}> = {
  name: "payment",
  database: 6,
  collections: {
    methods: {
      key: "payment_methods:{userId}",
      ttl: "30m",
      variable: "CACHE_TTL_PAYMENT_METHODS",
      schema: v.array(v.record(v.string(), v.unknown())),
    },
    transactions: {
      key: "transaction:{id}",
      ttl: "1h",
      variable: "CACHE_TTL_TRANSACTIONS",
      schema: v.looseObject({ id: idSchema }),
    },
  },
  encrypted: true,
  refuse(value) {
    const path = findCardNumber(value);
    if (path === undefined) return;
    throw new CardNumberError(
      `Cannot store a card number${path ? ` (at "${path}")` : ""}: ` +
        "expected the provider's token and the last four digits",
    );
  },
};

export { CardNumberError } from "./card_number_error.ts";
