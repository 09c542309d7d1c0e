#!/usr/bin/env bash
# Node 20.20: fetch takes a compressed answer that was cut short for complete: half a gzip, deflate or brotli body,
# with a Content-Length that is right for it, becomes a part of the text without an error. Bun 1.4.5 rejects all three.
# Seen: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund bun@1.4.5

cat > see.mjs <<'CODE'
import { createServer } from "node:http";
import process from "node:process";
import zlib from "node:zlib";

const whole = Array.from({ length: 5000 }, (_, i) => `line ${i * i}\n`).join("");
const pack = { gzip: zlib.gzipSync, deflate: zlib.deflateSync, br: zlib.brotliCompressSync };
const server = createServer((request, response) => {
  const encoding = request.url.slice(1);
  const packed = pack[encoding](whole);
  response.setHeader("content-encoding", encoding).end(packed.subarray(0, packed.length / 2));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
for (const encoding of Object.keys(pack)) {
  const told = await fetch(`http://127.0.0.1:${server.address().port}/${encoding}`)
    .then((response) => response.text())
    .then((text) => `no error, ${text === whole ? "all" : "a part"} of the text`)
    .catch(() => "an error");
  console.log(`  ${encoding}: ${told}`);
}
process.exit(0);
CODE
{
  echo "Node"
  node see.mjs
  echo "Bun"
  node_modules/.bin/bun see.mjs 2>/dev/null
} | tee seen

cat > expected <<'SEEN'
Node
  gzip: no error, a part of the text
  deflate: no error, a part of the text
  br: no error, a part of the text
Bun
  gzip: an error
  deflate: an error
  br: an error
SEEN
diff expected seen
