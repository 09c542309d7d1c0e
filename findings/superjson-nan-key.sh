#!/usr/bin/env bash
# superjson 2.2.6 loses an entry of a Map whose key is NaN when NaN stands anywhere else in the value: it takes all NaN
# for one object that is met again, puts it into the Map once more, and deletes the old key, which is the same.
# Seen on Node 20.20: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund superjson@2.2.6

cat > see.mjs <<'CODE'
import superjson from "superjson";

const again = (value) => superjson.parse(superjson.stringify(value));
const counts = new Map([[Number.NaN, "unknown"], [1, "one"]]);
console.log("a Map with the key NaN:", again(counts));
console.log("and NaN next to it:", again({ counts, average: Number.NaN }));
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
a Map with the key NaN: Map(2) { NaN => 'unknown', 1 => 'one' }
and NaN next to it: { counts: Map(1) { 1 => 'one' }, average: NaN }
SEEN
diff expected seen
