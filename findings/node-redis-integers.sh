#!/usr/bin/env bash
# node-redis 4, 5 and 6 read some integer replies near 2^53 as their neighbours, though JavaScript can hold them
# exactly: they add up digits as floating-point numbers. ioredis reads all of them right.
# Seen on Node 20.20, by a server of a few lines that repeats an integer: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund redis@4.7.1 redis5@npm:redis@5.12.1 redis6@npm:redis@6.3.1 ioredis@5.11.1

cat > see.mjs <<'CODE'
import { createServer } from "node:net";
import { Redis } from "ioredis";

// Answers each `TTL <number>` with that number as an integer reply, and everything else with OK.
const server = createServer((socket) => {
  let text = "";
  socket.on("error", () => {});
  socket.on("data", (data) => {
    text += data;
    for (;;) {
      const count = Number(/^\*(\d+)\r\n/.exec(text)?.[1]);
      const parts = text.split("\r\n").slice(1, 1 + 2 * count);
      const size = `*${count}\r\n${parts.join("\r\n")}\r\n`.length;
      if (!count || parts.length < 2 * count || text.length < size) return;
      text = text.slice(size);
      socket.write(parts[1].toUpperCase() === "TTL" ? `:${parts[3]}\r\n` : "+OK\r\n");
    }
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address();

async function misread(name, ask) {
  const wrong = [];
  for (let i = 0; i < 200; i++) {
    const number = Number.MAX_SAFE_INTEGER - i;
    const got = await ask(String(number));
    if (got !== number) wrong.push(`${number} as ${got}`);
  }
  console.log(`${name}: ${wrong.length} of 200 wrong${wrong.length ? `, such as ${wrong[0]}` : ""}`);
}
for (const version of ["redis", "redis5", "redis6"]) {
  const { createClient } = await import(version);
  const client = createClient({ socket: { host: "127.0.0.1", port }, RESP: 2, disableClientInfo: true });
  client.on("error", () => {});
  await client.connect();
  await misread(version, (number) => client.sendCommand(["TTL", number]));
  await client.disconnect?.();
}
const ioredis = new Redis({ host: "127.0.0.1", port, enableReadyCheck: false });
await misread("ioredis", (number) => ioredis.call("TTL", number));
process.exit(0);
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
redis: 24 of 200 wrong, such as 9007199254740991 as 9007199254740992
redis5: 24 of 200 wrong, such as 9007199254740991 as 9007199254740992
redis6: 24 of 200 wrong, such as 9007199254740991 as 9007199254740992
ioredis: 0 of 200 wrong
SEEN
diff expected seen
