import { CacheError } from "../base/errors.ts";

/** Thrown by payment's collections for a value that carries a card number. Nothing was written. */
export class CardNumberError extends CacheError {
  /** Always `"CardNumberError"`. */
  override name = "CardNumberError";
}
