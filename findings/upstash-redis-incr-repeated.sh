#!/usr/bin/env bash
# @upstash/redis 1.39.0 sends an INCR six times in 4 s when connections end before the answer, and two times with
# `retry: false`; each may have been carried out.
# Seen on Node 20.20: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @upstash/redis@1.39.0

cat > see.mjs <<'CODE'
import { createServer } from "node:http";
import { Redis } from "@upstash/redis";

const requests = [];
let lost = false;
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  requests.push(JSON.parse(body));
  if (lost) request.socket.destroy();
  else response.setHeader("content-type", "application/json").end(JSON.stringify(requests.at(-1).map(() => ({ result: null }))));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${server.address().port}`;

lost = true;
for (const options of [{}, { retry: false }, { retry: { retries: 0 } }]) {
  requests.length = 0;
  await new Redis({ url, token: "t", ...options }).incr("counter").catch(() => {});
  console.log(JSON.stringify(options), "requests for one incr:", requests.length);
}
process.exit(0);
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
{} requests for one incr: 6
{"retry":false} requests for one incr: 2
{"retry":{"retries":0}} requests for one incr: 1
SEEN
diff expected seen
