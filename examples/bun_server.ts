/**
 * A Bun server. The environment names the store; with nothing set it is the embedded one.
 *
 *     bun add @foodfast/larder        (in this repository: npm run build)
 *     REDIS_URL=redis://127.0.0.1:6379 PORT=3000 bun examples/bun_server.ts
 *     curl -i http://127.0.0.1:3000/products/1
 */
import process from "node:process";
import { createCacheClient } from "@foodfast/larder";
import { api } from "./api.ts";

const client = createCacheClient({ logger: console });

/** The form of a default export that `bun FILE` serves. */
interface Server {
  readonly port: number;
  readonly hostname: string;
  fetch(
    request: Request,
    server: { requestIP(request: Request): { readonly address: string } | null },
  ): Promise<Response>;
}

const server: Server = {
  port: Number(process.env.PORT ?? 3000),
  hostname: process.env.HOST ?? "0.0.0.0",
  fetch: (request, server) => api(client, request, server.requestIP(request)?.address ?? "unknown"),
};

export default server;
