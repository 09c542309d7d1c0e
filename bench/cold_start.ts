// How long does a process take to its first value? Each program runs in a process of its own, with the npm package
// installed as an application has it. An empty process is subtracted. Where Bun keeps no compiled files, as in a
// container that has just started: BUN_RUNTIME_TRANSPILER_CACHE_PATH=0.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { installPackage } from "../test/helpers/package.ts";
import { startRedis } from "../test/helpers/redis_server.ts";
import { runChild } from "./helpers/child.ts";
import { atMost, heading, version } from "./helpers/compare.ts";

const ROUNDS = Number(process.env.ROUNDS ?? 21);
const redis = await startRedis();

/** Ends the process at once; in the first round once Deno has saved what it compiled, as a server lets it. */
const END = "if (process.argv[2]) setTimeout(process.exit, 1000, 0); else process.exit();";

/** One set and one get of a product, through a client of ours. */
const firstValue = (options: string): string => `
  import { createCacheClient } from "@foodfast/larder";
  const client = createCacheClient({ env: {}, ${options} });
  const { products } = client.service("product");
  await products.set(1, { id: 1, name: "Pho" });
  if ((await products.get(1))?.name !== "Pho") throw new Error("no value");
  ${END}`;

const PROGRAMS = {
  empty: END,
  "@upstash/redis": `import { Redis } from "@upstash/redis"; if (!Redis) throw new Error("no class"); ${END}`,
  "larder, embedded": firstValue('driver: "memory"'),
  ioredis: `
    import { Redis } from "ioredis";
    const client = new Redis(${JSON.stringify(redis.url)});
    await client.set("peer:1", JSON.stringify({ id: 1, name: "Pho" }), "PX", 3600000);
    if (JSON.parse(await client.get("peer:1"))?.name !== "Pho") throw new Error("no value");
    ${END}`,
  "larder, TCP": firstValue(`url: ${JSON.stringify(redis.url)}, timeout: "20s"`),
};
type Program = keyof typeof PROGRAMS;

heading(
  `the first value of a process: ${version("@upstash/redis")} imported, ${version("ioredis")} connected`,
  `Medians of ${ROUNDS} alternating rounds over an empty process, in milliseconds; a ratio is ours over the peer's.`,
);
const folder = mkdtempSync(join(tmpdir(), "larder-cold-"));
await installPackage(folder, ["@upstash/redis", "ioredis"]);
const names = Object.keys(PROGRAMS) as Program[];
const files = names.map((name, index) => {
  const file = join(folder, `program${index}.mjs`);
  writeFileSync(file, `import process from "node:process";${PROGRAMS[name]}`);
  return file;
});
const spent = names.map((): number[] => []);
for (let round = -1; round < ROUNDS; round++) {
  for (const at of round % 2 === 0 ? names.keys() : [...names.keys()].reverse()) {
    const { ended, code } = await runChild(files[at] as string, round < 0 ? ["linger"] : []);
    if (code !== 0 || ended === undefined) throw new Error(`${names[at]} ended with ${code}`);
    // The first round fills the caches of the system and of the runtime.
    if (round >= 0) spent[at]?.push(ended);
  }
}
rmSync(folder, { recursive: true });
await redis.stop();

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
const overEmpty = (name: Program): number =>
  median((spent[names.indexOf(name)] as number[]).map((ms, round) => ms - (spent[0]?.[round] as number)));
const show = (ours: Program, peer: Program, most: number): void => {
  const times = `${overEmpty(ours).toFixed(1)} ms, ${peer} ${overEmpty(peer).toFixed(1)} ms`;
  atMost(`${ours}, over ${peer}`, most, overEmpty(ours) / overEmpty(peer), times, version(peer));
};
console.log(`  an empty process: ${median(spent[0] as number[]).toFixed(1)} ms`);
show("larder, embedded", "@upstash/redis", 1.5);
show("larder, TCP", "ioredis", 1);
