#!/usr/bin/env bash
# Deno 2.9.6 (V8 15.0.245.2): JSON.parse gives a key of the text that was parsed before it. After {"a":1,"\\\\":1},
# whose second key is two backslashes, the second key of {"a":1,"\\.":1}, a backslash and a dot, comes back as two
# backslashes too: no error, another key. It takes a key whose escaped text starts like the key that was expected there.
# superjson escapes dots in its paths with a backslash, so it reads such documents wrong in turn. Node 20.20 and Bun
# 1.4.5 are right.
# Seen: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund deno@2.9.6 bun@1.4.5 superjson@2.2.6

cat > see.mjs <<'CODE'
import superjson from "superjson";

const [two, dot] = [String.raw`{"a":1,"\\\\":1}`, String.raw`{"a":1,"\\.":1}`];
console.log("  alone:", JSON.stringify(JSON.parse(dot)));
JSON.parse(two);
console.log("  after the other:", JSON.stringify(JSON.parse(dot)));

superjson.parse(superjson.stringify({ b: new Set(), "\\": new Set([1]) }));
try {
  const back = superjson.parse(superjson.stringify({ b: new Set(), ".": new Set([1]) }));
  console.log("  superjson:", Object.keys(back).join(" "), back["."] instanceof Set ? "a Set" : "no Set");
} catch (error) {
  console.log("  superjson:", error.name);
}
CODE
{
  echo "Deno"
  node_modules/.bin/deno run see.mjs
  echo "Node"
  node see.mjs
  echo "Bun"
  node_modules/.bin/bun see.mjs
} | tee seen

cat > expected <<'SEEN'
Deno
  alone: {"a":1,"\\.":1}
  after the other: {"a":1,"\\\\":1}
  superjson: b . \ no Set
Node
  alone: {"a":1,"\\.":1}
  after the other: {"a":1,"\\.":1}
  superjson: b . a Set
Bun
  alone: {"a":1,"\\.":1}
  after the other: {"a":1,"\\.":1}
  superjson: b . a Set
SEEN
diff expected seen
