#!/usr/bin/env bash
# A record with a field that is undefined, written to a hash: ioredis 5.11.1 stores an empty text, @upstash/redis
# 1.39.0 the word "null", Bun 1.4.5 the word "undefined", though its `set` refuses undefined, and node-redis 6.3.1
# refuses it.
# Seen on Node 20.20 with Debian 12's redis-server 7.0.15: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
redis-server --version | grep -q 'v=7\.0\.15' || { echo 'needs redis-server 7.0.15, as Debian 12 has it'; exit 1; }
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @upstash/redis@1.39.0 ioredis@5.11.1 redis@6.3.1 bun@1.4.5
free='const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'
port=$(node -e "$free")
redis-server --port "$port" --bind 127.0.0.1 --save '' >server.log &
for _ in $(seq 50); do grep -q 'Ready to accept' server.log && break || sleep 0.1; done

cat > see.mjs <<'CODE'
import { createServer } from "node:http";

const port = process.argv[2];
const record = { name: "Lan", city: undefined };
const tell = (name, value) => console.log(`${name}: ${JSON.stringify(value)}`);
if (globalThis.Bun) {
  const client = new Bun.RedisClient(`redis://127.0.0.1:${port}`);
  await client.hset("bun", record);
  tell("Bun hset", await client.hget("bun", "city"));
  tell("Bun set", await (async () => client.set("bun:city", record.city))().catch(() => "an error"));
} else {
  const { Redis: IORedis } = await import("ioredis");
  const ioredis = new IORedis(Number(port), "127.0.0.1");
  await ioredis.hset("ioredis", record);
  tell("ioredis hset", await ioredis.hget("ioredis", "city"));
  const { createClient } = await import("redis");
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect();
  tell("node-redis hSet", await client.hSet("node-redis", record).catch(() => "an error"));
  const { Redis } = await import("@upstash/redis");
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    tell("@upstash/redis hset sends", JSON.parse(body)[0].at(-1));
    response.setHeader("content-type", "application/json").end('[{"result":2}]');
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  await new Redis({ url, token: "t", responseEncoding: false }).hset("upstash", record);
}
process.exit(0);
CODE
{
  node see.mjs "$port"
  node_modules/.bin/bun see.mjs "$port"
} | tee seen

cat > expected <<'SEEN'
ioredis hset: ""
node-redis hSet: "an error"
@upstash/redis hset sends: null
Bun hset: "undefined"
Bun set: "an error"
SEEN
diff expected seen
