#!/usr/bin/env bash
# @upstash/lock 0.2.1: a second `acquire` on a Lock that is held by itself answers false, as it may; but it also
# forgets the lock it has: `release` answers false from then on, `getStatus` says FREE, and the key stays, shut for
# everyone, until the lease ends.
# Seen on Node 20.20 with Debian 12's redis-server 7.0.15: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
redis-server --version | grep -q 'v=7\.0\.15' || { echo 'needs redis-server 7.0.15, as Debian 12 has it'; exit 1; }
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @upstash/redis@1.39.0 @upstash/lock@0.2.1 redis@6.3.1
free='const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'
port=$(node -e "$free")
redis-server --port "$port" --bind 127.0.0.1 --save '' >server.log &
for _ in $(seq 50); do grep -q 'Ready to accept' server.log && break || sleep 0.1; done

cat > see.mjs <<'CODE'
import { createServer } from "node:http";
import { Lock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import { createClient } from "redis";

const server = await createClient({ url: `redis://127.0.0.1:${process.argv[2]}`, RESP: 2 }).connect();
const asText = (part) => (typeof part === "string" ? part : JSON.stringify(part));
const bridge = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const run = (command) =>
    server.sendCommand(command.map(asText)).then((result) => ({ result }), (error) => ({ error: error.message }));
  const sent = JSON.parse(body);
  const answer = request.url === "/pipeline" ? await Promise.all(sent.map(run)) : await run(sent);
  response.statusCode = answer.error ? 400 : 200;
  response.setHeader("content-type", "application/json").end(JSON.stringify(answer));
});
await new Promise((resolve) => bridge.listen(0, "127.0.0.1", resolve));
const redis = new Redis({ url: `http://127.0.0.1:${bridge.address().port}`, token: "t", responseEncoding: false });
const lock = new Lock({ id: "report", lease: 60_000, retry: { attempts: 1, delay: 1 }, redis });
console.log("acquire:", await lock.acquire(), await lock.getStatus());
console.log("acquire again:", await lock.acquire(), await lock.getStatus());
console.log("release:", await lock.release());
console.log("key exists:", await server.exists("report"));
process.exit(0);
CODE
{
  node see.mjs "$port"
} | tee seen

cat > expected <<'SEEN'
acquire: true ACQUIRED
acquire again: false FREE
release: false
key exists: 1
SEEN
diff expected seen
