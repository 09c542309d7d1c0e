#!/usr/bin/env bash
# Deno 2.9.6: fetch sends a POST a second time, on a new connection, when a kept HTTP/1.1 connection ends before the
# answer came. The server may have carried it out, as this one does: its count moves twice for one call. Node 20.20 and
# Bun 1.4.5 reject instead.
# Seen: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund deno@2.9.6 bun@1.4.5

cat > see.mjs <<'CODE'
import { createServer } from "node:net";
import process from "node:process";

// Answers the first request of a connection. The second is counted too, then the connection ends without an answer.
let executed = 0;
const server = createServer((socket) => {
  let requests = 0;
  socket.on("error", () => {});
  socket.on("data", () => {
    executed++;
    requests++;
    if (requests === 1) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    else socket.destroy();
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${server.address().port}/`;
const post = () => fetch(url, { method: "POST", body: "count" }).then((response) => response.text(), () => "an error");
console.log(`  first POST: ${await post()}, executed ${executed}`);
await new Promise((resolve) => setTimeout(resolve, 100));
console.log(`  second POST: ${await post()}, executed ${executed}`);
process.exit(0);
CODE
{
  echo "Deno"
  node_modules/.bin/deno run -A see.mjs
  echo "Node"
  node see.mjs
  echo "Bun"
  node_modules/.bin/bun see.mjs
} | tee seen

cat > expected <<'SEEN'
Deno
  first POST: ok, executed 1
  second POST: ok, executed 3
Node
  first POST: ok, executed 1
  second POST: an error, executed 2
Bun
  first POST: ok, executed 1
  second POST: an error, executed 2
SEEN
diff expected seen
