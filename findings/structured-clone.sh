#!/usr/bin/env bash
# structuredClone of what a cache may hold: a URL inside an object becomes {} in Node 20.20 and Deno 2.9.6, without the
# error that Bun 1.4.5 throws, and that Deno throws where the URL stands alone; an Error loses its cause in Bun; an
# AggregateError loses its errors in all three.
# Seen: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund deno@2.9.6 bun@1.4.5

cat > see.mjs <<'CODE'
const tell = (name, clone) => {
  try {
    console.log(`  ${name}:`, clone());
  } catch (error) {
    console.log(`  ${name}: throws ${error.name}`);
  }
};
const url = new URL("http://shop.example/");
tell("URL", () => JSON.stringify(structuredClone(url)));
tell("URL in an object", () => JSON.stringify(structuredClone({ url }).url));
tell("cause of an Error", () => structuredClone(new Error("x", { cause: "why" })).cause);
tell("errors of an AggregateError", () => structuredClone(new AggregateError([new Error("a")], "x")).errors);
CODE
{
  echo "Node"
  node see.mjs
  echo "Deno"
  node_modules/.bin/deno run see.mjs
  echo "Bun"
  node_modules/.bin/bun see.mjs
} | tee seen

cat > expected <<'SEEN'
Node
  URL: {}
  URL in an object: {}
  cause of an Error: why
  errors of an AggregateError: undefined
Deno
  URL: throws DataCloneError
  URL in an object: {}
  cause of an Error: why
  errors of an AggregateError: undefined
Bun
  URL: throws DataCloneError
  URL in an object: throws DataCloneError
  cause of an Error: undefined
  errors of an AggregateError: undefined
SEEN
diff expected seen
