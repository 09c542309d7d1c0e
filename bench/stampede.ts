// How often does a loader run when several processes miss one key at the same time, with `lock`?
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { createCacheClient } from "../mod.ts";
import { product } from "../test/fixtures/product.ts";
import { runChild } from "./helpers/child.ts";
import { heading, verdict } from "./helpers/compare.ts";
import { openWires } from "./helpers/wires.ts";

const PROCESSES = 4;
const CALLERS = 500;
/** Milliseconds that the loader takes. */
const LOAD = 250;

const [, , options] = process.argv;
if (options) await ask(JSON.parse(options));
else await report();

/** The child: waits for the others, then calls all at once, and prints who loaded what each caller got. */
async function ask(options: object): Promise<void> {
  await using client = createCacheClient(options);
  const { products } = client.service("product");
  const cache = client.cache<number>();
  await cache.increment("ready");
  while (((await cache.get("ready")) ?? 0) < PROCESSES) await sleep(5);
  let loads = 0;
  const load = async () => {
    loads++;
    await sleep(LOAD);
    return { ...product(1), name: String(process.pid) };
  };
  const start = performance.now();
  const calls = Array.from({ length: CALLERS }, () => products.getOrSet(1, load, { ttl: "1m", lock: true }));
  const names = (await Promise.all(calls)).map(({ name }) => name);
  console.log(JSON.stringify({ loads, names, took: performance.now() - start }));
}

async function report(): Promise<void> {
  heading(
    `${PROCESSES} processes with ${CALLERS} callers each getOrSet one cold key, with lock: true`,
    `The loader takes ${LOAD} ms. Counted are its runs in all processes, and the callers who got its value.`,
  );
  const { wires, flush, close } = await openWires();
  for (const { name, options } of wires) {
    await flush();
    const children = await Promise.all(
      Array.from({ length: PROCESSES }, () => runChild(import.meta.filename, [JSON.stringify(options)], 60_000)),
    );
    const answers = children.map(({ lines, code }) => {
      if (code !== 0) throw new Error(`a process ended with ${code}`);
      return JSON.parse(lines.at(-1) ?? "") as { loads: number; names: string[]; took: number };
    });
    const loads = answers.reduce((sum, one) => sum + one.loads, 0);
    const values = answers.flatMap(({ names }) => names);
    const same = values.filter((value) => value === values[0]).length;
    const slowest = Math.max(...answers.map(({ took }) => took)).toFixed(0);
    verdict(`${name}: runs of the loader`, "1", `${loads}`, loads === 1);
    const all = PROCESSES * CALLERS;
    verdict(`${name}: callers with its value`, `${all}`, `${same}, the last after ${slowest} ms`, same === all);
  }
  await close();
}
