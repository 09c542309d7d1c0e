#!/usr/bin/env bash
# @upstash/ratelimit 2.2.0: with a fixed or a sliding window, `resetUsedTokens("user")` also gives everything back to
# "user:7" and to every other name that begins with "user:", as it deletes by a pattern. With a token bucket it gives
# back to "user" only.
# Seen on Node 20.20 with Debian 12's redis-server 7.0.15: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
redis-server --version | grep -q 'v=7\.0\.15' || { echo 'needs redis-server 7.0.15, as Debian 12 has it'; exit 1; }
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @upstash/redis@1.39.0 @upstash/ratelimit@2.2.0 redis@6.3.1
free='const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'
port=$(node -e "$free")
redis-server --port "$port" --bind 127.0.0.1 --save '' >server.log &
for _ in $(seq 50); do grep -q 'Ready to accept' server.log && break || sleep 0.1; done

cat > see.mjs <<'CODE'
import { createServer } from "node:http";
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";
import { createClient } from "redis";

const server = await createClient({ url: `redis://127.0.0.1:${process.argv[2]}`, RESP: 2 }).connect();
// Redis does not know the flag in the scripts' first line.
const asText = (part) =>
  typeof part === "string" ? part.replace("#!lua flags=allow-key-locking", "").trimStart() : JSON.stringify(part);
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
for (const [name, limiter] of Object.entries({
  fixedWindow: Ratelimit.fixedWindow(5, "1000 d"),
  slidingWindow: Ratelimit.slidingWindow(5, "1000 d"),
  tokenBucket: Ratelimit.tokenBucket(5, "1000 d", 5),
})) {
  const ratelimit = new Ratelimit({ redis, limiter, prefix: name, ephemeralCache: false });
  await ratelimit.limit("user", { rate: 3 });
  await ratelimit.limit("user:7", { rate: 3 });
  await ratelimit.resetUsedTokens("user");
  const left = async (identifier) => `${identifier} has ${(await ratelimit.getRemaining(identifier)).remaining}`;
  console.log(`${name}: ${await left("user")}, ${await left("user:7")}`);
}
process.exit(0);
CODE
{
  node see.mjs "$port"
} | tee seen

cat > expected <<'SEEN'
fixedWindow: user has 5, user:7 has 5
slidingWindow: user has 5, user:7 has 5
tokenBucket: user has 5, user:7 has 2
SEEN
diff expected seen
