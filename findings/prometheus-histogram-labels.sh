#!/usr/bin/env bash
# parse-prometheus-text-format 1.1.1 puts all series of a histogram into one and drops their labels: of two services the
# later one is left. Gauges and counters keep theirs.
# Seen on Node 20.20: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund parse-prometheus-text-format@1.1.1

cat > see.mjs <<'CODE'
import parse from "parse-prometheus-text-format";

const of = (service, count) => `wait_bucket{service="${service}",le="1"} ${count}
wait_bucket{service="${service}",le="+Inf"} ${count}
wait_sum{service="${service}"} 1
wait_count{service="${service}"} ${count}
`;
console.log(JSON.stringify(parse(`# TYPE wait histogram\n${of("cart", 2)}${of("order", 6)}`)[0].metrics));
console.log(JSON.stringify(parse('# TYPE up gauge\nup{service="cart"} 2\nup{service="order"} 6\n')[0].metrics));
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
[{"buckets":{"1":"6","+Inf":"6"}}]
[{"value":"2","labels":{"service":"cart"}},{"value":"6","labels":{"service":"order"}}]
SEEN
diff expected seen
