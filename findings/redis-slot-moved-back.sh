#!/usr/bin/env bash
# Redis 7.0.15: a slot that moves from one master to another and right back, by the steps of redis-cli and with OK for
# each, may fall back by itself to the master that it has just left, and stay there. The master that it had moved to
# then deletes the slot's keys, which it alone has: an acknowledged key is gone from a healthy cluster. At times each of
# the two sends clients to the other, for good. One to ten moves there and back were enough. Seen with Debian 12's
# redis-server 7.0.15: the line at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
redis-server --version | grep -q 'v=7\.0\.15' || { echo 'needs redis-server 7.0.15, as Debian 12 has it'; exit 1; }
# The port of a node's bus is 10000 higher.
free='const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port%20000+20000);s.close()})'
ports=()
for name in a b c; do
  port=$(node -e "$free")
  ports+=("$port")
  mkdir "$name"
  redis-server --port "$port" --bind 127.0.0.1 --save '' --cluster-enabled yes --dir "$name" >"$name.log" &
  for _ in $(seq 50); do grep -qs "Ready to accept" "$name.log" && break || sleep 0.1; done
done
redis-cli --cluster create "${ports[@]/#/127.0.0.1:}" --cluster-yes >create.log

cat >see.mjs <<'CODE'
import { connect } from "node:net";

const ports = process.argv.slice(2).map(Number);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
async function open(port) {
  const socket = connect(port, "127.0.0.1");
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  socket.setEncoding("utf8").setNoDelay(true);
  let said = "";
  const waiting = [];
  socket.on("data", (text) => {
    said += text;
    for (let reply; (reply = /^(?:[+\-:](.*)|\$(?:-1|\d+\r\n([^]*?)\n?))\r\n/.exec(said)); said = said.slice(reply[0].length))
      waiting.shift()(reply[1] ?? reply[2]);
  });
  return (text) => new Promise((resolve) => (waiting.push(resolve), socket.write(`${text}\r\n`)));
}
const [a, b, c] = await Promise.all(ports.map(open));
const [first, second] = [await a("CLUSTER MYID"), await b("CLUSTER MYID")];
// A key of slot 0.
let key = 0;
while ((await a(`CLUSTER KEYSLOT ${key}`)) !== "0") key++;

/** Moves slot 0 by the steps of redis-cli. Stops at a step that is refused. */
async function move(source, sourceId, target, targetId, targetPort) {
  const steps = [
    [target, `CLUSTER SETSLOT 0 IMPORTING ${sourceId}`],
    [source, `CLUSTER SETSLOT 0 MIGRATING ${targetId}`],
    [source, `MIGRATE 127.0.0.1 ${targetPort} ${key} 0 5000`],
    ...[target, source, c].map((node) => [node, `CLUSTER SETSLOT 0 NODE ${targetId}`]),
  ];
  for (const [node, step] of steps) if ((await node(step)) !== "OK") return false;
  return true;
}
/** Reads the key as clients do, which follow some redirections. */
async function read() {
  let port = ports[0];
  for (let hops = 0; hops < 16; hops++) {
    const reply = await [a, b, c][ports.indexOf(port)](`GET ${key}`);
    if (!reply?.startsWith("MOVED")) return reply;
    port = Number(reply.split(":").at(-1));
  }
}
while ((await a(`SET ${key} here`)) !== "OK") await pause(100);
let lost = false;
for (let moves = 0; moves < 2000 && !lost; moves++) {
  // A step may be refused only because the slot has left its owner after the moves before, all of whose steps were OK.
  if ((await move(a, first, b, second, ports[1])) && (await move(b, second, a, first, ports[0]))) await pause(20);
  if ((await read()) === "here") continue;
  await pause(10_000);
  lost = (await read()) !== "here";
}
console.log(lost ? "the key is gone" : "the key is there");
process.exit(0);
CODE
node see.mjs "${ports[@]}" | tee seen

cat >expected <<'SEEN'
the key is gone
SEEN
diff expected seen
