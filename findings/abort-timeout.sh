#!/usr/bin/env bash
# AbortSignal.timeout with a deadline of 25 days aborts at once in Node 20.20 and Deno 2.9.6, though Node checks the
# number itself and takes it (up to 49 days) and Deno takes any safe integer: it ends up in a timer of 31 bits. Bun
# 1.4.5 keeps to it.
# Seen: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund deno@2.9.6 bun@1.4.5

cat > see.mjs <<'CODE'
for (const days of [24, 25, 49]) {
  const signal = AbortSignal.timeout(days * 24 * 60 * 60 * 1000);
  await new Promise((resolve) => setTimeout(resolve, 300));
  console.log(`  ${days} days: ${signal.aborted ? "aborted at once" : "not aborted"}`);
}
(globalThis.process ?? (await import("node:process")).default).exit(0);
CODE
{
  echo "Node"
  node --no-warnings see.mjs
  echo "Deno"
  node_modules/.bin/deno run see.mjs
  echo "Bun"
  node_modules/.bin/bun see.mjs
} | tee seen

cat > expected <<'SEEN'
Node
  24 days: not aborted
  25 days: aborted at once
  49 days: aborted at once
Deno
  24 days: not aborted
  25 days: aborted at once
  49 days: aborted at once
Bun
  24 days: not aborted
  25 days: not aborted
  49 days: not aborted
SEEN
diff expected seen
