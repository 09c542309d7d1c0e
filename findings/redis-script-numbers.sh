#!/usr/bin/env bash
# Redis 7.0.15: a script that stores the Lua number 0.1 stores 0.10000000000000001, and one that stores 10^17 stores
# 1e+17, which INCR then refuses as no integer; 10^16 is still stored in digits, and Lua itself writes 0.1 as "0.1".
# Seen with Debian 12's redis-server 7.0.15: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
redis-server --version | grep -q 'v=7\.0\.15' || { echo 'needs redis-server 7.0.15, as Debian 12 has it'; exit 1; }
free='const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'
port=$(node -e "$free")
redis-server --port "$port" --bind 127.0.0.1 --save '' >server.log &
for _ in $(seq 50); do grep -q 'Ready to accept' server.log && break || sleep 0.1; done

{
  echo "Lua writes $(redis-cli -p "$port" EVAL 'return tostring(0.1)' 0)"
  for number in 0.1 1e16 1e17; do
    redis-cli -p "$port" EVAL "return redis.call('SET', KEYS[1], $number)" 1 k >/dev/null
    echo "$number is stored as $(redis-cli -p "$port" GET k), INCR: $(redis-cli -p "$port" INCR k)"
  done
} | tee seen

cat > expected <<'SEEN'
Lua writes 0.1
0.1 is stored as 0.10000000000000001, INCR: ERR value is not an integer or out of range
1e16 is stored as 10000000000000000, INCR: 10000000000000001
1e17 is stored as 1e+17, INCR: ERR value is not an integer or out of range
SEEN
diff expected seen
