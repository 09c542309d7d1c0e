import { findServices } from "../manager/services.ts";
import { untilStopped } from "./stop.ts";
import type { OpenedStore } from "./store.ts";

/** The milliseconds between two searches. Over REST, where commands are billed, they are rare. */
const EVERY = { tcp: 60_000, rest: 3_600_000 };

/** The milliseconds until the next search if the store did not answer. */
const SOON = 5000;

/**
 * Searches repeatedly for services that applications defined, so that they are shown by their names.
 *
 * @param client The client.
 * @param signal Ends the searches.
 * @returns Resolves at the end. Never rejects: a search that fails is repeated.
 */
export async function searchServices(client: OpenedStore["client"], signal: AbortSignal): Promise<void> {
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
