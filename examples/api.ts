/** The API that the servers of this folder share: `GET /products/:id`, cached, with a rate limit by client address. */
import type { CacheClient } from "@foodfast/larder";

/** Answers a request; `address` is the client's, as the platform knows it. Never rejects. */
export async function api(client: CacheClient, request: Request, address: string): Promise<Response> {
  try {
    return await answer(client, request, address);
  } catch (error) {
    console.error(error);
    return json(500, { error: "Internal Server Error" });
  }
}

async function answer(client: CacheClient, request: Request, address: string): Promise<Response> {
  const limit = await client.service("auth").checkRateLimit(`api:${address}`, {
    limit: 60,
    window: "1m",
    onUnavailable: "allow", // a shop without its cache is slow, not closed
  });
  const headers = { "x-ratelimit-limit": `${limit.limit}`, "x-ratelimit-remaining": `${limit.remaining}` };
  if (!limit.allowed) {
    return json(429, { error: "Too Many Requests" }, { ...headers, "retry-after": `${limit.retryAfter}` });
  }

  const [, text] = /^(?:\/api)?\/products\/([^/]+)$/.exec(new URL(request.url).pathname) ?? [];
  if (text === undefined) return json(404, { error: "Not Found" }, headers);
  if (request.method !== "GET") return json(405, { error: "Method Not Allowed" }, { ...headers, allow: "GET" });
  if (!/^\d{1,9}$/.test(text)) return json(400, { error: "A product's id is a number" }, headers);

  const id = Number(text);
  let from = "hit";
  const load = () => {
    from = "miss";
    return loadProduct(id);
  };
  // After its TTL, a product is served for 5 minutes while it is renewed, and for a day if the database is away.
  const fresh = { staleFor: "5m", failSafeFor: "1d" } as const;
  const product = await client.service("product").products.getOrSet(id, load, fresh);
  if (!product) return json(404, { error: "Not Found" }, { ...headers, "x-cache": from });
  return json(200, product, { ...headers, "x-cache": from });
}

/** Stands for the application's database. */
async function loadProduct(id: number) {
  const names = ["Phở bò", "Bánh mì", "Bún chả"];
  const name = names[id - 1];
  return name === undefined ? undefined : { id, name, price: 8.5 + id };
}

function json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return Response.json(body, { status, headers });
}
