// How many round trips does a getOrSet cost?
import assert from "node:assert/strict";
import { type CacheClient, collection, createCacheClient, defineService } from "../mod.ts";
import { heading, information, verdict } from "./helpers/compare.ts";
import { openWires } from "./helpers/wires.ts";

const menu = defineService({
  name: "menu",
  database: 8,
  collections: {
    drinks: collection<string>({ key: "drink:{id}", ttl: "1h" }),
    dishes: collection<string>({ key: "dish:{id}", ttl: "1h", tags: ["menu"] }),
  },
});
const hit = { stored: true, options: {} };
const cases = [
  { name: "hit", bar: 1, of: "drinks", ...hit },
  { name: "hit with tags, another tag was invalidated by another client", bar: 1, of: "dishes", ...hit },
  { name: "the same, the tags given by the call that stored it", of: "drinks", tags: ["menu"], ...hit },
  { name: "miss", bar: 2, of: "drinks", options: {} },
  { name: "miss with tags", bar: 2, of: "dishes", options: {} },
  { name: "miss with lock", bar: 3, of: "dishes", options: { lock: true } },
] as const;
heading(
  "Round trips of one getOrSet: pipelines over TCP, requests over REST",
  "Counted by the client, the write of a miss included. The first number is of a new client's first call, the second " +
    "of its second call, with another id.",
);
const IDS = [1, 2] as const;
const { wires, flush, close } = await openWires();
for (const wire of wires) {
  await using other = createCacheClient(wire.options);
  for (const { name, of, options, ...more } of cases) {
    await flush();
    const service = other.service(menu);
    const stored = "stored" in more;
    if (stored) for (const id of IDS) await service[of].set(id, "pho", "tags" in more ? { tags: more.tags } : {});
    await service.invalidateTags("elsewhere");
    await using client = createCacheClient(wire.options);
    const trips: number[] = [];
    for (const id of IDS) trips.push(await count(client, of, id, options, stored));
    if ("bar" in more)
      verdict(`${wire.name}: ${name}`, `${more.bar}`, trips.join(", "), Math.max(...trips) <= more.bar);
    else information(`${wire.name}: ${name}`, trips.join(", "));
  }
}
await close();

/** The round trips of one getOrSet, and of what it leaves to the background. */
async function count(
  client: CacheClient,
  of: "drinks" | "dishes",
  id: number,
  options: object,
  stored: boolean,
): Promise<number> {
  const before = client.stats().wire.roundTrips;
  let loads = 0;
  const load = () => {
    loads++;
    return "pho";
  };
  assert.equal(await client.service(menu)[of].getOrSet(id, load, options), "pho");
  assert.equal(loads, stored ? 0 : 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  return client.stats().wire.roundTrips - before;
}
