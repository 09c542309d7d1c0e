// How long does invalidateTags take over a cluster of 3 masters with 64 shards, next to one server, and does the number
// of entries that carry the tag matter?
import assert from "node:assert/strict";
import { createCacheClient } from "../mod.ts";
import { startCluster } from "../test/helpers/redis_cluster.ts";
import { startRedis } from "../test/helpers/redis_server.ts";
import { heading, quantile, verdict } from "./helpers/compare.ts";

const MANY = 100_000;
const FEW = 10;
const ROUNDS = 201;
const CHUNK = 5000;
/** The most milliseconds that the median may be above that of one server. */
const BAR = 3;
/** The most that one median may be above the other. */
const KEYS_BAR = 1.2;

heading(
  "invalidateTags over 3 masters and 64 shards, against one server",
  `Medians of ${ROUNDS} rounds in alternating order, in ms.`,
);
const nodes = await startCluster();
const redis = await startRedis();
const open = (url: string) => {
  const client = createCacheClient({ env: {}, timeout: 30_000, url });
  return { client, cache: client.cache<number>({ database: 9 }) };
};
const sharded = open(`redis+cluster://${nodes.addresses.join(",")}`);
const single = open(redis.url);
const fill = async (tag: string, count: number): Promise<void> => {
  for (let from = 0; from < count; from += CHUNK) {
    const length = Math.min(CHUNK, count - from);
    const entries = Array.from({ length }, (_, i) => [`${tag}:${from + i}`, i] as const);
    assert.equal(await sharded.cache.setMany(entries, { ttl: "1h", tags: [tag] }), length);
  }
};
await fill("many", MANY);
await fill("few", FEW);

const subjects = {
  many: () => sharded.cache.invalidateTags("many"),
  few: () => sharded.cache.invalidateTags("few"),
  single: () => single.cache.invalidateTags("few"),
};
type Name = keyof typeof subjects;
const times: Record<Name, number[]> = { many: [], few: [], single: [] };
const names = Object.keys(subjects) as Name[];
for (let round = 0; round < ROUNDS; round++) {
  for (const name of round % 2 === 0 ? names : [...names].reverse()) {
    const start = performance.now();
    assert.ok(await subjects[name]());
    times[name].push(performance.now() - start);
  }
}
assert.equal(await sharded.cache.get("many:0"), undefined);
const [many, few, one] = names.map((name) => quantile(times[name], 0.5)) as [number, number, number];
const p99 = quantile(times.few, 0.99);
verdict(
  "p50, more than one server's",
  `${BAR} ms or less`,
  `${(few - one).toFixed(2)} ms (${few.toFixed(2)} and ${one.toFixed(2)} ms; p99 ${p99.toFixed(2)} ms)`,
  few - one <= BAR,
);
verdict(
  `the time for ${MANY} entries over that for ${FEW}`,
  `${KEYS_BAR} or less`,
  `${(many / few).toFixed(2)} (${many.toFixed(2)} and ${few.toFixed(2)} ms)`,
  many / few <= KEYS_BAR,
);
await sharded.client.close();
await single.client.close();
await nodes.stop();
await redis.stop();
