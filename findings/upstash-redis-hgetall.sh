#!/usr/bin/env bash
# @upstash/redis 1.39.0 gives one stored field two ways: `hget` the text "1e3", as it was set, and `hgetall` the number
# 1000, so that an id or a code changes with the command that reads it. "1.0" becomes 1 likewise, and "007" stays.
# Seen on Node 20.20, by a server of a few lines that answers what Redis answers: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @upstash/redis@1.39.0

cat > see.mjs <<'CODE'
import { createServer } from "node:http";
import { Redis } from "@upstash/redis";

const hash = { article: "1e3", version: "1.0", agent: "007" };
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const sent = JSON.parse(body);
  const answer = ([name, , field]) => ({ result: name === "hgetall" ? Object.entries(hash).flat() : hash[field] });
  const answers = request.url === "/pipeline" ? sent.map(answer) : answer(sent);
  response.setHeader("content-type", "application/json").end(JSON.stringify(answers));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const redis = new Redis({ url: `http://127.0.0.1:${server.address().port}`, token: "t", responseEncoding: false });

for (const field of Object.keys(hash)) console.log(`hget ${field}:`, await redis.hget("h", field));
console.log("hgetall:", await redis.hgetall("h"));
process.exit(0);
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
hget article: 1e3
hget version: 1.0
hget agent: 007
hgetall: { article: 1000, version: 1, agent: '007' }
SEEN
diff expected seen
