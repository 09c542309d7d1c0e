#!/usr/bin/env bash
# rate-limiter-flexible 11.4.0 with `duration: 0.5` (seconds): in memory the count ends after half a second; in Redis
# it never ends. The half is rounded down to 0 there, and 0 means for ever: who used up the points is refused for good.
# Seen on Node 20.20 with Debian 12's redis-server 7.0.15: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
redis-server --version | grep -q 'v=7\.0\.15' || { echo 'needs redis-server 7.0.15, as Debian 12 has it'; exit 1; }
npm init -y >/dev/null
npm install --silent --no-audit --no-fund rate-limiter-flexible@11.4.0 ioredis@5.11.1
free='const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'
port=$(node -e "$free")
redis-server --port "$port" --bind 127.0.0.1 --save '' >server.log &
for _ in $(seq 50); do grep -q 'Ready to accept' server.log && break || sleep 0.1; done

cat > see.mjs <<'CODE'
import { Redis } from "ioredis";
import { RateLimiterMemory, RateLimiterRedis } from "rate-limiter-flexible";

const storeClient = new Redis(Number(process.argv[2]), "127.0.0.1");
for (const Limiter of [RateLimiterMemory, RateLimiterRedis]) {
  const limiter = new Limiter({ storeClient, points: 1, duration: 0.5 });
  const first = await limiter.consume("user");
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const later = await limiter.consume("user").then(() => "allowed", () => "refused");
  console.log(`${Limiter.name}: the count ${first.msBeforeNext > 0 ? "ends" : "never ends"}, after 1.5 s ${later}`);
}
console.log("TTL of the key:", await storeClient.pttl("rlflx:user"));
process.exit(0);
CODE
{
  node see.mjs "$port"
} | tee seen

cat > expected <<'SEEN'
RateLimiterMemory: the count ends, after 1.5 s allowed
RateLimiterRedis: the count never ends, after 1.5 s refused
TTL of the key: -1
SEEN
diff expected seen
