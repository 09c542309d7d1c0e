// How long until the last of 200 near caches in 4 processes hears of a write, at 500 writes a second, and what do they
// cost the server?
//
// Each write has a key of its own. A near cache has heard of it when the driver has given it the key; the clock is the
// machine's. The server's processor is that of all writes, over their number.
import assert from "node:assert/strict";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { nodeRedis } from "../drivers/node_redis.ts";
import { createCacheClient, type Driver } from "../mod.ts";
import type { Product } from "../src/services/product.ts";
import { product } from "../test/fixtures/product.ts";
import { rawClient, startRedis } from "../test/helpers/redis_server.ts";
import { type Child, startChild } from "./helpers/child.ts";
import { heading, information, quantile, verdict } from "./helpers/compare.ts";
import { serverCpu } from "./helpers/server_cpu.ts";

const PROCESSES = 4;
const CLIENTS = [0, 40, 100, 200];
const RATE = 500;
const SECONDS = 6;
const WRITES = RATE * SECONDS;
const BAR = 50;
const now = (): number => performance.timeOrigin + performance.now();

const [, , url, clients] = process.argv;
if (url) await listen(url, Number(clients));
else await report();

/** The child: prints when the last of its near caches has heard of each key. */
async function listen(url: string, count: number): Promise<void> {
  const heard = new Array<number>(WRITES).fill(0);
  const last = new Array<number>(WRITES).fill(0);
  let ups = 0;
  let up = (): void => {};
  const listening = new Promise<void>((resolve) => {
    up = () => ++ups === count && resolve();
  });
  const noting = (driver: Driver): Driver => ({
    name: driver.name,
    capabilities: driver.capabilities,
    send: (database, commands, options) => driver.send(database, commands, options),
    close: () => driver.close(),
    track: (database, prefix, tracker) =>
      driver.track?.(database, prefix, {
        ...tracker,
        up(part) {
          tracker.up(part);
          if ("product:1".startsWith(prefix)) up();
        },
        invalidate(keys) {
          tracker.invalidate(keys);
          for (const key of keys ?? []) {
            const at = Number(key.slice(key.lastIndexOf(":") + 1));
            heard[at] = (heard[at] as number) + 1;
            last[at] = now();
          }
        },
      }) as never,
  });
  const all = Array.from({ length: count }, () =>
    createCacheClient({ env: {}, driver: noting(nodeRedis({ url })), near: true, timeout: 10_000 }),
  );
  for (const client of all) {
    const { products } = client.service("product");
    await products.getOrSet(WRITES + 1, () => product(1));
  }
  // Trackings do not keep a process running.
  const running = setInterval(() => {}, 60_000);
  await listening;
  clearInterval(running);
  console.log("ready");
  for await (const _ of process.stdin) break;
  console.log(JSON.stringify({ heard, last }));
  process.exit();
}

async function report(): Promise<void> {
  heading(
    `${RATE} writes a second of a product of 1.1 KB, near caches in ${PROCESSES} processes`,
    "The time from the reply to a write until the last near cache has heard of it, in ms.",
  );
  const costs: number[] = [];
  for (const count of CLIENTS) {
    const redis = await startRedis();
    const server = await rawClient(redis.port);
    const children: Child[] =
      count === 0
        ? []
        : Array.from({ length: PROCESSES }, () =>
            startChild(process.argv[1] as string, [redis.url, `${count / PROCESSES}`], 60_000),
          );
    await Promise.all(children.map((child) => child.said("ready")));
    const client = createCacheClient({ env: {}, url: redis.url, timeout: 10_000 });
    const { products } = client.service("product");
    const { images: _, ...small } = product(1);
    const done = new Array<number>(WRITES).fill(0);
    costs.push(
      await serverCpu(
        server,
        async () => {
          const begun = performance.now();
          const sent: Promise<unknown>[] = [];
          for (let id = 0; id < WRITES; ) {
            for (; id < ((performance.now() - begun) * RATE) / 1000 && id < WRITES; id++) {
              const at = id;
              sent.push(
                products.set(at, small as Product).then((ok) => {
                  assert.ok(ok);
                  done[at] = now();
                }),
              );
            }
            await sleep(1);
          }
          await Promise.all(sent);
        },
        WRITES,
      ),
    );
    await sleep(1000);
    if (count > 0) await judge(count, children, done);
    await client.close();
    server.close();
    await redis.stop();
  }
  const [without = 0, ...others] = costs;
  others.forEach((cost, i) => {
    const count = CLIENTS[i + 1] as number;
    const detail = `${cost.toFixed(1)} us with them, ${without.toFixed(1)} us without`;
    information(
      `server CPU of a write with ${count} near caches, over one without`,
      `${(cost / without).toFixed(1)} (${detail}, ${((cost - without) / count).toFixed(2)} us each)`,
    );
  });
}

/** Judges how long it took until the last near cache had heard of each write. */
async function judge(count: number, children: readonly Child[], done: readonly number[]): Promise<void> {
  const results = await Promise.all(
    children.map(async (child): Promise<{ heard: number[]; last: number[] }> => {
      child.type("end\n");
      return JSON.parse((await child.ended).lines.at(-1) as string);
    }),
  );
  const took = done.map((at, id) => {
    const all = results.reduce((sum, { heard }) => sum + (heard[id] as number), 0);
    assert.ok(all >= count, `${all} of ${count} near caches heard of write ${id}`);
    return Math.max(0, ...results.map(({ last }) => (last[id] as number) - at));
  });
  const p99 = quantile(took, 0.99);
  const [middle, longest] = [quantile(took, 0.5), Math.max(...took)].map((time) => `${time.toFixed(1)} ms`);
  const measured = `${p99.toFixed(1)} ms (p50 ${middle}, longest ${longest})`;
  const title = `until the last of ${count} near caches hears of a write, p99`;
  if (count === CLIENTS.at(-1)) verdict(title, `${BAR} ms`, measured, p99 <= BAR);
  else information(title, measured);
}
