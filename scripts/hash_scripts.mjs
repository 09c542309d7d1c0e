// Writes the SHA-1 of each Lua source into its definition.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./tools.mjs";

/** Writes the SHA-1s of the scripts of a module, in TypeScript or compiled. */
export async function hashScripts(file) {
  // Imported late, because the set-up step imports this file before the packages are installed.
  const { build } = await import("esbuild");
  const { outputFiles } = await build({ entryPoints: [file], bundle: true, write: false, format: "esm" });
  const module = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);
  let source = readFileSync(file, "utf8");
  for (const { name, lua } of Object.values(module).filter((value) => value?.lua)) {
    const sha1 = createHash("sha1").update(lua).digest("hex");
    source = source.replace(new RegExp(`(name: "${name}",\\s+sha1: )"[0-9a-f]*"`), `$1"${sha1}"`);
  }
  writeFileSync(file, source);
}

if (process.argv[1] === import.meta.filename) {
  for (const name of ["entries", "rate_limit"]) await hashScripts(join(root, `src/lua/${name}.ts`));
}
