#!/usr/bin/env bash
# BentoCache 1.6.1 guards against a stampede only while the loader succeeds: of 50 callers at the same time, a loader
# that works runs once, and one that fails runs 50 times, one after another, so the last caller waits for all of them.
# cache-manager, lru-cache and p-memoize run it once and tell all.
# Seen on Node 20.20: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund bentocache@1.6.1 cache-manager@7.2.9 lru-cache@11.5.3 p-memoize@8.0.0

cat > see.mjs <<'CODE'
import { BentoCache, bentostore } from "bentocache";
import { memoryDriver } from "bentocache/drivers/memory";
import { createCache } from "cache-manager";
import { LRUCache } from "lru-cache";
import pMemoize from "p-memoize";

const bento = new BentoCache({ default: "memory", stores: { memory: bentostore().useL1Layer(memoryDriver({})) } });
const manager = createCache();
const lru = new LRUCache({ max: 5, fetchMethod: (_key, _old, { context }) => context() });
let load;
const memoized = pMemoize(() => load());
for (const [name, call] of Object.entries({
  "bentocache, loader works": (load) => bento.getOrSet({ key: "works", factory: load }),
  "bentocache, loader fails": (load) => bento.getOrSet({ key: "fails", factory: load }),
  "cache-manager, loader fails": (load) => manager.wrap("k", load),
  "lru-cache, loader fails": (load) => lru.fetch("k", { context: load }),
  "p-memoize, loader fails": () => memoized(),
})) {
  let runs = 0;
  let running = 0;
  let most = 0;
  load = async () => {
    runs++;
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 5));
    running--;
    if (name.endsWith("fails")) throw new Error("no database");
    return "v";
  };
  await Promise.allSettled(Array.from({ length: 50 }, () => call(load)));
  console.log(`${name}: ${runs} runs for 50 callers, at most ${most} at a time`);
}
process.exit(0);
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
bentocache, loader works: 1 runs for 50 callers, at most 1 at a time
bentocache, loader fails: 50 runs for 50 callers, at most 1 at a time
cache-manager, loader fails: 1 runs for 50 callers, at most 1 at a time
lru-cache, loader fails: 1 runs for 50 callers, at most 1 at a time
p-memoize, loader fails: 1 runs for 50 callers, at most 1 at a time
SEEN
diff expected seen
