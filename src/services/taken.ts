import { isStoreError } from "../base/store_error.ts";
import type { CallOptions } from "../cache/call.ts";

/**
 * Issues operations together, so that they leave in one round trip.
 *
 * @param options The options of the call, laid over the client's.
 * @param issue Issues the operations with the options that it is given.
 * @returns Whether the store took all of them.
 * @throws {StoreError} If it did not, and `onError` is `"throw"`.
 */
export async function taken(
  options: CallOptions,
  issue: (options: CallOptions) => readonly Promise<unknown>[],
): Promise<boolean> {
  try {
    await Promise.all(issue({ ...options, onError: "throw" }));
    return true;
  } catch (error) {
    if (options.onError === "throw" || !isStoreError(error)) throw error;
    return false;
  }
}
