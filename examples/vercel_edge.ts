/**
 * A Vercel Edge function over Upstash: in a project, the file `api/products/[id].ts`; it serves `/api/products/1`.
 *
 *     npm install @foodfast/larder
 *     npx vercel integration add upstash                   (sets KV_REST_API_URL and KV_REST_API_TOKEN)
 *     npx vercel deploy
 */
import { createCacheClient } from "@foodfast/larder";
import { api } from "./api.ts";

/** Makes Vercel run the function on the edge. */
export const config: { readonly runtime: "edge" } = { runtime: "edge" };

/** One for the isolate: it keeps counts and the circuit breaker between requests. */
const shared = createCacheClient({ logger: console });

/** Answers a request. */
export default function handler(
  request: Request,
  context: { waitUntil(promise: Promise<unknown>): void },
): Promise<Response> {
  // Requests must not share work that is in flight, so each has a client of its own.
  const client = shared.forRequest({ waitUntil: context.waitUntil.bind(context) });
  return api(client, request, request.headers.get("x-real-ip") ?? "unknown");
}
