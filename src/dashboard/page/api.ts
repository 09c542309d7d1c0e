/// <reference lib="dom" />
/** Requests to the dashboard's server. */
import type { Refused } from "../messages.ts";
import { line } from "./text.ts";

/** The longest time to wait for an answer, in milliseconds. */
const LONGEST = 60_000;

/** The error of a request that was not answered. */
export class AskError extends Error {
  /** The HTTP status; 0 if the server was not reached. */
  readonly status: number;

  /**
   * Creates an error.
   *
   * @param message The reason.
   * @param status The HTTP status.
   */
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/**
 * Requests JSON.
 *
 * @param name The endpoint, such as `"slow"`.
 * @param query The parameters: in the URL for GET, otherwise in the body.
 * @param init The method, and a signal that cancels the request.
 * @throws {AskError} If the server refuses or is away. The reason of an aborted signal is thrown unchanged.
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

/** Returns the reason of an error, without its own "Cannot ...:", because the page says what it could not do. */
export function reason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/^cannot [^:]*: /i, "");
}
