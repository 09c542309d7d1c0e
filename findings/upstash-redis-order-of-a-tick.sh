#!/usr/bin/env bash
# @upstash/redis 1.39.0 sends the reads and the writes of one tick in two requests at the same time (auto-pipelining is
# on by default): a `get` right behind a `set` of the same key, not awaited, is in another request, which may be
# answered first.
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

const redis = new Redis({ url, token: "t", responseEncoding: false });
await Promise.all([redis.set("k", "new"), redis.get("k")]);
for (const commands of requests) console.log("request:", JSON.stringify(commands));
process.exit(0);
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
request: [["set","k","new"]]
request: [["get","k"]]
SEEN
diff expected seen
