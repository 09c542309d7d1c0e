#!/usr/bin/env bash
# unstorage 1.17.6 ends a key at its first question mark, so all keys with one prefix and different queries, as URLs
# have them, are one entry.
# Seen on Node 20.20: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund unstorage@1.17.6

cat > see.mjs <<'CODE'
import { createStorage } from "unstorage";

const storage = createStorage();
await storage.setItem("search?q=pho", "soups");
await storage.setItem("search?q=bun", "noodles");
console.log("search?q=pho:", await storage.getItem("search?q=pho"));
console.log("keys:", await storage.getKeys());
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
search?q=pho: noodles
keys: [ 'search' ]
SEEN
diff expected seen
