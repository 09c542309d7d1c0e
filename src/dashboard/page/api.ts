/// <reference lib="dom" />
/** Asking the dashboard's server. */
import type { Refused } from "../messages.ts";
import { line } from "./text.ts";

/** How long an answer may take, in milliseconds. */
const LONGEST = 60_000;

/** An answer that is none. */
export class AskError extends Error {
  /** The HTTP status; 0 where the server was not reached. */
  readonly status: number;

  /**
   * @param message Why.
   * @param status The HTTP status.
   */
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/**
 * Asks for JSON.
 *
 * @param name The endpoint, such as `"slow"`.
 * @param query Its parameters: in the URL, for other methods than GET in the body.
 * @param init The method, and a signal to give up.
 * @throws {AskError} When the server refuses or is away. What an aborted signal throws is passed on.
 */
export async function ask<Answer>(
  name: string,
  query: Readonly<Record<string, string | number>> = {},
  init: { readonly method?: string; readonly signal?: AbortSignal } = {},
): Promise<Answer> {
  const parameters = new URLSearchParams(Object.entries(query).map(([key, value]) => [key, String(value)]));
  const late = AbortSignal.timeout(LONGEST);
  const how = { ...init, signal: init.signal ? AbortSignal.any([init.signal, late]) : late };
  let response: Response;
  try {
    response = await (init.method
      ? fetch(`./api/${name}`, { ...how, body: parameters })
      : fetch(`./api/${name}?${parameters}`, { cache: "no-store", ...how }));
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new AskError("the dashboard's server does not answer", 0);
  }
  const answer: unknown = await response.json().catch((error: unknown) => {
    if (init.signal?.aborted) throw error;
    return undefined;
  });
  if (response.ok && answer !== undefined) return answer as Answer;
  const reason = (answer as Partial<Refused> | undefined)?.error;
  throw new AskError(reason ? line(String(reason)) : `the server answered ${response.status}`, response.status);
}

/** What went wrong, as text. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
