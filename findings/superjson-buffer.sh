#!/usr/bin/env bash
# superjson 2.2.6 stores a Node `Buffer`, and cannot read its own text back: `parse` throws.
# A Buffer is a Uint8Array, and plain Uint8Arrays come back.
# Seen on Node 20.20: the last lines below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund superjson@2.2.6
cat > see.mjs <<'EOF_CODE'
import superjson from "superjson";

const text = superjson.stringify({ picture: Buffer.from("hi") });
console.log("stored:", text);
try {
  console.log("read:", superjson.parse(text));
} catch (error) {
  console.log("read: throws", error.message);
}
console.log("Uint8Array:", superjson.parse(superjson.stringify(new Uint8Array([104, 105]))).length, "bytes");
EOF_CODE
cat > expected <<'EOF_SEEN'
stored: {"json":{"picture":[104,105]},"meta":{"values":{"picture":[["typed-array","Buffer"]]},"v":1}}
read: throws Trying to deserialize unknown typed array
Uint8Array: 2 bytes
EOF_SEEN
node see.mjs | tee seen
diff expected seen
