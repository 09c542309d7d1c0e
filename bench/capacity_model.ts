// Does the sum of `larder capacity` agree with what a server really uses?
//
// 50 clients run a traffic on a real server, whose processor is measured. The sum is of the same traffic, with what
// `larder capacity` measures on that server. The traffic counts as that of one second.
import assert from "node:assert/strict";
import { type CacheClient, collection, createCacheClient, defineService } from "../mod.ts";
import { planOf, type Traffic } from "../src/manager/capacity.ts";
import { measureStore } from "../src/manager/measure_store.ts";
import type { Product } from "../src/services/product.ts";
import { product } from "../test/fixtures/product.ts";
import { startCluster } from "../test/helpers/redis_cluster.ts";
import { rawClient, startRedis } from "../test/helpers/redis_server.ts";
import { heading, quantile, verdict } from "./helpers/compare.ts";
import { serverCpu } from "./helpers/server_cpu.ts";

const CLIENTS = 50;
const ROUNDS = 5;
const ENTRIES = 1000;
/** The least and the most that the sum may be of what is used. */
const [LEAST, MOST] = [0.7, 1.4];

heading(
  "The sum of larder capacity over what the server uses for the same traffic",
  `Medians of ${ROUNDS} rounds: 1 is exact, and above 1 the sum is on the safe side.`,
);
const tags = ({ categoryId }: Product): string[] => ["menu", `category:${categoryId}`];
const menu = defineService({
  name: "menu",
  collections: {
    plain: collection<Product>({ key: "plain:{id}", ttl: "1h" }),
    tagged: collection<Product>({ key: "tagged:{id}", ttl: "1h", tags }),
  },
});
const small = (id: number): Product => {
  const { images: _, ...rest } = product(id);
  return rest as Product;
};
const size = JSON.stringify(small(1)).length;

/** One traffic, and the servers that it runs on. */
interface Case {
  readonly title: string;
  readonly masters: number;
  readonly together: number;
  readonly listeners?: number;
  readonly invalidations?: number;
}

/** Measures a traffic in rounds, and judges the sum. */
async function judge({ title, masters, together, listeners = 0, invalidations = 0 }: Case): Promise<void> {
  const servers = masters === 1 ? await startRedis() : await startCluster({ masters });
  const [url, ports] =
    "url" in servers
      ? [servers.url, [servers.port]]
      : [`redis+cluster://${servers.addresses.join(",")}`, servers.nodes.map(({ port }) => port)];
  const raw = await Promise.all(ports.map(rawClient));
  const open = async (near: boolean) => {
    const client: CacheClient = createCacheClient({ env: {}, url, timeout: 10_000, near });
    await client.connect({ timeout: 10_000 });
    return { client, ...client.service(menu) };
  };
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => open(false)));
  const [first] = clients as [(typeof clients)[0]];
  for (const cache of [first.plain, first.tagged]) {
    assert.equal(await cache.setMany(Array.from({ length: ENTRIES }, (_, id) => [id, small(id)])), ENTRIES);
  }
  const near = await Promise.all(Array.from({ length: listeners }, () => open(true)));
  // The first read opens the connection for reports.
  await Promise.all(near.map((one) => one.plain.get(1)));

  /** Lets every client do something `times` times, `together` of it in each tick. */
  type Call = (client: (typeof clients)[0], id: number) => Promise<unknown>;
  const everyone = async (times: number, call: Call): Promise<void> => {
    const run = async (client: (typeof clients)[0], at: number): Promise<void> => {
      for (let time = 0; time < times; time += together) {
        await Promise.all(Array.from({ length: together }, (_, i) => call(client, (at * 97 + time + i) % ENTRIES)));
      }
    };
    await Promise.all(clients.map(run));
  };
  const [reads, tagged, writes] = [400, 200, 60];
  const ratios: number[] = [];
  let used = 0;
  for (let round = 0; round <= ROUNDS; round++) {
    const costs = await measureStore(first.client, { size });
    assert.ok(typeof costs === "object");
    used = await serverCpu(
      raw,
      async () => {
        await everyone(reads, ({ plain }, id) => plain.get(id));
        for (let time = 0; time < invalidations; time++) await first.invalidateTags("another");
        await everyone(tagged, ({ tagged }, id) => tagged.get(id));
        await everyone((writes * reads) / (reads + tagged), ({ plain }, id) => plain.set(id, small(id)));
        await everyone((writes * tagged) / (reads + tagged), ({ tagged }, id) => tagged.set(id, small(id)));
      },
      1,
    );
    const traffic: Traffic = {
      reads: reads * CLIENTS,
      tagged: tagged * CLIENTS,
      writes: writes * CLIENTS,
      // New clients know no marks, as after an invalidation. A few reads learn those of one server.
      invalidations: masters === 1 ? invalidations : Math.max(1, invalidations),
      clients: CLIENTS,
      near: listeners,
      together,
      size,
      entries: ENTRIES,
      tags: 11,
    };
    if (round > 0) ratios.push((planOf(traffic, costs, masters).busy * masters * 1e6) / used);
  }
  const ratio = quantile(ratios, 0.5);
  const spread = `quartiles ${quantile(ratios, 0.25).toFixed(2)}-${quantile(ratios, 0.75).toFixed(2)}`;
  const detail = `${spread}; the last round used ${(used / 1000).toFixed(0)} ms`;
  verdict(title, `${LEAST} to ${MOST}`, `${ratio.toFixed(2)} (${detail})`, ratio >= LEAST && ratio <= MOST);
  await Promise.all([...near, ...clients].map(({ client }) => client.close()));
  for (const one of raw) one.close();
  await servers.stop();
}

await judge({ title: "each call alone", masters: 1, together: 1 });
await judge({ title: "ten calls a tick", masters: 1, together: 10 });
await judge({ title: "ten calls a tick, an invalidation", masters: 1, together: 10, invalidations: 1 });
await judge({ title: "ten calls a tick, 20 near caches", masters: 1, together: 10, listeners: 20 });
await judge({ title: "ten calls a tick, 3 masters", masters: 3, together: 10 });
await judge({ title: "100 calls a tick, 3 masters, an invalidation", masters: 3, together: 100, invalidations: 1 });
