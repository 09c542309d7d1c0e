#!/usr/bin/env bash
# @upstash/redis 1.39.0: a command that JSON has no form for, here a SET of a BigInt, rejects as it should; but then
# the next command rejects, too, though it was sent, carried out and answered. It may be another caller's: commands of
# one tick share a request.
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

const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  console.log("  executed:", body);
  const answers = JSON.parse(body).map(() => ({ result: "OK" }));
  response.setHeader("content-type", "application/json").end(JSON.stringify(answers));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const redis = new Redis({ url: `http://127.0.0.1:${server.address().port}`, token: "t", responseEncoding: false });
const tell = async (name, promise) =>
  console.log(`${name}: ${await promise.catch((error) => `rejected, ${error.message}`)}`);

await tell("set of a BigInt", redis.set("a", 1n));
await tell("set after it", redis.set("b", "tea"));
await tell("set after that", redis.set("c", "tea"));
process.exit(0);
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
set of a BigInt: rejected, Do not know how to serialize a BigInt
  executed: [["set","b","tea"]]
set after it: rejected, Cannot read properties of undefined (reading 'error')
  executed: [["set","c","tea"]]
set after that: OK
SEEN
diff expected seen
