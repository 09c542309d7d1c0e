// Writes the SHA-1 of each Lua source into its definition.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

for (const name of ["entries", "locks", "mark", "rate_limit", "small"]) {
  const file = fileURLToPath(new URL(`../src/lua/${name}.ts`, import.meta.url));
  const { outputFiles } = await build({ entryPoints: [file], bundle: true, write: false, format: "esm" });
  const module = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);
  let source = readFileSync(file, "utf8");
  for (const { name, lua } of Object.values(module).filter((value) => value?.lua)) {
    const sha1 = createHash("sha1").update(lua).digest("hex");
    source = source.replace(new RegExp(`(name: "${name}",\\s+sha1: )"[0-9a-f]*"`), `$1"${sha1}"`);
  }
  writeFileSync(file, source);
}
