// How do 500 concurrent `product.products.get(id)` over a cluster of 3 masters compare with node-redis's createCluster
// and with ioredis's Cluster with auto-pipelining, GET + JSON.parse each, and what do they cost the client next to one
// server?
import assert from "node:assert/strict";
import process from "node:process";
import { Cluster } from "ioredis";
import { createCluster } from "redis";
import { createCacheClient } from "../mod.ts";
import type { Product } from "../src/services/product.ts";
import { product } from "../test/fixtures/product.ts";
import { startCluster } from "../test/helpers/redis_cluster.ts";
import { startRedis } from "../test/helpers/redis_server.ts";
import { atMost, compare, information, quantile, ratioHeading, version, type Work } from "./helpers/compare.ts";

const CALLERS = 500;
const BAR = 1.1;
const CPU_BAR = 1.3;
const ROUNDS = 41;
ratioHeading(`${CALLERS} concurrent get of a 1.5 KB product over a cluster of 3 masters, 64 shards, schema included`);

const nodes = await startCluster();
const redis = await startRedis();
const ids = Array.from({ length: CALLERS }, (_, i) => i + 1);
const entries = ids.map((id) => [id, product(id)] as const);
const open = async (url: string) => {
  const client = createCacheClient({ env: {}, timeout: 10_000, url });
  const { products } = client.service("product");
  assert.equal(await products.setMany(entries), CALLERS);
  assert.deepEqual(await products.get(CALLERS), product(CALLERS));
  return { products, close: () => client.close() };
};
const ours = await open(`redis+cluster://${nodes.addresses.join(",")}`);
const single = await open(redis.url);

const nodeRedis = createCluster({ rootNodes: nodes.addresses.map((address) => ({ url: `redis://${address}` })) });
await nodeRedis.connect();
const ioredis = new Cluster(
  nodes.nodes.map(({ port }) => ({ host: "127.0.0.1", port })),
  { enableAutoPipelining: true },
);
const parsed = async (text: Promise<string | null>): Promise<Product | undefined> => {
  const found = await text;
  return found === null ? undefined : JSON.parse(found);
};
await Promise.all(entries.map(([id, value]) => nodeRedis.set(`peer:${id}`, JSON.stringify(value))));

const all =
  (get: (id: number) => Promise<unknown>): Work =>
  async (times) => {
    for (let time = 0; time < times; time++) await Promise.all(ids.map(get));
  };
/** The product of a peer's name. */
const productOf = (peer: string): string => (peer.startsWith("redis") ? "node-redis" : "ioredis");
const peers = {
  [`${version("redis")} createCluster`]: (id: number) => parsed(nodeRedis.get(`peer:${id}`)),
  [`${version("ioredis")} Cluster`]: (id: number) => parsed(ioredis.get(`peer:${id}`)),
};
for (const [peer, get] of Object.entries(peers)) {
  assert.deepEqual(await get(7), product(7));
  await compare({
    title: `against ${productOf(peer)}`,
    unit: "get",
    units: CALLERS,
    ours: all((id) => ours.products.get(id)),
    theirs: all(get),
    peer,
    bar: BAR,
    milliseconds: 50,
    rounds: ROUNDS,
  });
}

/** Answers the microseconds of this process for one get. */
async function clientCpu(work: Work, times: number): Promise<number> {
  const start = process.cpuUsage();
  await work(times);
  const { user, system } = process.cpuUsage(start);
  return (user + system) / times / CALLERS;
}
/** Compares the processor time of this process with a peer's, in alternating rounds. */
async function compareClientCpu(title: string, theirs: Work, peer: string, bar?: number): Promise<void> {
  const works = [all((id) => ours.products.get(id)), theirs] as const;
  const ratios: number[] = [];
  const spent: [number[], number[]] = [[], []];
  for (let round = 0; round <= ROUNDS; round++) {
    const pair: [number, number] = [0, 0];
    for (const side of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
      pair[side] = await clientCpu(works[side], 8);
      if (round > 0) spent[side].push(pair[side]);
    }
    if (round > 0) ratios.push(pair[0] / pair[1]);
  }
  const ratio = quantile(ratios, 0.5);
  const [own, other] = spent.map((list) => `${quantile(list, 0.5).toFixed(2)} us`);
  const spread = `quartiles ${quantile(ratios, 0.25).toFixed(2)}-${quantile(ratios, 0.75).toFixed(2)}`;
  const detail = `${spread}; ${own} and ${other} a get`;
  if (bar === undefined) information(title, `${ratio.toFixed(2)} (${detail})`, peer);
  else atMost(title, bar, ratio, detail, peer);
}
await compareClientCpu(
  "client CPU, over that on one server",
  all((id) => single.products.get(id)),
  "larder on one server",
  CPU_BAR,
);
for (const [peer, get] of Object.entries(peers))
  await compareClientCpu(`client CPU, over that of ${productOf(peer)}`, all(get), peer);
await ours.close();
await single.close();
await nodeRedis.disconnect();
ioredis.disconnect();
await nodes.stop();
await redis.stop();
