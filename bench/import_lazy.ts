// Does `import "./mod.ts"` load node-redis? Asked of the runtime's own list of loaded modules, in a process of its own.
import { createRequire } from "node:module";
import process from "node:process";
import { startRedis } from "../test/helpers/redis_server.ts";
import { runChild } from "./helpers/child.ts";
import { heading, verdict, version } from "./helpers/compare.ts";

const [, , url] = process.argv;
if (url) await load(url);
else await report();

/** The child: how many files of node-redis are loaded after each step. */
async function load(url: string): Promise<void> {
  const { cache } = createRequire(import.meta.url);
  const count = (): number => Object.keys(cache).filter((path) => /node_modules[\\/]@?redis[\\/]/.test(path)).length;
  const steps = [count()];
  const { createCacheClient } = await import("../mod.ts");
  steps.push(count());
  const inMemory = createCacheClient({ env: {}, driver: "memory" });
  await inMemory.cache().set("key", 1);
  const overTcp = createCacheClient({ env: {}, url, timeout: 5000 });
  steps.push(count());
  const written = await overTcp.cache().set("key", 1);
  steps.push(count());
  await overTcp.close();
  console.log(JSON.stringify({ steps, written }));
}

async function report(): Promise<void> {
  heading(
    `import "./mod.ts" and ${version("redis")}`,
    "Counted are the files of node-redis that are loaded. The last line shows that the count can see them.",
  );
  const redis = await startRedis();
  const { lines, code } = await runChild(import.meta.filename, [redis.url]);
  await redis.stop();
  if (code !== 0) throw new Error(`the process ended with ${code}`);
  const { steps, written } = JSON.parse(lines.at(-1) ?? "");
  const [before, imported, made, used] = steps as number[];
  verdict("files after the import", "0", String(imported), imported === 0 && before === 0);
  verdict("files after a client in memory was used, and one over TCP made", "0", String(made), made === 0);
  verdict("files after a client over TCP was used", "1 or more", String(used), written && (used as number) > 0);
}
