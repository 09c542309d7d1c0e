#!/usr/bin/env bash
# superjson 2.2.6 keeps cycles and what is met twice, but not both at once: of two objects that hold each other, both
# met from the top, one comes back with null instead of the other, without an error. With the option `dedupe` the
# same value comes back whole.
# Seen on Node 20.20: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund superjson@2.2.6

cat > see.mjs <<'CODE'
import SuperJSON from "superjson";

const author = { name: "Ann" };
const book = { title: "Pho", author };
author.book = book;
for (const dedupe of [false, true]) {
  const superjson = new SuperJSON({ dedupe });
  const again = superjson.parse(superjson.stringify({ author, book }));
  console.log(`dedupe ${dedupe}: the book's author is`, again.book.author === again.author ? "the author" : again.book.author);
}
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
dedupe false: the book's author is null
dedupe true: the book's author is the author
SEEN
diff expected seen
