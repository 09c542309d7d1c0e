/**
 * The Worker that runs the contract: `GET` lists the cases, `POST` runs one, each in a request of its own. `PUT` reads
 * a product through a client of the request, made of one that all requests share. `PATCH` answers that client's
 * metrics, `DELETE` what is said where no store is named. `OPTIONS` answers what a monitor has seen that was made while
 * the code was loaded.
 */
import { type CacheClient, createCacheClient } from "../../mod.ts";
import { type Monitor, metricsHandler, monitor } from "../../src/monitor/mod.ts";
import { names, run, untold, type Wire } from "./suite.ts";

/** The body of a `PUT`. */
export interface Asked {
  readonly wire: Wire;
  readonly id: string;
  /** The time that its loader takes, in milliseconds. */
  readonly takes: number;
}

/** The response to a `PUT`. */
export interface Answered {
  readonly name: string | undefined;
  /** `true` if its own loader ran. */
  readonly ran: boolean;
  /** Near hits of all requests. */
  readonly nearHits: number;
  /** Counted loads of all processes. */
  readonly loads: number | undefined;
}

const shared = new Map<string, CacheClient>();

/** The client that all requests of a wire share. */
function clientOf(wire: Wire): CacheClient {
  const known = shared.get(wire.driver);
  const options = { env: {}, timeout: 5000, prefix: "requests", near: { ttl: "1h" }, fleetStats: true } as const;
  const client = known ?? createCacheClient({ ...options, ...wire });
  shared.set(wire.driver, client);
  return client;
}

async function ask({ wire, id, takes }: Asked, waitUntil: (promise: Promise<unknown>) => void): Promise<Answered> {
  const client = clientOf(wire);
  const { products, fleetStats } = client.forRequest({ waitUntil }).service("product");
  let ran = false;
  const value = await products.getOrSet(id, async () => {
    ran = true;
    await new Promise((resolve) => setTimeout(resolve, takes));
    return { id, name: `Pho ${id}` };
  });
  const { nearHits } = client.stats();
  return { name: value.name as string, ran, nearHits, loads: (await fleetStats())?.loads };
}

const watching = new Map<string, Monitor>();

/** Returns the metrics of a wire's monitor after one more look. */
async function metrics(wire: Wire): Promise<Response> {
  const watch = watching.get(wire.driver) ?? monitor(clientOf(wire), { rules: [] });
  watching.set(wire.driver, watch);
  await watch.tick();
  return metricsHandler(watch)(new Request("https://shop.example/metrics"));
}

/** Made where the time is 0: a Worker's clock begins with its first request. */
const early = createCacheClient({ env: {}, driver: "memory" });
const watchingEarly = monitor(early, { rules: [], store: false, fleet: false });

/** Returns the early monitor's last minute after one more read. */
async function lastMinute(): Promise<Response> {
  await early.cache().get("k");
  const { all, wire } = watchingEarly.snapshot().instance;
  return Response.json({ ...all.windows["1m"], commands: wire.windows["1m"]?.commands });
}

interface Context {
  waitUntil(promise: Promise<unknown>): void;
}

const worker: { fetch(request: Request, env: unknown, context: Context): Promise<Response> } = {
  async fetch(request, _env, context) {
    if (request.method === "GET") return Response.json(names);
    if (request.method === "DELETE") return Response.json(untold());
    if (request.method === "OPTIONS") return lastMinute();
    const body: unknown = await request.json();
    if (request.method === "PUT") {
      return Response.json(await ask(body as Asked, (promise) => context.waitUntil(promise)));
    }
    if (request.method === "PATCH") return metrics(body as Wire);
    const { index, wire } = body as { index: number; wire: Wire };
    return Response.json({ error: await run(index, wire) });
  },
};

export default worker;
