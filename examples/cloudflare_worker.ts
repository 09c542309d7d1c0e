/**
 * A Cloudflare Worker over Upstash. It needs no `nodejs_compat`.
 *
 *     npm install @foodfast/larder
 *     npx wrangler secret put UPSTASH_REDIS_REST_URL       (and UPSTASH_REDIS_REST_TOKEN)
 *     npx wrangler deploy examples/cloudflare_worker.ts --name food-fast
 */
import { type CacheClient, createCacheClient } from "@foodfast/larder";
import { api } from "./api.ts";

/** The Worker's bindings. */
interface Env {
  readonly UPSTASH_REDIS_REST_URL: string;
  readonly UPSTASH_REDIS_REST_TOKEN: string;
}

/** The form of a Worker. */
interface Worker {
  fetch(request: Request, env: Env, ctx: { waitUntil(promise: Promise<unknown>): void }): Promise<Response>;
}

/** One for the isolate: it keeps counts and the circuit breaker between requests. */
let shared: CacheClient | undefined;

const worker: Worker = {
  fetch(request, env, ctx) {
    shared ??= createCacheClient({ env: { ...env }, logger: console });
    // Requests must not share I/O that is in flight, so each has a client of its own. A client costs nothing before its
    // first command.
    const client = shared.forRequest({ waitUntil: ctx.waitUntil.bind(ctx) });
    return api(client, request, request.headers.get("cf-connecting-ip") ?? "unknown");
  },
};

export default worker;
