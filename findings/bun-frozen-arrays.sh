#!/usr/bin/env bash
# Bun 1.4.5 (JavaScriptCore): Object.freeze of a list makes it several times larger, because its items move into a hash
# table. A frozen list of eight numbers takes 345 bytes, one that is not frozen 105. An object of eight numbers takes 89
# before and after. In Node 20.20 and Deno 2.9.6 (V8), freezing costs no memory at all.
# A cache that freezes its values, so that callers cannot change them, pays for each list in Bun.
# Seen: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund deno@2.9.6 bun@1.4.5

cat > see.mjs <<'CODE'
import process from "node:process";
const collect = () => (globalThis.Bun ? Bun.gc(true) : globalThis.gc());
const COUNT = 50_000;

/** Bytes that each of many takes, made and then changed by `end`. */
function bytesOf(make, end) {
  collect();
  const before = process.memoryUsage().heapUsed;
  const kept = [];
  for (let i = 0; i < COUNT; i++) kept.push(end(make(i)));
  collect();
  const bytes = (process.memoryUsage().heapUsed - before) / COUNT;
  if (kept.length !== COUNT) throw new Error("lost");
  return bytes;
}
const list = (i) => [i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7];
const object = (i) => ({ a: i, b: i + 1, c: i + 2, d: i + 3, e: i + 4, f: i + 5, g: i + 6, h: i + 7 });
const name = process.argv[2];
for (const [what, make] of [["list", list], ["object", object]]) {
  for (const end of [(value) => value, Object.freeze]) bytesOf(make, end);
  const [open, frozen] = [bytesOf(make, (value) => value), bytesOf(make, Object.freeze)];
  console.error(`  ${name}: a ${what} ${Math.round(open)} bytes, frozen ${Math.round(frozen)}`);
  const times = frozen / open;
  console.log(`${name}: a frozen ${what} is ${times > 2 ? "more than twice as large" : times < 1.5 ? "as large" : times}`);
}
CODE
{
  node_modules/.bin/bun see.mjs Bun
  node_modules/.bin/deno run -A --v8-flags=--expose-gc see.mjs Deno
  node --expose-gc see.mjs Node
} | tee seen

cat > expected <<'SEEN'
Bun: a frozen list is more than twice as large
Bun: a frozen object is as large
Deno: a frozen list is as large
Deno: a frozen object is as large
Node: a frozen list is as large
Node: a frozen object is as large
SEEN
diff expected seen
