#!/usr/bin/env bash
# Redis 7.0.15 reads text such as "0x10" as a number where a float is expected: INCRBYFLOAT of an order number by 1
# answers 17 and stores it, and ZADD takes the score 0x1F for 31. INCR refuses the same text, and "010", which
# INCRBYFLOAT takes for 10.
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
  for value in 0x10 010 ' 16'; do
    redis-cli -p "$port" SET order "$value" >/dev/null
    echo "INCR of '$value': $(redis-cli -p "$port" INCR order)"
    redis-cli -p "$port" SET order "$value" >/dev/null
    echo "INCRBYFLOAT of '$value': $(redis-cli -p "$port" INCRBYFLOAT order 1)"
  done
  redis-cli -p "$port" ZADD scores 0x1F tea >/dev/null
  echo "ZSCORE after ZADD 0x1F: $(redis-cli -p "$port" ZSCORE scores tea)"
} | tee seen

cat > expected <<'SEEN'
INCR of '0x10': ERR value is not an integer or out of range
INCRBYFLOAT of '0x10': 17
INCR of '010': ERR value is not an integer or out of range
INCRBYFLOAT of '010': 11
INCR of ' 16': ERR value is not an integer or out of range
INCRBYFLOAT of ' 16': ERR value is not a valid float
ZSCORE after ZADD 0x1F: 31
SEEN
diff expected seen
