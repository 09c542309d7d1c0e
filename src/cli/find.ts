import { findServices } from "../manager/services.ts";
import type { OpenedStore } from "./store.ts";

/** How often services of applications' own are looked for, in milliseconds: over REST, where that is billed, less often. */
const EVERY = { tcp: 60_000, rest: 3_600_000 };

/**
 * Looks for services of applications' own again and again, so that they are shown as such.
 *
 * @param client The client.
 * @param signal Ends it.
 * @returns Resolves at the end. Never rejects: what cannot be looked for now is so later.
 */
export async function keepFinding(client: OpenedStore["client"], signal: AbortSignal): Promise<void> {
  const every = client.driver === "upstash" ? EVERY.rest : EVERY.tcp;
  while (!signal.aborted) {
    await findServices(client, { signal }).catch(() => {});
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, every);
      const stop = (): void => {
        clearTimeout(timer);
        resolve();
      };
      if (signal.aborted) stop();
      signal.addEventListener("abort", stop, { once: true });
    });
  }
}
