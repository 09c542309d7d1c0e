#!/usr/bin/env bash
# @upstash/redis 1.39.0 with an AbortSignal: an abort becomes a TypeError of the client's own ("res.map is not a
# function"), and without auto-pipelining a reply: `get` resolves to the reason, read as base64, as if that had been
# stored. The form with a function rejects with it.
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

const { signal } = AbortSignal.abort ? { signal: AbortSignal.abort("shutting down") } : {};
for (const [name, options] of Object.entries({
  signal: { signal },
  "signal, enableAutoPipelining: false": { signal, enableAutoPipelining: false },
  "() => signal, enableAutoPipelining: false": { signal: () => signal, enableAutoPipelining: false },
})) {
  const redis = new Redis({ url, token: "t", ...options });
  const told = await redis.get("k").then((value) => `resolved to ${JSON.stringify(value)}`, (error) => `rejected: ${error?.message ?? error}`);
  console.log(`${name}: ${told}`);
}
process.exit(0);
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
signal: rejected: res.map is not a function
signal, enableAutoPipelining: false: resolved to "�\u001b��)�v�'"
() => signal, enableAutoPipelining: false: rejected: shutting down
SEEN
diff expected seen
