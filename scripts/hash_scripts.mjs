// Writes the SHA-1 of each Lua source into its definition.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

const common = readFileSync(new URL("../src/scripts.ts", import.meta.url), "utf8");
const now = JSON.parse(/const LUA_NOW: string =\s*("(?:[^"\\]|\\.)*")/.exec(common)[1]);
for (const name of ["scripts", "rate_limits"]) {
  const file = new URL(`../src/${name}.ts`, import.meta.url);
  const source = readFileSync(file, "utf8");
  const hashed = source.replace(/sha1: "[0-9a-f]*",(\s+)lua: `([^`]*)`/g, (_, gap, lua) => {
    const sha1 = createHash("sha1").update(lua.replaceAll("${LUA_NOW}", now)).digest("hex");
    return `sha1: "${sha1}",${gap}lua: \`${lua}\``;
  });
  writeFileSync(file, hashed);
}
