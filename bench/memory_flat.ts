// Does memory stay flat when a million distinct keys go through getOrSet, over an embedded store and a near cache with
// bounds?
import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { memory } from "../drivers/memory.ts";
import { createCacheClient } from "../mod.ts";
import { heading, verdict } from "./helpers/compare.ts";

const KEYS = 1_000_000;
const CALLERS = 1000;
/** Keys between two looks at the heap. */
const STEP = 100_000;
/** The most that the heap may grow from the second look to the last, in KiB: a byte a key. */
const BAR = 1000;

heading(
  `${KEYS} distinct keys through getOrSet, ${CALLERS} at a time; 1000 entries in the store, 1000 near`,
  `The heap after a collection, every ${STEP} keys. ` +
    `A leak of 16 bytes a key would be ${((KEYS * 16) / 1024) | 0} KiB.`,
);
const collect = collector();
const client = createCacheClient({
  env: {},
  driver: memory({ maxEntries: 1000 }),
  near: { maxEntries: 1000, ttl: "1h" },
});
const { products } = client.service("product");
const heaps: number[] = [];
for (let from = 0; from < KEYS; from += CALLERS) {
  await Promise.all(
    Array.from({ length: CALLERS }, (_, i) =>
      products.getOrSet(from + i, () => ({ id: from + i, name: "Pho" }), { tags: ["menu"] }),
    ),
  );
  if ((from + CALLERS) % STEP !== 0) continue;
  for (let time = 0; time < 3; time++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  heaps.push(process.memoryUsage().heapUsed / 1024);
}
const { misses, nearHits } = client.stats();
const grown = (heaps.at(-1) as number) - (heaps[1] as number);
const course = heaps.map((heap) => (heap / 1024).toFixed(2)).join(" ");
verdict(
  "growth of the heap",
  `${BAR} KiB`,
  `${grown.toFixed(0)} KiB (MiB: ${course})`,
  grown <= BAR && misses === KEYS && nearHits === 0,
);
await client.close();

/** A full collection, however the runtime offers it. */
function collector(): () => void {
  const { Bun } = globalThis as { Bun?: { gc(force: boolean): void } };
  if (Bun) return () => Bun.gc(true);
  const { gc } = globalThis as { gc?: () => void };
  if (gc) return gc;
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}
