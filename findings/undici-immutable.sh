#!/usr/bin/env bash
# undici 7.30.2's cache interceptor keeps an answer with `Cache-Control: immutable` alone, which states no lifetime
# (RFC 8246: the word counts while the answer is fresh), and serves it without asking again; one with `public` alone it
# does not keep.
# Seen on Node 20.20: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund undici@7.30.2

cat > see.mjs <<'CODE'
import { createServer } from "node:http";
import { Agent, interceptors, request } from "undici";

let executed = 0;
const server = createServer((incoming, response) => {
  executed++;
  response.setHeader("cache-control", decodeURIComponent(incoming.url.slice(1))).end(`price ${executed}`);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const dispatcher = new Agent().compose(interceptors.cache());
for (const header of ["public", "immutable"]) {
  const told = [];
  for (let i = 0; i < 3; i++) {
    const url = `http://127.0.0.1:${server.address().port}/${encodeURIComponent(header)}`;
    told.push(await (await request(url, { dispatcher })).body.text());
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  console.log(`${header}: ${told.join(", ")}`);
}
process.exit(0);
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
public: price 1, price 2, price 3
immutable: price 4, price 4, price 4
SEEN
diff expected seen
