// How much memory do 100,000 entries take, in the embedded store and in the near cache, against lru-cache?
//
// The values are products of 1.1 KB, read from JSON, as they come from a database or a service: each is an object of
// its own. Each cache runs in a process of its own, which collects its garbage before and after the entries. Counted is
// what the runtime then reports as used: the heap, and buffers outside it. lru-cache and the near cache hold the
// objects, the embedded store their texts. The near cache stands over a store that is emptied again after each read.
//
// The engine of Bun keeps the items of a frozen list in a hash table: a product has five lists, which take 1000 bytes
// more in the near cache than in lru-cache, whose readers may change what others read.
import assert from "node:assert/strict";
import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { LRUCache } from "lru-cache";
import { memory } from "../drivers/memory.ts";
import { createCacheClient } from "../mod.ts";
import { product } from "../test/fixtures/product.ts";
import { runChild } from "./helpers/child.ts";
import { atMost, heading, quantile, version } from "./helpers/compare.ts";

const ENTRIES = 100_000;
const CHUNK = 1000;
const ROUNDS = Number(process.env.ROUNDS ?? 3);
const bounds = { maxEntries: 2 * ENTRIES, maxBytes: 2 ** 30 };
const [, , subject] = process.argv;

/** Fills a cache. Answers what holds it, and how to read an entry. */
type Fill = () => Promise<(id: number) => unknown>;

const FILLS: Readonly<Record<string, Fill>> = {
  async "lru-cache"() {
    const cache = new LRUCache<string, object>({ max: bounds.maxEntries, ttl: 3_600_000 });
    for (let id = 1; id <= ENTRIES; id++) cache.set(`product:${id}`, JSON.parse(textOf(id)));
    return (id) => cache.get(`product:${id}`);
  },
  async "embedded store"() {
    const client = createCacheClient({ env: {}, driver: memory(bounds) });
    const { products } = client.service("product");
    for (let id = 1; id <= ENTRIES; id++) await products.set(id, JSON.parse(textOf(id)));
    return (id) => products.get(id);
  },
  async "near cache"() {
    const store = memory();
    const { name, capabilities, send, close } = store;
    const client = createCacheClient({
      env: {},
      // Without messages about changes, so that the near cache keeps what the store has lost.
      driver: { name, capabilities, send, close },
      near: { ...bounds, ttl: "1h" },
    });
    const { products } = client.service("product");
    await products.get(1);
    for (let from = 1; from <= ENTRIES; from += CHUNK) {
      const ids = Array.from({ length: CHUNK }, (_, i) => from + i);
      await store.send(
        1,
        ids.map((id) => ["SET", `product:${id}`, `{"json":${textOf(id)}}`, "PX", 3_600_000]),
      );
      await Promise.all(ids.map((id) => products.get(id)));
      await store.send(1, [["FLUSHDB"]]);
    }
    return (id) => products.get(id);
  },
};

if (subject !== undefined) {
  const collect = collector();
  const fill = FILLS[subject] as Fill;
  const before = await used(collect);
  const read = await fill();
  const after = await used(collect);
  for (const id of [1, ENTRIES / 2, ENTRIES]) assert.deepEqual(await read(id), JSON.parse(textOf(id)));
  console.log(JSON.stringify({ heap: after.heap - before.heap, resident: after.resident - before.resident }));
  process.exit();
} else {
  const peer = version("lru-cache");
  heading(
    `Memory of ${ENTRIES} products of 1.1 KB, against ${peer} with the same values`,
    "A ratio is our memory over the peer's: below 1 we need less. In brackets: bytes an entry, and the same of what " +
      "the system sees, in which freed memory counts too.",
  );
  const results: Record<string, { heap: number; resident: number }> = {};
  for (const name of Object.keys(FILLS)) {
    const runs: { heap: number; resident: number }[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const { lines, code } = await runChild(process.argv[1] as string, [name], 120_000);
      assert.equal(code, 0, name);
      runs.push(JSON.parse(lines.at(-1) as string));
    }
    const median = (of: "heap" | "resident") =>
      quantile(
        runs.map((run) => run[of] / ENTRIES),
        0.5,
      );
    results[name] = { heap: median("heap"), resident: median("resident") };
  }
  const theirs = results["lru-cache"] as { heap: number; resident: number };
  for (const [name, bar] of [
    ["embedded store", 0.8],
    ["near cache", 1.2],
  ] as const) {
    const ours = results[name] as { heap: number; resident: number };
    const each = `${ours.heap.toFixed(0)} and ${theirs.heap.toFixed(0)} bytes an entry`;
    const seen = `the system sees ${ours.resident.toFixed(0)} and ${theirs.resident.toFixed(0)}`;
    atMost(name, bar, ours.heap / theirs.heap, `${each}; ${seen}`, peer);
  }
}

/** Returns the JSON of a product, which has a name and a description of its own. */
function textOf(id: number): string {
  const { images: _, ...small } = product(id);
  return JSON.stringify({ ...small, description: `${id}: ${small.description}` });
}

/** Collects garbage until nothing is left to collect. Answers the used bytes. */
async function used(collect: () => void): Promise<{ heap: number; resident: number }> {
  for (let time = 0; time < 5; time++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  // Bun counts buffers outside its heap in both.
  return { heap: heapUsed + (process.versions.bun ? 0 : external), resident: rss };
}

/** Returns what starts a full collection, however the runtime offers it. */
function collector(): () => void {
  const { Bun } = globalThis as { Bun?: { gc(force: boolean): void } };
  if (Bun) return () => Bun.gc(true);
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}
