// How long does a near cache serve a value after another process has replaced it?
import assert from "node:assert/strict";
import process from "node:process";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { createCacheClient } from "../mod.ts";
import { product } from "../test/fixtures/product.ts";
import { startRedis } from "../test/helpers/redis_server.ts";
import { runChild } from "./helpers/child.ts";
import { heading, quantile, verdict } from "./helpers/compare.ts";

const WRITES = 10_000;
const BAR = 50;
/** Milliseconds between two writes: enough for the reader to have the value near again. */
const PAUSE = 1;

const [, , url] = process.argv;
if (url) await write(url);
else await report();

/** The child: writes one version after the other, and prints when each write was done. */
async function write(url: string): Promise<void> {
  await using client = createCacheClient({ env: {}, url, timeout: 5000 });
  const { products } = client.service("product");
  const done: number[] = [];
  for (let version = 1; version <= WRITES; version++) {
    assert.equal(await products.set(1, { ...product(1), price: version }), true);
    done.push(Date.now());
    await sleep(PAUSE);
  }
  console.log(JSON.stringify(done));
}

async function report(): Promise<void> {
  heading(
    `${WRITES} writes by one process, read by another through its near cache over TCP`,
    "For each version: the time from the reply to the write of the next version to the start of the last read that " +
      "still returned this one. The clock is the machine's, in ms.",
  );
  const redis = await startRedis();
  const client = createCacheClient({ env: {}, url: redis.url, near: true, timeout: 5000 });
  const { products } = client.service("product");
  await products.set(1, { ...product(1), price: 0 });
  const read = () => products.getOrSet(1, () => assert.fail("the value was gone"));
  await read();
  await sleep(200);

  // By version: when the last read began that gave it.
  const last = new Array<number>(WRITES + 1).fill(0);
  let writing = true;
  const writer = runChild(import.meta.filename, [redis.url], 300_000).finally(() => {
    writing = false;
  });
  // Half a second more, in which the last version must come.
  for (let end = Number.POSITIVE_INFINITY; Date.now() < end; ) {
    if (!writing) end = Math.min(end, Date.now() + 500);
    for (let time = 0; time < 20; time++) {
      const begun = Date.now();
      const { price } = await read();
      last[price as number] = begun;
    }
    await setImmediate();
  }
  const { lines } = await writer;
  assert.ok((last[WRITES] as number) > 0, "the last version was never seen");
  const done = JSON.parse(lines.at(-1) ?? "") as number[];
  const stale = done.flatMap((at, version) => {
    const seen = last[version] as number;
    return seen > 0 ? [Math.max(0, seen - at)] : [];
  });
  const { hits, nearHits } = client.stats();
  const longest = Math.max(...stale);
  const share = (100 * nearHits) / hits;
  const seen = `${stale.length} versions seen by ${hits} reads, ${share.toFixed(1)} % of them near`;
  const measured = `${longest} ms (99 % ${quantile(stale, 0.99)} ms; ${seen})`;
  verdict("the longest that a replaced value was served", `${BAR} ms`, measured, longest <= BAR && share > 50);
  await client.close();
  await redis.stop();
}
