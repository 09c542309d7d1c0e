#!/usr/bin/env bash
# Keyv 6.1.0 takes a TTL below 0, as it comes out of `expiresAt - Date.now()` for what is over already, for "keep for
# ever". lru-cache and cacheable treat such an entry as over.
# Seen on Node 20.20: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund keyv@6.1.0 cacheable@2.5.0

cat > see.mjs <<'CODE'
import { CacheableMemory } from "cacheable";
import Keyv from "keyv";

const over = Date.now() - 1000 - Date.now();
const keyv = new Keyv();
await keyv.set("token", "secret", over);
const cacheable = new CacheableMemory();
cacheable.set("token", "secret", over);
await new Promise((resolve) => setTimeout(resolve, 50));
console.log("keyv:", await keyv.get("token"));
console.log("cacheable:", cacheable.get("token"));
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
keyv: secret
cacheable: undefined
SEEN
diff expected seen
