// How many HTTP requests and billed commands do 1000 concurrent gets over REST cost? Counted at the server.
import assert from "node:assert/strict";
import { memory } from "../drivers/memory.ts";
import { createCacheClient } from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { product } from "../test/fixtures/product.ts";
import { serve } from "../test/helpers/serve.ts";
import { heading, information, verdict, version } from "./helpers/compare.ts";

const CALLERS = 1000;
heading(
  `${CALLERS} concurrent get over REST with ${version("@upstash/redis")}`,
  "Upstash bills every command, an MGET of many keys as one. The counts are exact.",
);
const token = "bench-token";
const driver = memory();
const answer = bridge({ driver, token });
let requests = 0;
let commands = 0;
const server = await serve(async (request) => {
  requests++;
  const body: unknown = await request.clone().json();
  commands += Array.isArray(body) && Array.isArray(body[0]) ? body.length : 1;
  return await answer(request);
});
const client = createCacheClient({ env: {}, driver: "upstash", url: server.url, token, timeout: 5000 });
const { products } = client.service("product");

async function count(title: string, bar: number | undefined, work: () => Promise<unknown>): Promise<void> {
  requests = commands = 0;
  const start = performance.now();
  await work();
  const took = `${(performance.now() - start).toFixed(1)} ms`;
  if (bar === undefined) return information(title, `${requests} / ${commands} (${took})`);
  verdict(title, `${bar} / ${bar}`, `${requests} / ${commands} (${took})`, requests === bar && commands === bar);
}

const ids = Array.from({ length: CALLERS }, (_, i) => i + 1);
await products.setMany(ids.map((id) => [id, product(id)]));
await count("requests / commands of 1000 concurrent get, distinct ids", 1, async () => {
  const values = await Promise.all(ids.map((id) => products.get(id)));
  assert.deepEqual(values, ids.map(product));
});
await count("requests / commands of 1000 concurrent get, 100 ids", 1, () =>
  Promise.all(ids.map((id) => products.get((id % 100) + 1))),
);
await count("requests / commands of getMany of 1000 ids", 1, () => products.getMany(ids));
await count("requests / commands of 1000 concurrent set", undefined, () =>
  Promise.all(ids.map((id) => products.set(id, product(id)))),
);
await count("requests / commands of delete of 1000 ids", undefined, () => products.delete(ids));
await client.close();
await server.close();
await driver.close();
