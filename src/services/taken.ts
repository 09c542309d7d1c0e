import { isStoreError } from "../base/store_error.ts";
import type { CallOptions } from "../cache/call.ts";

/**
 * Issues operations together, so that they leave in one round trip.
 *
 * @param defaults The client's options of calls.
 * @param options The options of the call.
 * @param issue Issues the operations with the options that it receives.
 * @returns `true` if the store took all of them.
 * @throws {StoreError} If it did not, and `onError` is `"throw"`.
 */
export async function taken(
  defaults: Required<CallOptions>,
  options: CallOptions | undefined,
  issue: (options: CallOptions) => readonly unknown[],
): Promise<boolean> {
  try {
    await Promise.all(issue({ ...options, onError: "throw" }));
    return true;
  } catch (error) {
    if ((options?.onError ?? defaults.onError) === "throw" || !isStoreError(error)) throw error;
    return false;
  }
}
