#!/usr/bin/env bash
# Functions that are wrapped to remember results by their argument: async-cache-dedupe 3.4.0 takes 1n, 1 and "1" for
# one argument, and Cacheable 2.5.0 null, undefined and NaN; both take all Maps and Sets for one, so the second caller
# gets what the first one's Map was answered.
# Seen on Node 20.20: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund async-cache-dedupe@3.4.0 cacheable@2.5.0

cat > see.mjs <<'CODE'
import { createCache } from "async-cache-dedupe";
import { Cacheable } from "cacheable";
import { inspect } from "node:util";

const show = (argument) => inspect(argument);
const dedupe = createCache({ ttl: 60 }).define("show", async (argument) => show(argument)).show;
const cacheable = new Cacheable().wrap(async (argument) => show(argument), { ttl: 60_000, keyPrefix: "show" });
const filters = [new Map([["size", "M"]]), new Map([["size", "XL"]]), new Set(["red"])];
for (const [name, call, rounds] of [
  ["async-cache-dedupe", dedupe, [[1n, 1, "1"], filters]],
  ["Cacheable", cacheable, [[null, undefined, Number.NaN], filters]],
]) {
  for (const argument of rounds.flat()) console.log(`${name}, ${show(argument)}: ${await call(argument)}`);
}
process.exit(0);
CODE
{
  node see.mjs
} | tee seen

cat > expected <<'SEEN'
async-cache-dedupe, 1n: 1n
async-cache-dedupe, 1: 1n
async-cache-dedupe, '1': 1n
async-cache-dedupe, Map(1) { 'size' => 'M' }: Map(1) { 'size' => 'M' }
async-cache-dedupe, Map(1) { 'size' => 'XL' }: Map(1) { 'size' => 'M' }
async-cache-dedupe, Set(1) { 'red' }: Map(1) { 'size' => 'M' }
Cacheable, null: null
Cacheable, undefined: null
Cacheable, NaN: null
Cacheable, Map(1) { 'size' => 'M' }: Map(1) { 'size' => 'M' }
Cacheable, Map(1) { 'size' => 'XL' }: Map(1) { 'size' => 'M' }
Cacheable, Set(1) { 'red' }: Map(1) { 'size' => 'M' }
SEEN
diff expected seen
