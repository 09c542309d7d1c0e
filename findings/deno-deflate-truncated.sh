#!/usr/bin/env bash
# Deno 2.9.6: DecompressionStream takes a deflate stream that was cut short for complete, and gives a part of the text
# without an error. Node 20.20 and Bun 1.4.5 reject it; Deno itself rejects a gzip stream that was cut.
# Seen: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund deno@2.9.6 bun@1.4.5

cat > see.mjs <<'CODE'
const through = async (bytes, stream) =>
  new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
const whole = new TextEncoder().encode("a cache must not lose half a value ".repeat(40));
for (const format of ["gzip", "deflate", "deflate-raw"]) {
  const packed = await through(whole, new CompressionStream(format));
  try {
    const got = await through(packed.subarray(0, packed.length - 12), new DecompressionStream(format));
    console.log(`  ${format}: no error, ${got.length === whole.length ? "all" : "a part"} of the text`);
  } catch {
    console.log(`  ${format}: an error`);
  }
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
  gzip: an error
  deflate: no error, a part of the text
  deflate-raw: no error, a part of the text
Node
  gzip: an error
  deflate: an error
  deflate-raw: an error
Bun
  gzip: an error
  deflate: an error
  deflate-raw: an error
SEEN
diff expected seen
