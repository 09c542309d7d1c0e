// How many `checkRateLimit` a second do 100 callers get, against rate-limiter-flexible on the same Redis, and what does
// one cost the server?
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import type { RateLimiterRedis as Limiter } from "rate-limiter-flexible";
import { createClient } from "redis";
import { createCacheClient } from "../mod.ts";
import { rawClient, startRedis } from "../test/helpers/redis_server.ts";
import { compare, ratioHeading, version } from "./helpers/compare.ts";
import { serverCpu } from "./helpers/server_cpu.ts";

// On Node its ES module cannot be imported by name.
const { RateLimiterRedis } = createRequire(import.meta.url)("rate-limiter-flexible") as {
  RateLimiterRedis: typeof Limiter;
};

const CALLERS = 100;
/** The rounds of all callers in which the server's processor is measured. */
const TIMES = 100;
const BAR = 1.2;
const REFUSED_BAR = 20;
const ALGORITHMS = ["fixed", "sliding", "token-bucket"] as const;
const peer = version("rate-limiter-flexible");
ratioHeading(`${CALLERS} callers of checkRateLimit, each a key of its own, against ${peer} over ${version("redis")}`);

const redis = await startRedis();
const client = createCacheClient({ env: {}, url: redis.url, timeout: 10_000 });
const { checkRateLimit } = client.service("auth");
const storeClient = createClient({ url: redis.url });
await storeClient.connect();
const raw = await rawClient(redis.port);

type Check = (key: string) => Promise<unknown>;

/** Lets 100 callers check, each after the other. */
const all = (check: Check) => async (times: number) => {
  for (let time = 0; time < times; time++) {
    await Promise.all(Array.from({ length: CALLERS }, (_, i) => check(`user-${i}`)));
  }
};

function flexible(keyPrefix: string, points: number, options = {}): Check {
  const limiter = new RateLimiterRedis({ storeClient, keyPrefix, points, duration: 3600, ...options });
  return (key) => limiter.consume(key).catch((refused) => refused);
}

async function report(title: string, ours: Check, theirs: Check, bar?: number): Promise<void> {
  await compare({
    title,
    unit: "check",
    units: CALLERS,
    ours: all(ours),
    theirs: all(theirs),
    peer,
    ...(bar && { bar }),
  });
  const own = await serverCpu(raw, all(ours), TIMES, CALLERS);
  const other = await serverCpu(raw, all(theirs), TIMES, CALLERS);
  console.log(`    the server's processor: ours ${own.toFixed(2)} us/check, ${peer} ${other.toFixed(2)} us/check`);
}

const passing = flexible("passing", 1_000_000);
for (const algorithm of ALGORITHMS) {
  const limit = { limit: 1_000_000, window: "1h", algorithm } as const;
  await report(`passing, ${algorithm}`, (key) => checkRateLimit(algorithm + key, limit), passing, BAR);
}
const refusing = flexible("refusing", 1);
for (const algorithm of ALGORITHMS) {
  const limit = { limit: 1, window: "1d", algorithm } as const;
  const check: Check = (key) => checkRateLimit(algorithm + key, limit);
  await all(check)(2);
  assert.equal((await checkRateLimit(`${algorithm}user-1`, limit)).allowed, false);
  await report(`refused, ${algorithm}`, check, refusing, REFUSED_BAR);
  if (algorithm !== "fixed") continue;
  const blocking = flexible("blocking", 1, { inMemoryBlockOnConsumed: 1 });
  await report("refused, fixed, against its inMemoryBlockOnConsumed", check, blocking);
}
raw.close();
await client.close();
await storeClient.disconnect();
await redis.stop();
