// How often does a failing loader run when many callers wait for it, and what do they get when an old value is there?
import { BentoCache, bentostore } from "bentocache";
import { redisDriver } from "bentocache/drivers/redis";
import { createCacheClient } from "../mod.ts";
import { product } from "../test/fixtures/product.ts";
import { heading, information, verdict, version } from "./helpers/compare.ts";
import { openWires } from "./helpers/wires.ts";

const CALLERS = 500;
heading(
  `${CALLERS} concurrent getOrSet of one key whose loader fails, against ${version("bentocache")}`,
  "Counted are the loader's runs. Shared means that all callers were given the same error object.",
);
const { redis, wires, flush, close } = await openWires();
let runs = 0;
const fail = async (): Promise<never> => {
  runs++;
  await new Promise((resolve) => setTimeout(resolve, 10));
  throw new Error("the loader failed");
};

/** Lets every caller ask; answers what they got, values and errors. */
async function ask(call: () => Promise<unknown>): Promise<{ values: unknown[]; errors: Set<unknown>; took: string }> {
  runs = 0;
  const start = performance.now();
  const outcomes = await Promise.allSettled(Array.from({ length: CALLERS }, call));
  return {
    values: outcomes.flatMap((one) => (one.status === "fulfilled" ? [one.value] : [])),
    errors: new Set(outcomes.flatMap((one) => (one.status === "rejected" ? [one.reason] : []))),
    took: `${(performance.now() - start).toFixed(0)} ms`,
  };
}

for (const { name, options } of wires) {
  await flush();
  let now = Date.now();
  await using client = createCacheClient({ ...options, clock: () => now });
  const { products } = client.service("product");
  const cold = await ask(() => products.getOrSet(1, fail));
  const shared = cold.errors.size === 1 && cold.values.length === 0;
  const each = shared ? "one error shared" : `${cold.errors.size} errors, ${cold.values.length} values`;
  verdict(`${name}: nothing stored`, "1 run", `${runs}, ${each} (${cold.took})`, runs === 1 && shared);

  const keep = { ttl: "1m", failSafeFor: "1h" } as const;
  await products.getOrSet(2, () => product(2), keep);
  now += 120_000;
  const { values, took } = await ask(() => products.getOrSet(2, fail, keep));
  const stale = values.filter((value) => (value as { id?: unknown }).id === 2).length;
  const ok = runs === 1 && stale === CALLERS;
  verdict(`${name}: an expired value kept by failSafeFor`, "1 run", `${runs}, ${stale} got it (${took})`, ok);
}

const connection = { host: "127.0.0.1", port: redis.port };
const bento = new BentoCache({
  default: "redis",
  stores: { redis: bentostore().useL2Layer(redisDriver({ connection })) },
});
const theirs = await ask(() => bento.getOrSet({ key: "cold", factory: fail, ttl: "1m" }));
const peer = version("bentocache");
information(`${peer}: nothing stored`, `${runs} runs, ${theirs.errors.size} errors (${theirs.took})`);
await bento.disconnectAll();
await close();
