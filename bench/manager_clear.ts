// Does clear delete a million keys as fast as redis-cli --scan piped to xargs redis-cli unlink? Does another client's
// get become slower in that time?
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { createCacheClient } from "../mod.ts";
import { clear, finish } from "../src/manager/mod.ts";
import { type RedisServer, rawCommand, startRedis } from "../test/helpers/redis_server.ts";
import { heading, quantile, verdict } from "./helpers/compare.ts";

const KEYS = Number(process.env.BENCH_KEYS ?? 1_000_000);
const ROUNDS = 3;
/** Milliseconds that the other client is watched while nothing else goes on. */
const IDLE = 3000;

const [, , role, url = ""] = process.argv;
if (role === "other") await beOther();
else await report();

/** Runs the child: one get after the other, a moment apart. Prints the p99 in ms for each line of its input. */
async function beOther(): Promise<void> {
  await using client = createCacheClient({ env: {}, url, timeout: 5000 });
  const cache = client.cache({ database: 9 });
  await cache.set("key", { id: 1, name: "Pho" }, { ttl: "forever" });
  let took: number[] = [];
  let ended = false;
  createInterface({ input: process.stdin }).on("line", (line) => {
    if (line !== "start")
      console.log(JSON.stringify({ p50: quantile(took, 0.5), p99: quantile(took, 0.99), count: took.length }));
    took = [];
    if (line === "end") ended = true;
  });
  console.log("ready");
  while (!ended) {
    const start = performance.now();
    if ((await cache.get("key")) === undefined) throw new Error("the other client's key is gone");
    took.push(performance.now() - start);
    await sleep(1);
  }
  process.exit(0);
}

async function report(): Promise<void> {
  heading(
    `clear of ${KEYS} keys over TCP, against redis-cli --scan | xargs redis-cli unlink`,
    "The ratio is their time over ours in the same round: above 1 we are faster. Then p99 of another process's get, " +
      "a millisecond apart, while keys are cleared, over that of an idle server.",
  );
  const redis = await startRedis({ args: ["--enable-debug-command", "yes"] });
  const client = createCacheClient({ env: {}, url: redis.url });
  const ratios: number[] = [];
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const side of round % 2 === 0 ? [0, 1] : [1, 0]) {
      await fill(redis);
      const start = performance.now();
      if (side === 0) await clearAll(client);
      else await shell(redis);
      (side === 0 ? ours : theirs).push(performance.now() - start);
      if ((await rawCommand(redis.port, ["DBSIZE"])) !== 0) throw new Error("keys are left");
    }
    ratios.push((theirs.at(-1) as number) / (ours.at(-1) as number));
  }
  const ratio = quantile(ratios, 0.5);
  const seconds = (times: number[]): string => `${(quantile(times, 0.5) / 1000).toFixed(2)} s`;
  verdict(
    "manager: clear over redis-cli",
    "1.0",
    `${ratio.toFixed(2)} (ours ${seconds(ours)}, redis-cli ${seconds(theirs)})`,
    ratio >= 1,
  );

  const how = process.versions.deno ? ["run", "-A", "--no-check"] : [];
  const child = spawn(process.execPath, [...how, import.meta.filename, "other", redis.url], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (line: string): Promise<{ p50: number; p99: number; count: number }> => {
    child.stdin.write(`${line}\n`);
    return JSON.parse((await lines.next()).value);
  };
  await lines.next();
  const shares: number[] = [];
  const texts: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await fill(redis);
    await sleep(500);
    child.stdin.write("start\n");
    await sleep(IDLE);
    const idle = await ask("idle");
    await clearAll(client);
    const busy = await ask("busy");
    shares.push(busy.p99 / idle.p99);
    texts.push(`${idle.p99.toFixed(2)} -> ${busy.p99.toFixed(2)} ms of ${busy.count}`);
  }
  child.stdin.write("end\n");
  await once(child, "exit");
  const share = quantile(shares, 0.5);
  verdict(
    "manager: p99 of another get while clearing, over idle",
    "3.0 or less",
    `${share.toFixed(2)} (${texts.join("; ")})`,
    share <= 3,
  );
  await client.close();
  await redis.stop();
}

async function fill(redis: RedisServer): Promise<void> {
  await rawCommand(redis.port, ["DEBUG", "POPULATE", KEYS, "product", 100]);
}

async function clearAll(client: ReturnType<typeof createCacheClient>): Promise<void> {
  const { keys } = await finish(clear(client, { database: 0 }));
  if (keys !== KEYS) throw new Error(`${keys} keys were cleared`);
}

async function shell({ port }: RedisServer): Promise<void> {
  const cli = `redis-cli -p ${port}`;
  const child = spawn("sh", ["-c", `${cli} --scan | xargs ${cli} unlink > /dev/null`], { stdio: "inherit" });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`redis-cli ended with ${code}`);
}
