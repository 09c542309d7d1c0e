// Writes the tags of shards into src/entry/shards.ts: for each the first text of three characters whose slot is the
// middle of the shard's part of the slots, or the nearest to it.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { hashSlot } from "../dist/src/base/crc16.js";

const CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz";
const slots = new Map();
for (const a of CHARACTERS) {
  for (const b of CHARACTERS) {
    for (const c of CHARACTERS) {
      const slot = hashSlot(a + b + c);
      if (!slots.has(slot)) slots.set(slot, a + b + c);
    }
  }
}

const tags = Array.from({ length: 64 }, (_, i) => {
  for (let off = 0; ; off++) {
    const tag = slots.get(128 + 256 * i + off) ?? slots.get(128 + 256 * i - off);
    if (tag) return tag;
  }
}).join("");

const file = fileURLToPath(new URL("../src/entry/shards.ts", import.meta.url));
const literal = `const TAGS =\n  "${tags.slice(0, 96)}" +\n  "${tags.slice(96)}";`;
writeFileSync(file, readFileSync(file, "utf8").replace(/const TAGS =[^;]*;/, literal));
