#!/usr/bin/env bash
# Redis 7.0.15 with three Sentinels: a master that froze, was replaced and wakes up goes on as a master for ten seconds,
# although every Sentinel knows its replacement and reaches it. It answers with its old values and acknowledges writes,
# which are lost when it is demoted at last. (A Sentinel waits until the master has called itself one for eight seconds
# before it corrects it.) Clients that keep their connection do not notice. Seen with Debian 12's redis-server 7.0.15:
# the lines at the end, in 3 of 3 runs.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill -CONT $(jobs -p) 2>/dev/null || true; kill -9 $(jobs -p) 2>/dev/null || true; wait 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"
redis-server --version | grep -q 'v=7\.0\.15' || { echo 'needs redis-server 7.0.15, as Debian 12 has it'; exit 1; }
free='const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'
start() {
  local name=$1
  shift
  mkdir "$name"
  redis-server "$@" --bind 127.0.0.1 --dir "$folder/$name" >"$name.log" &
}
until_() { for _ in $(seq 300); do eval "$1" && return 0 || sleep 0.1; done; echo "never: $1"; exit 1; }
say() { timeout 2 redis-cli -p "$@"; }

old=$(node -e "$free")
new=$(node -e "$free")
start old --port "$old" --save ''
frozen=$!
start new --port "$new" --save '' --replicaof "127.0.0.1 $old" --repl-diskless-sync-delay 0
until_ 'say $new INFO replication | grep -q master_link_status:up'
sentinels=()
for name in a b c; do
  port=$(node -e "$free")
  sentinels+=("$port")
  printf 'sentinel monitor main 127.0.0.1 %s 2\nsentinel down-after-milliseconds main 1000\n' "$old" >"$name.conf"
  start "$name" "$folder/$name.conf" --sentinel --port "$port"
done
for port in "${sentinels[@]}"; do
  until_ "say $port SENTINEL master main | tr '\n' ' ' | grep -q 'num-slaves 1 num-other-sentinels 2'"
done

say "$old" SET key old >/dev/null
kill -STOP "$frozen"
for port in "${sentinels[@]}"; do until_ "say $port SENTINEL get-master-addr-by-name main | grep -qx $new"; done
say "$new" SET key new >/dev/null
kill -CONT "$frozen"
woken=$(date +%s%N)
{
  echo "woken: $(say "$old" ROLE | head -n 1), its value is $(say "$old" GET key), a write is $(say "$old" SET more 1)"
  until_ 'say $old ROLE | head -n 1 | grep -qx slave'
  seconds=$((($(date +%s%N) - woken) / 1000000000))
  echo "demoted after some ten seconds: $([ "$seconds" -ge 8 ] && [ "$seconds" -le 14 ] && echo yes || echo "no, $seconds")"
  until_ 'say $old INFO replication | grep -q master_link_status:up'
  echo "the acknowledged write: $(say "$old" EXISTS more) there"
} | tee seen
diff - seen <<'SEEN'
woken: master, its value is old, a write is OK
demoted after some ten seconds: yes
the acknowledged write: 0 there
SEEN
