/**
 * A Cloudflare Worker over Upstash. It needs no `nodejs_compat`.
 *
 *     npm install @foodfast/larder
 *     npx wrangler secret put UPSTASH_REDIS_REST_URL       (and UPSTASH_REDIS_REST_TOKEN)
 *     npx wrangler deploy examples/cloudflare_worker.ts --name food-fast
 */
import { createCacheClient } from "@foodfast/larder";
import { api } from "./api.ts";

/** The Worker's bindings. */
interface Env {
  readonly UPSTASH_REDIS_REST_URL: string;
  readonly UPSTASH_REDIS_REST_TOKEN: string;
}

/** What Workers run. */
interface Worker {
  fetch(request: Request, env: Env, ctx: { waitUntil(promise: Promise<unknown>): void }): Promise<Response>;
}

const worker: Worker = {
  fetch(request, env, ctx) {
    // A client a request: what is in flight must not be shared between requests. It costs nothing before its first command.
    const client = createCacheClient({ env: { ...env }, waitUntil: ctx.waitUntil.bind(ctx), logger: console });
    return api(client, request, request.headers.get("cf-connecting-ip") ?? "unknown");
  },
};

export default worker;
