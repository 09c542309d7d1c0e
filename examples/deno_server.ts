/**
 * A Deno server. The environment names the store; with nothing set it is the embedded one.
 *
 *     deno add jsr:@foodfast/larder
 *     deno serve --allow-net --allow-env --allow-read=. --port 8000 examples/deno_server.ts
 *     curl -i http://127.0.0.1:8000/products/1
 */
import { createCacheClient } from "@foodfast/larder";
import { api } from "./api.ts";

const client = createCacheClient({ logger: console });

/** The form of a default export that `deno serve` takes. */
interface Server {
  fetch(request: Request, info: { readonly remoteAddr: { readonly hostname: string } }): Promise<Response>;
}

const server: Server = {
  fetch: (request, { remoteAddr }) => api(client, request, remoteAddr.hostname),
};

export default server;
