/**
 * Shows what a shop's visitors notice when a master of its cluster dies: starts one of 3 masters and 3 replicas on
 * this machine, runs a Food Fast shop on it, kills a master, and prints for each half second what the visitors got.
 *
 * Run it by `bun examples/cluster/main.ts`, `deno run -A examples/cluster/main.ts`, or
 * `npm run build && node dist/examples/cluster/main.js`. It needs `redis-server` on the PATH, or in REDIS_SERVER.
 */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { createCacheClient } from "../../mod.ts";
import { type Food, readCatalogue } from "../catalogue.ts";
import { type Servers, startServers } from "./servers.ts";

/** Visitors at a time. Each looks at a product, and pauses. */
const VISITORS = 16;
const PAUSE_MS = 5;
/** The time that the shop's database takes for a product. */
const DATABASE_MS = 3;
const ROW_MS = 500;
/** The time before the kill, the most until all is well again, and the time after that. */
const BEFORE_MS = 1500;
const MOST_MS = 15_000;
const AFTER_MS = 1500;

/** The visits of half a second. */
interface Visits {
  readonly times: number[];
  fromDatabase: number;
  failed: number;
}

const say = (text: string): void => console.log(text);
const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`;
const cells = (texts: readonly string[]): string => texts.map((text) => text.padStart(12)).join("");

async function main(servers: Servers): Promise<void> {
  const { foods } = await readCatalogue();
  await using client = createCacheClient({
    env: {},
    url: `redis+cluster://${servers.addresses.join(",")}`,
    logger: false,
  });
  const { products, invalidateProduct } = client.service("product");
  const stored = await products.setMany(foods.map((food) => [food.id, food] as const));
  say(`A cluster of 3 masters and 3 replicas keeps ${stored} of ${foods.length} products\n`);

  const none = (): Visits => ({ times: [], fromDatabase: 0, failed: 0 });
  let now = none();
  let open = true;
  const visit = async (food: Food): Promise<void> => {
    const start = performance.now();
    try {
      await products.getOrSet(food.id, async () => {
        now.fromDatabase++;
        await sleep(DATABASE_MS);
        return food;
      });
    } catch {
      now.failed++;
    }
    now.times.push(performance.now() - start);
  };
  const visitors = Array.from({ length: VISITORS }, async () => {
    for (; open; await sleep(PAUSE_MS)) await visit(foods[Math.floor(Math.random() * foods.length)] as Food);
  });

  const opened = performance.now();
  let failed = 0;
  const print = (): void => {
    const { times, ...last } = now;
    now = none();
    failed += last.failed;
    times.sort((a, b) => a - b);
    const [p50 = 0, slowest = 0] = [times[times.length >> 1], times.at(-1)];
    const share = 100 * (1 - last.fromDatabase / Math.max(1, times.length));
    const row = [`${times.length}`, `${share.toFixed(1)} %`, `${last.failed}`, `${p50.toFixed(1)} ms`];
    say(cells([seconds(performance.now() - opened), ...row, `${slowest.toFixed(0)} ms`]));
  };
  say(cells(["time", "visits", "from cache", "failed", "p50", "slowest"]));
  const rows = setInterval(print, ROW_MS);
  await sleep(BEFORE_MS);

  const [dead, , , replica] = servers.addresses as [string, string, string, string];
  servers.kill(dead);
  const killed = performance.now();
  const since = (): string => `${seconds(performance.now() - killed)} after the kill`;
  say(`            kill -9 of ${dead}, which has a third of the products`);
  const { id, categoryId } = foods[0] as Food;
  const changePrice = (): Promise<boolean> => invalidateProduct(id, { categoryId });
  const told = await changePrice();
  say(`            a price changes: the invalidation ${told ? "is done" : "has not reached all masters"}, ${since()}`);
  const within = async (check: () => Promise<boolean>): Promise<void> => {
    while (!(await check()) && performance.now() - killed < MOST_MS) await sleep(50);
  };
  await within(async () => String(await servers.ask(replica, "ROLE")).startsWith("master"));
  say(`            ${replica}, its replica, has become a master, ${since()}`);
  let done = told;
  await within(async () => {
    done ||= await changePrice();
    return done;
  });
  say(`            a price changes: the invalidation ${done ? "is done" : "has not reached all masters"}, ${since()}`);
  await sleep(AFTER_MS);

  clearInterval(rows);
  open = false;
  await Promise.all(visitors);
  failed += now.failed;
  say(`\n${failed === 0 ? "No visitor saw an error" : `${failed} visitors saw an error`}`);
}

const servers = await startServers();
try {
  await main(servers);
} finally {
  await servers.stop();
}
process.exit();
