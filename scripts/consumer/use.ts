// What an application does with the package, so that what it gets is checked too.
import { collection, createCacheClient, defineService, type LoadContext } from "@foodfast/larder";
import { type Bridge, bridge } from "@foodfast/larder/bridge";
import { createCacheClient as createCoreClient } from "@foodfast/larder/core";
import { dashboard, listen } from "@foodfast/larder/dashboard";
import type { Driver } from "@foodfast/larder/drivers/driver";
import { memory } from "@foodfast/larder/drivers/memory";
import { clear, finish, type StepOptions } from "@foodfast/larder/manager";
import { type Monitor, metricsHandler, monitor } from "@foodfast/larder/monitor";

/** The signal of a load: the runtime's own `AbortSignal`, if its types are there. */
type Signal = LoadContext["signal"];

interface Dish {
  readonly id: number;
  readonly name: string;
}

const menus = defineService({
  name: "menu",
  database: 8,
  collections: { dishes: collection<Dish>({ key: "dish:{id}", ttl: "1h", tags: ["menu"] }) },
});

export async function use(signal: Signal): Promise<readonly unknown[]> {
  const client = createCacheClient({ driver: "memory", ttl: "1h" });
  const { dishes } = client.service(menus);
  const load = (aborted: boolean): Dish => ({ id: 1, name: aborted ? "" : "Pho" });
  const dish: Dish | undefined = await dishes.get(1);
  const loaded: Dish = await dishes.getOrSet(1, (context) => load(context.signal.aborted), { tags: ["new"] });
  const second: Dish | undefined = (await dishes.getMany([1, 2])).get(2);
  const token: number = await client.cache().withLock("job", (lock) => (lock.signal.aborted ? 0 : lock.token));
  const stored: boolean = await client.service("product").products.set(1, { id: 1, name: "Pho" });
  const driver: Driver = memory({ maxEntries: 10 });
  const handler: Bridge = bridge({ driver, token: "secret" });
  const steps: StepOptions = { signal };
  const { keys } = await finish(clear(client, { service: "product", ...steps }));
  const watch: Monitor = monitor(client);
  const server = await listen(metricsHandler(watch), { port: 0 });
  const page = await listen(dashboard(client, { token: "secret" }));
  return [dish, loaded, second, token, stored, handler, keys, server.url, page.url, createCoreClient({ driver })];
}
