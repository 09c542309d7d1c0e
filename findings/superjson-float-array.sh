#!/usr/bin/env bash
# superjson 2.2.6 keeps NaN, the infinities and -0 where they stand alone, but inside a float array all of them come
# back as 0, without an error; an invalid Date comes back as null. Seen on Node 20.20: the lines below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund superjson@2.2.6
cat > see.mjs <<'EOF_CODE'
import superjson from "superjson";

const again = (value) => superjson.parse(superjson.stringify(value));
console.log("alone:", again([Number.NaN, Number.POSITIVE_INFINITY, -0]));
console.log("in a float array:", again(new Float64Array([1.5, Number.NaN, Number.POSITIVE_INFINITY, -0])));
console.log("invalid Date:", again({ at: new Date(Number.NaN) }));
EOF_CODE
cat > expected <<'EOF_SEEN'
alone: [ NaN, Infinity, -0 ]
in a float array: Float64Array(4) [ 1.5, 0, 0, 0 ]
invalid Date: { at: null }
EOF_SEEN
node see.mjs | tee seen
diff expected seen
