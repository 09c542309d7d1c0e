#!/usr/bin/env bash
# Bun 1.4.5 sends a text as the body of a POST without a Content-Type; the Fetch standard says
# text/plain;charset=UTF-8, which Node 20.20 and Deno 2.9.6 send, and without which Express's `text()` leaves the body
# empty. A body of URLSearchParams gets its type in all three.
# Seen: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund express@5.3.0 deno@2.9.6 bun@1.4.5

cat > see.mjs <<'CODE'
import process from "node:process";
import express from "express";

const app = express().use(express.text()).post("/", (request, response) => {
  response.send(`${request.headers["content-type"] ?? "no type"}, body ${JSON.stringify(request.body) ?? "missing"}`);
});
const server = app.listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const url = `http://127.0.0.1:${server.address().port}/`;
const post = (body) => fetch(url, { method: "POST", body }).then((response) => response.text());
console.log(`  text: ${await post("hello")}`);
console.log(`  URLSearchParams: ${(await post(new URLSearchParams("a=1"))).split(",")[0]}`);
process.exit(0);
CODE
{
  echo "Node"
  node see.mjs
  echo "Deno"
  node_modules/.bin/deno run -A see.mjs
  echo "Bun"
  node_modules/.bin/bun see.mjs
} | tee seen

cat > expected <<'SEEN'
Node
  text: text/plain;charset=UTF-8, body "hello"
  URLSearchParams: application/x-www-form-urlencoded;charset=UTF-8
Deno
  text: text/plain;charset=UTF-8, body "hello"
  URLSearchParams: application/x-www-form-urlencoded;charset=UTF-8
Bun
  text: no type, body missing
  URLSearchParams: application/x-www-form-urlencoded;charset=UTF-8
SEEN
diff expected seen
