import { findServices } from "../manager/services.ts";
import { untilStopped } from "./stop.ts";
import type { OpenedStore } from "./store.ts";

/** How often services of applications' own are looked for, in milliseconds: over REST, where that is billed, less often. */
const EVERY = { tcp: 60_000, rest: 3_600_000 };

/** How soon after a store that did not answer. */
const SOON = 5000;

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
    const found = await findServices(client, { signal }).then(
      () => true,
      () => false,
    );
    let timer: ReturnType<typeof setTimeout> | undefined;
    const waited = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, found ? every : SOON);
    });
    await untilStopped(waited, signal).catch(() => {});
    clearTimeout(timer);
  }
}
