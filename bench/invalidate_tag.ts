// Does the time to invalidate a tag depend on how many entries carry it?
import assert from "node:assert/strict";
import { createCacheClient } from "../mod.ts";
import { heading, quantile, verdict } from "./helpers/compare.ts";
import { openWires } from "./helpers/wires.ts";

const MANY = 100_000;
const FEW = 10;
const ROUNDS = 201;
/** The most that one median may be above the other. */
const BAR = 1.2;
const CHUNK = 5000;

heading(
  `invalidateTags of a tag that ${MANY} entries carry, against one that ${FEW} carry`,
  `The first time is of the call that invalidates entries. The medians are of ${ROUNDS} rounds that invalidate both, ` +
    "in alternating order. Read the ratio of the medians: 1 is as fast.",
);
const { wires, flush, close } = await openWires();
for (const { name, options } of wires) {
  await flush();
  await using client = createCacheClient({ ...options, timeout: 30_000 });
  const cache = client.cache<number>({ database: 9 });
  const fill = async (tag: string, count: number) => {
    for (let from = 0; from < count; from += CHUNK) {
      const entries = Array.from(
        { length: Math.min(CHUNK, count - from) },
        (_, i) => [`${tag}:${from + i}`, i] as const,
      );
      assert.equal(await cache.setMany(entries, { ttl: "1h", tags: [tag] }), entries.length);
    }
  };
  await fill("many", MANY);
  await fill("few", FEW);
  const found = async () => {
    const keys = ["many:0", `many:${MANY - 1}`, "few:0", `few:${FEW - 1}`];
    return (await Promise.all(keys.map((key) => cache.get(key)))).filter((value) => value !== undefined).length;
  };
  assert.equal(await found(), 4);
  await cache.invalidateTags("another");
  assert.equal(await found(), 4);

  const times: Record<string, number[]> = { many: [], few: [] };
  const invalidate = async (tag: "many" | "few") => {
    const start = performance.now();
    await cache.invalidateTags(tag);
    times[tag]?.push(performance.now() - start);
  };
  await invalidate("many");
  await invalidate("few");
  assert.equal(await found(), 0);
  const first = `${times.many?.[0]?.toFixed(2)} and ${times.few?.[0]?.toFixed(2)} ms the first time`;
  for (let round = 0; round < ROUNDS; round++) {
    for (const tag of round % 2 === 0 ? (["many", "few"] as const) : (["few", "many"] as const)) await invalidate(tag);
  }
  const [many, few] = [quantile(times.many ?? [], 0.5), quantile(times.few ?? [], 0.5)];
  const ratio = many / few;
  const measured = `${ratio.toFixed(2)} (${many.toFixed(3)} ms, ${few.toFixed(3)} ms; ${first})`;
  verdict(`${name}: the time for ${MANY} over that for ${FEW}`, `${BAR} or less`, measured, ratio <= BAR);
}
await close();
