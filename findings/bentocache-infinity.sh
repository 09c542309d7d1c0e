#!/usr/bin/env bash
# BentoCache 1.6.1: an entry with `ttl: Infinity` is over at once: `set` answers true and `get` right behind it finds
# nothing, so a loader runs every time. cache-manager, Cacheable and lru-cache keep such an entry for ever.
# Seen on Node 20.20: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund bentocache@1.6.1 cache-manager@7.2.9 cacheable@2.5.0 lru-cache@11.5.3

cat > see.mjs <<'CODE'
import { BentoCache, bentostore } from "bentocache";
import { memoryDriver } from "bentocache/drivers/memory";
import { createCache } from "cache-manager";
import { Cacheable } from "cacheable";
import { LRUCache } from "lru-cache";

const bento = new BentoCache({ default: "memory", stores: { memory: bentostore().useL1Layer(memoryDriver({})) } });
console.log("bentocache set:", await bento.set({ key: "k", value: "v", ttl: Number.POSITIVE_INFINITY }));
console.log("bentocache get:", await bento.get({ key: "k" }));
let runs = 0;
const factory = () => ++runs;
for (let i = 0; i < 3; i++) await bento.getOrSet({ key: "loaded", ttl: Number.POSITIVE_INFINITY, factory });
console.log("bentocache getOrSet, three times: loaded", runs);

const manager = createCache();
await manager.set("k", "v", Number.POSITIVE_INFINITY);
const cacheable = new Cacheable();
await cacheable.set("k", "v", Number.POSITIVE_INFINITY);
const lru = new LRUCache({ max: 5 }).set("k", "v", { ttl: Number.POSITIVE_INFINITY });
const kept = [await manager.get("k"), await cacheable.get("k"), lru.get("k")];
console.log("cache-manager, Cacheable, lru-cache:", kept.join(", "));
process.exit(0);
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
bentocache set: true
bentocache get: undefined
bentocache getOrSet, three times: loaded 3
cache-manager, Cacheable, lru-cache: v, v, v
SEEN
diff expected seen
