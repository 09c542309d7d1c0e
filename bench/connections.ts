// How many connections has a process with eight services, and what do their reads of a tick cost next to one for each?
import assert from "node:assert/strict";
import type { Driver } from "../drivers/driver.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { type Cache, type CacheClient, collection, createCacheClient, defineService, type PlainId } from "../mod.ts";
import { type RawClient, rawClient, startRedis } from "../test/helpers/redis_server.ts";
import { compare, ratioHeading, verdict } from "./helpers/compare.ts";
import { compareServerCpu } from "./helpers/server_cpu.ts";

const SERVICES = 8;
const peer = "a connection a service";
ratioHeading("One read in each of eight services in one tick, on the connection that they share");
const redis = await startRedis();
const server = await rawClient(redis.port);

const services = Array.from({ length: SERVICES }, (_, i) =>
  defineService({
    name: `s${i}`,
    database: 8 + i,
    collections: { values: collection<{ readonly name: string }>({ key: "value:{id}", ttl: "1h" }) },
  }),
);
const open = (near = false): CacheClient => createCacheClient({ env: {}, url: redis.url, near });
const valuesOf = (client: CacheClient, i: number): Cache<PlainId, { readonly name: string }> =>
  client.service(services[i] as (typeof services)[0]).values;

async function connections(): Promise<number> {
  const list = String(await server.command("CLIENT", "LIST"));
  return list.split("\n").filter((line) => line !== "" && !line.includes("cmd=client")).length;
}

await countConnections(server);
const shared = open();
const drivers = services.map(() => nodeRedis({ url: redis.url }));
const [first] = drivers as [Driver];
const apart: Driver = {
  ...first,
  send: (database, ...rest) => (drivers[database - 8] ?? first).send(database, ...rest),
};
const alone = createCacheClient({ env: {}, driver: apart });
const ours = services.map((_, i) => valuesOf(shared, i));
const theirs = services.map((_, i) => valuesOf(alone, i));
await Promise.all(ours.map((values, i) => values.set(1, { name: `dish ${i}` })));
for (const caches of [ours, theirs]) {
  const found = await Promise.all(caches.map((values) => values.get(1)));
  assert.deepEqual(
    found.map((value) => value?.name),
    services.map((_, i) => `dish ${i}`),
  );
}
assert.equal(await connections(), 1 + SERVICES);

const read = (caches: typeof ours) => async (times: number) => {
  for (let time = 0; time < times; time++) await Promise.all(caches.map((values) => values.get(1)));
};
const sides = { unit: "read", units: SERVICES, ours: read(ours), theirs: read(theirs), peer };
await compare({ title: "rate", ...sides, bar: 1.2 });
await compareServerCpu(server, { title: "server CPU", ...sides, bar: 0.5, times: 400 });
await Promise.all([shared, alone, ...drivers].map((each) => each.close()));
server.close();
await redis.stop();

/** Counts the connections of a client that uses all services with near caches. */
async function countConnections(server: RawClient): Promise<void> {
  const client = open(true);
  const end = performance.now() + 5000;
  let count = 0;
  // The one for reports of changed keys is opened in the background.
  while (count < 2 && performance.now() < end) {
    await Promise.all(services.map((_, i) => valuesOf(client, i).get(1)));
    await server.command("PING");
    count = await connections();
  }
  verdict("connections of a process that uses eight services with near caches", "2", `${count}`, count === 2);
  await client.close();
}
