#!/usr/bin/env bash
# Redict 7.3.6 publishes redirected tracking (RESP2) of changed keys on the channel `__redict__:invalidat`: renamed, and
# cut to the length of Redis's name. Valkey 8.0.1, the other fork, kept Redis's `__redis__:invalidate`. CLIENT TRACKING
# answers OK and SUBSCRIBE to Redis's name works on both, so a client that knows that name only looks healthy on Redict
# and is never notified of anything. Seen, servers of Debian's bookworm-backports, on Debian 12 with Node 20.20: the
# lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir -p lists/partial
debian=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
for suite in bookworm bookworm-backports; do
  echo "deb $signed $debian $suite main"
done >sources.list
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$folder/lists"
  -o Dir::State::status=/dev/null -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" download 'redict-tools=7.3.6+ds-2~bpo12+1' 'valkey-tools=8.0.1+dfsg1-1~bpo12+1' libhiredict1.3.1 liblzf1 libjemalloc2 libatomic1
for package in *.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$folder/root/usr/lib/x86_64-linux-gnu"

cat >see.mjs <<'CODE'
import { connect } from "node:net";

const [, , name, port] = process.argv;
async function open() {
  const socket = connect(Number(port), "127.0.0.1");
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  socket.setEncoding("utf8");
  const said = [];
  socket.on("data", (text) => said.push(text));
  return { send: (...words) => socket.write(`${words.join(" ")}\r\n`), said };
}
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const listener = await open();
listener.send("CLIENT", "ID");
await pause(200);
const id = listener.said.join("").trim().slice(1);
listener.send("SUBSCRIBE", "__redis__:invalidate", "__redict__:invalidate", "__redict__:invalidat");
const other = await open();
other.send("CLIENT", "TRACKING", "ON", "REDIRECT", id, "BCAST");
await pause(200);
const tracking = other.said.join("").trim();
listener.said.length = 0;
other.send("SET", "product:1", "pho");
await pause(500);
const channel = /__\w+__:\w+/.exec(listener.said.join(""))?.[0] ?? "nothing";
console.log(`${name}: CLIENT TRACKING answers ${tracking}, told on ${channel}`);
process.exit(0);
CODE
serve() (
  port=$(node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})')
  (exec -a "$1-server" "root/usr/bin/$1-check-rdb" --port "$port" --bind 127.0.0.1 --save '' >"$1.log" 2>&1) &
  trap "kill $!" EXIT
  for _ in $(seq 50); do grep -q 'Ready to accept' "$1.log" && break || sleep 0.1; done
  node see.mjs "$1" "$port"
)
{
  serve redict
  serve valkey
} | tee seen

cat >expected <<'SEEN'
redict: CLIENT TRACKING answers +OK, told on __redict__:invalidat
valkey: CLIENT TRACKING answers +OK, told on __redis__:invalidate
SEEN
diff expected seen
